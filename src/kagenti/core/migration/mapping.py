"""An old installation → one AgentRuntimeClusterConfig and one AgentRuntimeConfig for each namespace, consistent as they stand."""

import functools
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from kagenti.core import settings
from kagenti.core.migration import reasons
from kagenti.core.migration.cluster_layer import Choices, cluster_layer, trust_domain
from kagenti.core.migration.installation import Old
from kagenti.core.migration.keys import EXCHANGE, KEYCLOAK, VALIDATION
from kagenti.core.migration.layer_spec import RULES, LayerSpec
from kagenti.core.migration.namespace_layer import namespace_layer
from kagenti.core.migration.report import Report
from kagenti.core.settings.identity_provider import lies_under, origin_of
from kagenti.core.settings.model import Layer, LayerName, ResolvedSettings
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a manifest of ours

_URLS: Final = (f"{KEYCLOAK}.url", f"{VALIDATION}.issuer", f"{VALIDATION}.jwksUrl", f"{EXCHANGE}.tokenUrl")
_MOST_PROVIDERS: Final = 32
_KINDS: Final[Mapping[LayerName, str]] = {"cluster": "AgentRuntimeClusterConfig", "namespace": "AgentRuntimeConfig"}


@dataclass(frozen=True, slots=True)
class Migration:
    """What comes out: manifests in the order of their application, and the report.

    ``lost`` has by namespace ("" for the cluster) the paths of values that could not be carried, with a reason code.
    """

    old: Old
    manifests: tuple[JSON, ...]
    report: Report
    lost: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the mapping has to know of the cluster: its domain, its namespaces, and the identity providers listed already."""

    domain: str = "cluster.local"
    namespaces: Container[str] = ()
    providers: tuple[str, ...] = ()


def migrate(old: Old, *, report: Report, choices: Choices, cluster: Cluster) -> Migration:
    """Returns the manifests for an installation; nothing that contradicts itself is among them."""
    above = cluster_layer(old, choices, report)
    trust_domain(old, above)
    sound = above.prune(
        lambda spec: _resolved(_layer("cluster", "", spec), None, cluster), "AgentRuntimeClusterConfig default"
    )
    below = {
        name: namespace_layer(old, found, report, cluster_domain=cluster.domain, namespaces=cluster.namespaces)
        for name, found in old.namespaces.items()
    }
    providers = _providers(above, below, cluster, report)
    policy: dict[str, JSON] = {"policy": {"identityProviders": list(providers)}} if providers else {}
    top = _layer("cluster", "", {**above.nested(), **policy})
    kept = [
        name
        for name, spec in below.items()
        if spec.prune(functools.partial(_below, top, name, cluster), f"AgentRuntimeConfig {name}/default")
        and spec.values
        and old.namespaces[name].present
    ]
    manifests = [_manifest("cluster", "", {**above.nested(), **policy})] if sound else []
    manifests += [_manifest("namespace", name, below[name].nested()) for name in kept]
    lost = {"": dict(above.lost), **{name: {**above.lost, **spec.lost} for name, spec in below.items()}}
    return Migration(old, tuple(manifests), report, lost)


def _below(top: Layer, namespace: str, cluster: Cluster, spec: Mapping[str, JSON]) -> ResolvedSettings:
    return _resolved(top, _layer("namespace", namespace, spec), cluster)


def _providers(above: LayerSpec, below: Mapping[str, LayerSpec], cluster: Cluster, report: Report) -> tuple[str, ...]:
    """Returns the servers that the cluster's policy must list: none, unless a token endpoint is on another server (spec 01).

    A list binds every URL of the layers below, so it has the servers of all namespaces, and those that are listed already.
    """
    top = _layer("cluster", "", above.nested())
    urls: list[str] = []
    apart: list[str] = []
    for name, spec in below.items():
        resolved = _resolved(top, _layer("namespace", name, spec.nested()), cluster)
        own = [resolved.text(path) for path in _URLS if path in spec.values or resolved.origins[path].derived_from]
        tokens = [resolved.text(f"{EXCHANGE}.tokenUrl"), *_token_urls(spec)]
        urls += [*own, *tokens]
        server = origin_of(resolved.text(f"{KEYCLOAK}.url"))
        if any(origin_of(url) != server for url in tokens):
            apart.append(name)
    if not (apart or cluster.providers):
        return ()
    listed = list(cluster.providers)
    for url in sorted({_server_of(url) for url in urls} - {""}):
        if not any(lies_under(url, prefix) for prefix in listed):
            listed.append(url)
    if apart:
        message = (
            f"lists {', '.join(listed)}: in {', '.join(apart)} tokens come from another server than Keycloak's URL"
        )
        report.warn(reasons.PROVIDERS_LISTED, "policy.identityProviders", message, "policy.identityProviders")
    return tuple(listed[:_MOST_PROVIDERS])


def _server_of(url: str) -> str:
    """Returns scheme, host and port of a URL as a prefix; empty for what is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else ""


def _token_urls(spec: LayerSpec) -> Iterable[str]:
    return [
        rule["target"]["tokenUrl"] for rule in spec.values.get(RULES) or () if "tokenUrl" in (rule.get("target") or {})
    ]


def _layer(layer: LayerName, namespace: str, spec: Mapping[str, JSON]) -> Layer:
    return settings.parse_layer(layer, _manifest(layer, namespace, spec))


def _resolved(cluster: Layer | None, namespace: Layer | None, facts: Cluster) -> ResolvedSettings:
    return settings.resolve(cluster, namespace, None, cluster_domain=facts.domain, namespaces=facts.namespaces)


def _manifest(layer: LayerName, namespace: str, spec: Mapping[str, JSON]) -> JSON:
    metadata = {"name": "default", **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": wellknown.API_VERSION, "kind": _KINDS[layer], "metadata": metadata, "spec": dict(spec)}


def names(manifests: Sequence[JSON]) -> list[str]:
    """Returns the manifests' names for people, in their order."""
    found = []
    for manifest in manifests:
        metadata = manifest["metadata"]
        place = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
        found.append(f"{manifest['kind']} {place}{metadata['name']}")
    return found
