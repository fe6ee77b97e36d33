"""Layers for tests: made from dotted paths, parsed as a cluster's objects are."""

import types
import typing
from collections.abc import Mapping
from typing import Any, Final, get_args, get_origin

from hypothesis import strategies as st
from pydantic import BaseModel

from kagenti.core.settings import Layer, parse_layer
from kagenti.core.settings.model import LayerName
from kagenti_api.v1alpha1 import scalars, wellknown
from kagenti_api.v1alpha1.fields import LAYERED_FIELDS
from kagenti_api.v1alpha1.settings import RuntimeSettings

JSON = Any  # a value of the layered block, or a raw manifest

KINDS: Final[Mapping[LayerName, tuple[str, str, str]]] = {
    "cluster": ("AgentRuntimeClusterConfig", "", "default"),
    "namespace": ("AgentRuntimeConfig", "team1", "default"),
    "workload": ("AgentRuntime", "team1", "weather"),
}
CLUSTER, NAMESPACE, WORKLOAD = (f"{kind} {ns}/{name}".replace(" /", " ") for kind, ns, name in KINDS.values())

KEYCLOAK: Final = "identity.clientRegistration.keycloak"
URL: Final = f"{KEYCLOAK}.url"
REALM: Final = f"{KEYCLOAK}.realm"
TEMPLATE: Final = f"{KEYCLOAK}.clientNameTemplate"
ADMIN_SECRET: Final = f"{KEYCLOAK}.adminCredentialsSecret"
CREDENTIALS_SECRET: Final = "identity.clientRegistration.credentialsSecret"
VALIDATION: Final = "identity.inbound.validation"
ISSUER: Final = f"{VALIDATION}.issuer"
JWKS_URL: Final = f"{VALIDATION}.jwksUrl"
AUDIENCE: Final = f"{VALIDATION}.audience"
OUTBOUND: Final = "identity.outbound"
POLICY: Final = f"{OUTBOUND}.defaultPolicy"
TOKEN_URL: Final = f"{OUTBOUND}.tokenExchange.tokenUrl"
RULES: Final = f"{OUTBOUND}.tokenExchange.destinationRules"


def nested(values: Mapping[str, JSON]) -> dict[str, JSON]:
    """Returns dotted paths as a nested object, keys in the order given."""
    root: dict[str, JSON] = {}
    for path, value in values.items():
        *parents, last = path.split(".")
        node = root
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = value
    return root


def manifest(layer: LayerName, values: Mapping[str, JSON] | None = None, policy: JSON = None) -> dict[str, JSON]:
    """Returns the object of that layer that sets these values."""
    kind, namespace, name = KINDS[layer]
    spec = nested(values or {})
    if policy is not None:
        spec["policy"] = policy
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": wellknown.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def cluster(values: Mapping[str, JSON] | None = None, **policy: JSON) -> Layer:
    """Returns a cluster layer."""
    return parse_layer("cluster", manifest("cluster", values, policy or None))


def namespace(values: Mapping[str, JSON] | None = None, **policy: JSON) -> Layer:
    """Returns a namespace layer."""
    return parse_layer("namespace", manifest("namespace", values, policy or None))


def workload(values: Mapping[str, JSON] | None = None, *, name: str = "") -> Layer:
    """Returns a workload layer; ``name`` for another AgentRuntime than the usual one."""
    made = manifest("workload", values)
    made["metadata"] |= {"name": name} if name else {}
    return parse_layer("workload", made)


def rule(host: str, *, port: int | None = None, **fields: JSON) -> dict[str, JSON]:
    """Returns one destination rule; by default it exchanges for audience ``a``."""
    match = {"host": host, **({"port": port} if port else {})}
    return {"match": match, **(fields or {"target": {"audience": "a"}})}


