"""What must be mended before this version takes over from another one, older or newer: pods, CRDs and objects in, findings out.

The processes tolerate each other one minor apart (spec 06), so that nothing here is about a roll-out under way; what is
told is what would be lost, ignored or refused once this version has replaced the other.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kagenti import errors
from kagenti.core import definitions, layers
from kagenti.core.envoy import LAYOUT
from kagenti.core.inject import receipt
from kagenti.core.settings.model import Finding, LayerName
from kagenti.core.workload import subject_of
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw pod, CRD or object of ours

_LAYERS: Final[Mapping[str, LayerName]] = {kind: layer for layer, kind in layers.KINDS.items()}
_MOST_NAMED: Final = 5  # fields that one sentence names


def before(
    *, pods: Sequence[JSON], objects: Sequence[JSON], installed: Mapping[str, JSON], packaged: Mapping[str, JSON]
) -> list[Finding]:
    """Returns what must be rolled or mended first.

    Args:
        pods: Managed pods.
        objects: Objects of our kinds, each with its kind.
        installed: The cluster's CRDs of ours by name; one that could not be read is absent.
        packaged: This version's CRDs by name.
    """
    return [
        *_definitions(installed, packaged),
        *(finding for found in objects for finding in _object(found, packaged)),
        *(finding for pod in pods for finding in _pod(pod)),
    ]


def _definitions(installed: Mapping[str, JSON], packaged: Mapping[str, JSON]) -> Iterator[Finding]:
    for name, ours in packaged.items():
        theirs = installed.get(name)
        if theirs is None:
            continue
        mine = definitions.schema_of(ours, wellknown.VERSION)
        missing = definitions.lacking(definitions.schema_of(theirs, wellknown.VERSION), mine)
        known = definitions.selectable(theirs, wellknown.VERSION)
        # Without it the webhook's strict read is refused, and every pod without an AgentRuntime in the cache waits.
        selectors = [path for path in definitions.selectable(ours, wellknown.VERSION) if path not in known]
        missing += [f"the selectable field {path}" for path in selectors]
        if missing:
            yield Finding("OldCRD", f"CRD {name} lacks {_named(missing)}, which this version has: they would be pruned, and a "
                                    "status with them refused; CRDs go first: run `kagenti crds --apply`")  # fmt: skip
        served = {version["name"] for version in ours["spec"]["versions"]}
        stored = [found for found in (theirs.get("status") or {}).get("storedVersions") or () if found not in served]
        if stored:
            yield Finding("StoredVersion", f"objects of CRD {name} may be stored as {', '.join(stored)}, which this version does "
                                           "not have; write them all once in a version that both have, then take it out of "
                                           "status.storedVersions")  # fmt: skip


def _object(found: Mapping[str, JSON], packaged: Mapping[str, JSON]) -> Iterator[Finding]:
    """What this version would not do of an object, or would deny pods for."""
    kind, metadata = found["kind"], found["metadata"]
    name = "/".join(part for part in (metadata.get("namespace"), metadata["name"]) if part)
    ours = next((crd for crd in packaged.values() if crd["spec"]["names"]["kind"] == kind), None)
    if ours is None:
        return
    schema = definitions.schema_of(ours, wellknown.VERSION)
    spec = {"spec": found.get("spec") or {}}
    ignored = [definitions.dotted(path) for path in definitions.unknown(schema, spec)]
    if ignored:
        yield Finding("UnknownField", f"{kind} {name} sets {_named(ignored)}, which this version does not know and would ignore; "
                                      "take it out, or stay with the version that knows it")  # fmt: skip
    layer = _LAYERS.get(kind)
    if layer is None:
        return
    try:
        layers.parse(layer, found)
    except errors.ManifestError as problem:
        yield Finding("ConfigInvalid", f"{problem}; until then this version denies the pods that it concerns")


def _pod(pod: Mapping[str, JSON]) -> Iterator[Finding]:
    subject = subject_of({**pod, "apiVersion": "v1", "kind": "Pod"}, namespace="")
    known = (receipt.read(subject) if subject is not None else None) or {}
    layout, name = known.get("layout"), f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    if receipt.is_newer(known):
        yield Finding("NewLayout", f"Pod {name} has layout {layout}, newer than this version's {LAYOUT}: its proxy would keep what "
                                   "it has and get no change; roll its workload once this version is installed")  # fmt: skip
    elif layout != LAYOUT:
        told = f"layout {layout}" if layout is not None else "no readable receipt"
        yield Finding("OldLayout", f"Pod {name} has {told}, this version writes layout {LAYOUT}; roll its workload before "
                                    "an upgrade that drops the old one")  # fmt: skip


def _named(fields: Sequence[str]) -> str:
    return ", ".join(fields[:_MOST_NAMED]) + (
        f" and {len(fields) - _MOST_NAMED} more" if len(fields) > _MOST_NAMED else ""
    )
