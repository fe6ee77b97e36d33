"""A manifest of one of our kinds → one layer: validated once, flattened to the leaves that it sets."""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from pydantic import ValidationError

from kagenti.core.settings.model import JSON, Exemption, Layer, LayerName, NamespaceRule, Source
from kagenti.core.workload import group_of
from kagenti.errors import ManifestError
from kagenti_api.v1alpha1.built_in import BUILT_IN
from kagenti_api.v1alpha1.fields import DELEGABLE_PATHS, LAYERED_FIELDS, LOCKABLE_PATHS
from kagenti_api.v1alpha1.settings import RuntimeSettings

_LONGEST_QUOTE: Final = 80  # characters of a wrong value that an error quotes


def parse_layer(layer: LayerName, manifest: Mapping[str, JSON]) -> Layer:
    """Returns a layer from a raw manifest, which is not modified; raises ManifestError naming object, field and value."""
    metadata = manifest.get("metadata") or {}
    source = Source(
        layer=layer,
        kind=manifest.get("kind", ""),
        namespace=metadata.get("namespace") or "",
        name=metadata.get("name") or "",
        resource_version=metadata.get("resourceVersion") or "",
    )
    spec = manifest.get("spec") or {}
    _validate(spec, source)
    policy = spec.get("policy") or {}
    if not isinstance(policy, Mapping):
        raise _fault(source, "policy", policy, "is not an object")
    return Layer(
        source=source,
        values=MappingProxyType(dict(leaves(spec))),
        locked=_paths(policy, "locked", source, LOCKABLE_PATHS),
        delegated=_paths(policy, "delegated", source, DELEGABLE_PATHS),
        identity_providers=tuple(policy.get("identityProviders") or ()),
        created=metadata.get("creationTimestamp") or "",
        mandatory=policy.get("injection") == "Mandatory",
        namespaces=tuple(_rule(entry) for entry in policy.get("namespaces") or ()),
    )


def leaves(spec: Mapping[str, JSON]) -> Iterator[tuple[str, JSON]]:
    """Yields (path, value) for every leaf of the layered block that is set."""
    for field in LAYERED_FIELDS.values():
        node: JSON = spec
        for key in field.keys:
            node = node.get(key) if isinstance(node, Mapping) else None
            if node is None:
                break
        else:
            yield field.path, whole(node)


def well_formed(values: Mapping[str, JSON]) -> bool:
    """Whether settings by path, as a receipt records them, have forms that a layer may give them."""
    spec: dict[str, JSON] = {}
    for path, value in values.items():
        if value is None or path not in LAYERED_FIELDS:
            continue
        *parents, last = LAYERED_FIELDS[path].keys
        node = spec
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = value
    try:
        RuntimeSettings.model_validate(spec)
    except ValidationError:
        return False
    return True


_BEYOND: Final = 2.0**63
"""From here on numbers are no integers to whoever writes JSON (orjson, Go's int64)."""


def whole(value: JSON) -> JSON:
    """Returns JSON with 8080 for 8080.0: one number, which the API server stores in the short form."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _BEYOND:
        return int(value)
    if isinstance(value, Mapping):
        return {key: whole(item) for key, item in value.items()}
    return [whole(item) for item in value] if isinstance(value, list | tuple) else value


BUILT_IN_LAYER: Final = Layer(source=Source("built-in"), values=MappingProxyType(dict(leaves(BUILT_IN))))
"""The layer below the cluster's: every default."""


def _validate(spec: JSON, source: Source) -> None:
    if not isinstance(spec, Mapping):
        raise _fault(source, "spec", spec, "is not an object")
    try:
        RuntimeSettings.model_validate(spec)
    except ValidationError as problem:
        first = problem.errors()[0]
        path = "spec." + ".".join(str(key) for key in first["loc"])
        raise _fault(source, path, first.get("input"), first["msg"]) from problem


def _paths(policy: Mapping[str, JSON], key: str, source: Source, allowed: Collection[str]) -> tuple[str, ...]:
    paths = policy.get(key) or []
    for path in paths:
        if path not in allowed:
            raise _fault(source, f"spec.policy.{key}", path, f"is not the path of a setting that can be {key}")
    return tuple(paths)


def _rule(entry: Mapping[str, JSON]) -> NamespaceRule:
    exempt = tuple(
        Exemption(
            group=group_of(item.get("apiVersion", "")),
            kind=item.get("kind", ""),
            name=item.get("name", ""),
            service_account=item.get("serviceAccount", ""),
        )
        for item in entry.get("exempt") or ()
    )
    return NamespaceRule(
        names=frozenset(entry.get("names") or ()),
        selector=entry.get("selector"),
        mandatory=entry.get("injection") == "Mandatory",
        exempt=exempt,
    )


def _fault(source: Source, path: str, value: JSON, why: str) -> ManifestError:
    quoted = repr(value)
    if len(quoted) > _LONGEST_QUOTE:
        quoted = quoted[:_LONGEST_QUOTE] + "…"
    return ManifestError(f"{source}: {path} is {quoted}: {why}; correct or remove it")
