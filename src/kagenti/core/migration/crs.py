"""AgentRuntimes and AgentCards of the older groups → ours; legacy Agent objects are listed (reference section 9)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from kagenti.core import workload
from kagenti.core.migration import reasons
from kagenti.core.migration.keys import Key
from kagenti.core.migration.layer_spec import fault_of
from kagenti.core.migration.report import Report, quoted
from kagenti.core.selfchecks import check_object
from kagenti.core.workload import WorkloadRef, group_of
from kagenti_api.v1alpha1 import wellknown
from kagenti_api.v1alpha1.agentcard import AgentCardSpec
from kagenti_api.v1alpha1.agentruntime import AgentRuntimeSpec

JSON = Any  # a raw object

GROUPS: Final = ("agent.kagenti.dev", "agent.rossoctl.dev")
"""API groups of the older kinds; the second since the renaming of July 2026."""
KINDS: Final = {"AgentRuntime": "agentruntimes", "AgentCard": "agentcards", "Agent": "agents"}

_MESH: Final = "between agents is the mesh's: use ambient mode"
RUNTIME_FIELDS: Final[Mapping[str, Key]] = {
    "type": Key("carried", "spec.type"),
    "targetRef": Key("carried", "spec.targetRef"),
    "identity.spiffe.trustDomain": Key("carried", "spec.identity.spiffe.trustDomain"),
    "identity.allowedAudiences": Key(
        "derived", "spec.identity.inbound.validation.audience", "one audience is accepted"
    ),
    "trace.endpoint": Key("carried", "spec.trace.exporters[0].endpoint"),
    "trace.protocol": Key("derived", "spec.trace.exporters[0].protocol", "http is http/protobuf"),
    "trace.sampling.rate": Key("carried", "spec.trace.sampling.rate"),
    "authBridgeMode": Key("ignored", why="there is one mode: transparent interception by Envoy"),
    "mtlsMode": Key("impossible", why=f"mTLS {_MESH}"),
    "tlsBridgeMode": Key(
        "impossible", why="outbound HTTPS passes untouched; call http://host, Envoy adds token and TLS"
    ),
    "egressEnforcement": Key("ignored", why="traffic is always intercepted; NetworkPolicy enforces egress"),
    "pluginPreset": Key("impossible", why="plugins of the authbridge binary have no counterpart"),
    "inboundInterception": Key("ignored", why="inbound interception is always transparent"),
}
CARD_FIELDS: Final[Mapping[str, Key]] = {
    "targetRef": Key("derived", "spec.selector", "the labels by which the target selects its pods"),
    "selector": Key("carried", "spec.selector"),
    "syncPeriod": Key("carried", "spec.syncPeriod"),
    "identityBinding": Key("impossible", why="cards are not bound to an identity"),
    "sigstoreVerification": Key("impossible", why="card signatures are not verified"),
}
_PROTOCOLS: Final = {"grpc": "grpc", "http": "http/protobuf"}
UNKNOWN: Final = Key("impossible", why="no field of kagenti's kinds has its meaning")

Selectors = Mapping[WorkloadRef, Mapping[str, str]]
"""Workload → the labels by which it selects its pods."""


def migrate(objects: Iterable[JSON], selectors: Selectors, report: Report) -> list[JSON]:
    """Returns our objects for those of an older group; every field is noted, legacy Agents are only noted."""
    made: list[JSON] = []
    for found in objects:
        place = name_of(found)
        kind = str(found.get("kind"))
        if kind not in ("AgentRuntime", "AgentCard"):
            report.impossible(place, kind, _LISTED.get(kind, "kagenti has no kind with its meaning"))
            continue
        spec = found.get("spec") if isinstance(found.get("spec"), Mapping) else {}
        body = (
            _runtime(spec, place, report) if found["kind"] == "AgentRuntime" else _card(found, spec, selectors, report)
        )
        manifest = {**_head(found), "spec": body}
        fault = _fault(manifest)
        if not fault and names_of(manifest) in map(names_of, made):
            fault = f"an object of another group became {' '.join(names_of(manifest))} already"
        if fault:
            report.fault(reasons.INVALID_RESULT, place, f"{fault}; write it by hand")
        else:
            made.append(manifest)
    _same_targets(made, report)
    return made


_LISTED: Final = {"Agent": "write a Deployment and an AgentRuntime; delete the Agent when that runs"}


def names_of(manifest: JSON) -> tuple[str, str]:
    """Returns kind and, for people, namespace and name of one of our objects."""
    metadata = manifest["metadata"]
    return manifest["kind"], f"{metadata.get('namespace') or 'default'}/{metadata['name']}"


def _same_targets(made: Sequence[JSON], report: Report) -> None:
    """Says of AgentRuntimes that they share a target: the old webhook took the first it found (8.4), kagenti takes the oldest."""
    sharing: dict[tuple[str, str], list[str]] = {}
    for manifest in (one for one in made if one["kind"] == "AgentRuntime"):
        target = manifest["spec"]["targetRef"]
        place = str(manifest["metadata"].get("namespace") or "default")
        reference = WorkloadRef(
            group_of(str(target.get("apiVersion"))), str(target.get("kind")), place, str(target.get("name"))
        )
        sharing.setdefault((place, str(reference)), []).append(manifest["metadata"]["name"])
    for (place, target), names in sharing.items():
        if len(names) > 1:
            message = f"{', '.join(sorted(names))} target {target}: apply one of them"
            report.warn(reasons.SAME_TARGET, f"AgentRuntimes of namespace {place}", message, "spec.targetRef")


def name_of(found: JSON) -> str:
    """Returns group, kind, namespace and name of a raw object for people."""
    metadata = found.get("metadata") or {}
    group = group_of(str(found.get("apiVersion")))
    return f"{found.get('kind')}.{group} {metadata.get('namespace')}/{metadata.get('name')}"


def _head(found: JSON) -> dict[str, JSON]:
    metadata = {key: found["metadata"][key] for key in ("name", "namespace") if key in found["metadata"]}
    return {"apiVersion": wellknown.API_VERSION, "kind": found["kind"], "metadata": metadata}


def _fault(manifest: JSON) -> str:
    model = AgentRuntimeSpec if manifest["kind"] == "AgentRuntime" else AgentCardSpec
    try:
        model.model_validate(manifest["spec"])
    except ValidationError as problem:
        first = problem.errors()[0]
        return f"{'.'.join(map(str, ('spec', *first['loc'])))} would be refused: {first['msg']}"
    return next((finding.message for finding in check_object(manifest)), "")


def _leaves(node: Mapping[str, JSON], known: Mapping[str, Key], above: str = "") -> Iterable[tuple[str, JSON]]:
    for key, value in node.items():
        path = f"{above}{key}"
        if path not in known and isinstance(value, Mapping) and any(name.startswith(f"{path}.") for name in known):
            yield from _leaves(value, known, f"{path}.")
        else:
            yield path, value


def _runtime(spec: Mapping[str, JSON], place: str, report: Report) -> dict[str, JSON]:
    body: dict[str, JSON] = {}
    exporter: dict[str, JSON] = {}
    for path, value in _leaves(spec, RUNTIME_FIELDS):
        row = RUNTIME_FIELDS.get(path, UNKNOWN)
        if path in ("type", "targetRef"):
            body[path] = value
        elif path == "trace.endpoint":
            exporter |= {"type": "otlp", "endpoint": value}
        elif path == "trace.protocol":
            exporter["protocol"] = _PROTOCOLS.get(value, value)
        elif path == "identity.allowedAudiences":
            _audience(value, body, place, report)
            continue
        elif row.verdict in ("carried", "derived") and not _put(body, path, value, place, report):
            continue
        report.take(place, path, row)
    if "endpoint" in exporter:
        _put(body, "trace.exporters", [exporter], place, report)
    return body


def _audience(value: JSON, body: dict[str, JSON], place: str, report: Report) -> None:
    row, audiences = RUNTIME_FIELDS["identity.allowedAudiences"], value if isinstance(value, list) else []
    if len(audiences) == 1 and _put(body, "identity.inbound.validation.audience", audiences[0], place, report):
        report.take(place, "identity.allowedAudiences", row)
    elif len(audiences) != 1:
        report.impossible(
            place, "identity.allowedAudiences", f"one audience is accepted, it has {quoted(value)}: choose one"
        )


def _put(body: dict[str, JSON], path: str, value: JSON, place: str, report: Report) -> bool:
    fault = fault_of(path, value)
    if fault:
        report.impossible(place, path, f"{path} cannot be {quoted(value)}: {fault}")
        return False
    node = body
    *parents, last = path.split(".")
    for key in parents:
        node = node.setdefault(key, {})
    node[last] = value
    return True


def _card(found: JSON, spec: Mapping[str, JSON], selectors: Selectors, report: Report) -> dict[str, JSON]:
    place, body = name_of(found), {}
    for path, value in _leaves(spec, CARD_FIELDS):
        row = CARD_FIELDS.get(path, UNKNOWN)
        if path == "targetRef" and isinstance(value, Mapping):
            reference = WorkloadRef(
                group_of(str(value.get("apiVersion"))),
                str(value.get("kind")),
                str(found["metadata"].get("namespace")),
                str(value.get("name")),
            )
            chosen = selectors.get(reference)
            if chosen is None:
                report.impossible(place, path, f"{reference} is not there: give spec.selector the labels of its pods")
                continue
            body["selector"] = {"matchLabels": dict(chosen)}
        elif row.verdict == "carried":
            body[path] = value
        report.take(place, path, row)
    return body


def selectors_of(workloads: Sequence[JSON]) -> dict[WorkloadRef, Mapping[str, str]]:
    """Returns the labels by which each raw workload selects its pods; its template's labels where it has no selector."""
    found: dict[WorkloadRef, Mapping[str, str]] = {}
    for manifest in workloads:
        subject = workload.subject_of(manifest, namespace="default")
        if subject is not None:
            chosen = ((manifest.get("spec") or {}).get("selector") or {}).get("matchLabels")
            found[subject.owner] = chosen if isinstance(chosen, Mapping) and chosen else subject.labels
    return found
