"""cluster → namespace → workload over the built-in layer, leaf by leaf, with origin; authority and locks inside.

A value that its layer may not set is left out and becomes a finding, so that nothing slips through when admission of our
own kinds was not there to refuse it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from kagenti.core.settings import derive
from kagenti.core.settings.layer import BUILT_IN_LAYER
from kagenti.core.settings.model import JSON, LAYER_ORDER, Finding, Layer, Merged, Origin, Source, under
from kagenti.core.settings.policy import MANDATORY_LOCKS, NamespacePolicy
from kagenti_api.v1alpha1.fields import LAYERED_FIELDS

LOCK_VIOLATION: Final = "LockViolation"
UNAUTHORISED: Final = "Unauthorised"
RULES: Final = "identity.outbound.tokenExchange.destinationRules"


def lock_on(path: str, above: Sequence[tuple[str, Source]]) -> Source | None:
    """Returns who locks that path, the highest first; None where it is free."""
    if not LAYERED_FIELDS[path].mark.lockable:
        return None
    return next((source for subtree, source in above if under(path, subtree)), None)


def merge(layers: Sequence[Layer], *, policy: NamespacePolicy) -> Merged:
    """Merges readable layers, given from the top, over the built-in one; inputs are never changed."""
    merged = Merged(dict(_BUILT_IN.values), dict(_BUILT_IN.origins))
    locks: list[tuple[str, Source]] = []
    delegated = next((layer.delegated for layer in layers if layer.source.layer == "cluster"), ())
    for layer in layers:
        merged.effective[layer.source] = _effective(merged, layer, locks=locks, delegated=delegated)
        _take(merged, merged.effective[layer.source], layer.source)
        derive.pin(merged, layer.locked)
        locks += [(path, layer.source) for path in layer.locked]
        locks += _mandatory_locks(layer, policy)
    return merged


def _mandatory_locks(layer: Layer, policy: NamespacePolicy) -> list[tuple[str, Source]]:
    if not policy.mandatory or policy.declared_by is None or policy.declared_by.layer != layer.source.layer:
        return []
    return [(path, layer.source) for path in MANDATORY_LOCKS]


def _effective(
    merged: Merged, layer: Layer, *, locks: Sequence[tuple[str, Source]], delegated: Sequence[str]
) -> Mapping[str, JSON]:
    """Returns what of a layer has effect; the rest becomes findings."""
    if not locks and layer.source.layer == "cluster":
        return layer.values
    kept = {}
    for path, value in layer.values.items():
        finding = _refused(path, layer, locks=locks, delegated=delegated)
        if finding is None:
            kept[path] = value
        else:
            merged.findings.append(finding)
    return kept


def _refused(
    path: str, layer: Layer, *, locks: Sequence[tuple[str, Source]], delegated: Sequence[str]
) -> Finding | None:
    locked_by = lock_on(path, locks)
    if locked_by is not None:
        message = f"{path} is locked by {locked_by}: the value in {layer.source} has no effect; remove it there"
        return Finding(LOCK_VIOLATION, message, path, (str(layer.source), str(locked_by)))
    if layer.source.layer == "cluster" or LAYERED_FIELDS[path].mark.authority == "workload":
        return None
    if any(under(path, subtree) for subtree in delegated):
        return None
    message = (
        f"{path} may be set by the cluster layer only: the value in {layer.source} has no effect; "
        "remove it there, or have AgentRuntimeClusterConfig default delegate it (policy.delegated)"
    )
    return Finding(UNAUTHORISED, message, path, (str(layer.source),))


def _take(merged: Merged, values: Mapping[str, JSON], source: Source) -> None:
    for path, value in values.items():
        merged.values[path] = combine(path, merged.values.get(path), value)
        merged.origins[path] = Origin(source, path)
        for entry in _entries(path, value):
            merged.origins[entry] = Origin(source, entry)


def _entries(path: str, value: JSON) -> list[str]:
    """Returns the paths of the entries of a map or list that merges by key: each has an origin of its own."""
    strategy = LAYERED_FIELDS[path].mark.merge
    if strategy == "mapByKey":
        return [f"{path}.{key}" for key in value]
    return [rule_path(rule) for rule in value] if strategy == "listByKey" else []


def rule_path(rule: Mapping[str, JSON]) -> str:
    """Returns the path of one destination rule, by what it matches."""
    port = rule["match"].get("port")
    return f"{RULES}[{rule['match']['host']}{f':{port}' if port else ''}]"


def combine(path: str, above: JSON, value: JSON) -> JSON:
    """Returns one leaf of two layers by the field's merge strategy; neither input is changed."""
    strategy = LAYERED_FIELDS[path].mark.merge
    if above is None or strategy == "replace":
        return value
    if strategy == "mapByKey":
        return {**above, **value}
    return list({**_by_destination(above), **_by_destination(value)}.values())


def _by_destination(rules: Sequence[Mapping[str, JSON]]) -> dict[tuple[str, int | None], Mapping[str, JSON]]:
    return {(rule["match"]["host"], rule["match"].get("port")): rule for rule in rules}


def in_order(*layers: Layer | None) -> tuple[Layer, ...]:
    """Returns the layers that exist, from the cluster down."""
    return tuple(sorted((layer for layer in layers if layer), key=lambda layer: LAYER_ORDER.index(layer.source.layer)))


_BUILT_IN: Final = Merged()
"""What every merge begins with."""
_take(_BUILT_IN, BUILT_IN_LAYER.values, BUILT_IN_LAYER.source)