_SAMPLES: Final[tuple[tuple[object, tuple[JSON, ...]], ...]] = (
    (scalars.Port, (8080, 9000, 65535)),
    (scalars.UserId, (1337, 2000)),
    (scalars.Rate, (0.1, 1, 0.0)),
    (scalars.Text, ("one", "two words")),
    (scalars.Audience, ("self", "https://api.example")),
    (scalars.DnsLabel, ("default", "team1")),
    (scalars.DnsName, ("secret-a", "b.example.org")),
    (scalars.Url, ("http://idp.example", "https://other.example/base")),
    (scalars.Image, ("registry.example/a:1", "b@sha256:00")),
    (scalars.RegistryPrefix, ("mirror.example/kagenti", "mirror.example:5000")),
    (scalars.Quantity, ("10m", "64Mi", "1")),
    (scalars.HttpPath, ("/metrics", "/other")),
    (scalars.SocketPath, ("unix:///run/a.sock", "unix:///run/b.sock")),
    (scalars.NameTemplate, ("{{.Namespace}}/{{.WorkloadName}}", "cost$", "{{.PodName}}")),
    (bool, (True, False)),
)
_LISTS: Final[Mapping[str, tuple[JSON, ...]]] = {
    "injection.types": ([], ["agent"], ["tool", "agent"]),
    "injection.imagePullSecrets": ([], ["pull"]),
    f"{KEYCLOAK}.platformClientIds": ([], ["platform"]),
    f"{VALIDATION}.requiredScopes": ([], ["read"], ["read", "write"]),
    f"{VALIDATION}.bypassPaths": ([], ["/healthz", "/.well-known/*"]),
    "identity.inbound.excludePorts": ([], [9090]),
    "identity.outbound.trafficInterception.excludePorts": ([], [5432, 6379]),
    f"{OUTBOUND}.tokenExchange.defaultTarget.scopes": ([], ["read"]),
    RULES: (
        [],
        [rule("a.example"), rule("b.example", port=443)],
        [rule("a.example", action="Deny")],
        [rule("b.example", port=443, action="Passthrough"), rule("*.example", upstream={"tls": "Off"}, action="Deny")],
    ),
    "trace.exporters": (
        [],
        [{"type": "otlp", "endpoint": "otel:4317"}],
        [{"type": "jaeger", "endpoint": "http://jaeger:4318", "protocol": "http/protobuf", "compression": "gzip"}],
    ),
    "trace.resourceAttributes": ({}, {"team": "a"}, {"team": "b", "tier": "gold"}),
}


def _annotation(path: str) -> object:
    """Returns the type of a leaf, without ``None`` and marks."""
    model: type[BaseModel] = RuntimeSettings
    *parents, last = LAYERED_FIELDS[path].keys
    for key in parents:
        model = next(arg for arg in get_args(_field(model, key)) if arg is not type(None))
    options = [arg for arg in get_args(_field(model, last)) if arg is not type(None)]
    return options[0] if len(options) == 1 else typing.Union[tuple(options)]  # noqa: UP007  # built at run time


def _field(model: type[BaseModel], key: str) -> object:
    found = next(field for name, field in model.model_fields.items() if (field.alias or name) == key)
    assert get_origin(found.annotation) in (types.UnionType, typing.Union), key
    return found.annotation


def _samples(path: str) -> tuple[JSON, ...]:
    if path in _LISTS:
        return _LISTS[path]
    annotation = _annotation(path)
    if get_origin(annotation) is typing.Literal:
        return get_args(annotation)
    return next(values for known, values in _SAMPLES if known == annotation)


SAMPLES: Final[Mapping[str, tuple[JSON, ...]]] = {path: _samples(path) for path in LAYERED_FIELDS}
"""Values that are valid for each leaf of the layered block; a new leaf needs its own only where its type is new."""

_SETTINGS: Final = [(path, value) for path, values in SAMPLES.items() for value in values]

one_setting = st.sampled_from(_SETTINGS)
"""One path with a value that is valid there."""

value_maps = st.lists(st.sampled_from(_SETTINGS), max_size=14).map(dict)
"""What one layer sets, by path."""
