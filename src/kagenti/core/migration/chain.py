"""The old webhook's decision chain: whether a pod was injected, with which parts, under which name (reference 6.1, 8.1, 8.2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kagenti.core.migration.eras import Era
from kagenti.core.migration.files import RuntimeFile
from kagenti.core.migration.installation import Old
from kagenti.core.workload import WorkloadRef

GATE_DEFAULTS: Final[Mapping[str, bool]] = {
    "globalEnabled": True,
    "envoyProxy": True,
    "spiffeHelper": True,
    "clientRegistration": True,
    "injectTools": False,
    "perWorkloadConfigResolution": False,
    "combinedSidecar": False,
    "skillDiscovery": False,
}

_FIRST: Final = (
    "globalEnabled",
    "envoyProxy",
    "spiffeHelper",
    "clientRegistration",
    "injectTools",
    "perWorkloadConfigResolution",
)
_COMBINING: Final = (*_FIRST, "combinedSidecar")
_CONSOLIDATED: Final = ("globalEnabled", "envoyProxy", "injectTools", "perWorkloadConfigResolution", "skillDiscovery")
_KNOWN: Final = {"E2b": _COMBINING, "E3": _COMBINING, "E4": _CONSOLIDATED, "E5": _CONSOLIDATED}


def known_gates(era: Era) -> tuple[str, ...]:
    """Returns the gates that an era's webhook had; it passed over others, also when it asked whether all are false (6.1, 6.3)."""
    return _KNOWN.get(era.name, _FIRST)


@dataclass(frozen=True, slots=True)
class OldPod:
    """What the old webhook read of a pod: its labels and annotations, its service account and top owner.

    ``pod_template_hash`` stands for the ReplicaSet's hash where only the workload is known.
    """

    owner: WorkloadRef
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    service_account: str = "default"
    pod_template_hash: str = "<pod-template-hash>"


@dataclass(frozen=True, slots=True)
class Components:
    """Which parts of the sidecar set a pod got; ``combined`` and ``consolidated`` sets are one container."""

    envoy: bool = False
    spire: bool = False
    registers: bool = False
    combined: bool = False

    @property
    def nothing(self) -> bool:
        """Whether nothing was left to inject."""
        return not (self.envoy or self.spire or self.registers)


def gates_in_force(old: Old) -> Mapping[str, bool]:
    """Returns the gates as the old webhook used them: the file over the defaults, and all false counted as no file (6.1)."""
    merged = {name: old.gates.get(name, GATE_DEFAULTS[name]) for name in known_gates(old.era)}
    return {**GATE_DEFAULTS, **merged} if any(merged.values()) else GATE_DEFAULTS


def all_false(old: Old) -> bool:
    """Whether the guard against an empty file undid what somebody wrote."""
    return bool(old.gates) and gates_in_force(old) is GATE_DEFAULTS


def injected(old: Old, pod: OldPod) -> bool:
    """Whether the old webhook injected a pod: the decision chain of its era (8.1)."""
    return selected(old, pod) and not components(old, pod).nothing


def selected(old: Old, pod: OldPod) -> bool:
    """Whether a pod got to the choice of its parts: type, kill switch, opt-in or opt-out of its era."""
    era, namespace = old.era, old.namespaces.get(pod.owner.namespace)
    kind = pod.labels.get(era.label("type"))
    gates = gates_in_force(old)
    if kind not in ("agent", "tool") or not gates["globalEnabled"]:
        return False
    if kind == "tool" and not gates["injectTools"] and era.tools_by_gate:
        return False
    return _opted_in(era, pod.labels.get(era.label("inject")), enabled=namespace is not None and namespace.enabled)


def _opted_in(era: Era, label: str | None, *, enabled: bool) -> bool:
    """The API server called the webhook of every era for labelled namespaces only (6.7)."""
    if era.inject == "forces":
        return enabled and label in (None, "enabled")
    if era.inject == "required":
        return enabled and label == "enabled"
    return enabled and label != "disabled"


def components(old: Old, pod: OldPod) -> Components:
    """Returns which parts a selected pod got: gate first, then label, then in the first eras the platform's default (8.1)."""
    gates, era, labels = gates_in_force(old), old.era, pod.labels

    def wanted(gate: str, label: str) -> bool:
        by_default = old.platform.get(f"sidecars.{gate}.enabled", True) if era.sidecars_matter else True
        return gates[gate] and labels.get(era.label(label)) != "false" and bool(by_default)

    if era.consolidated:
        runtime = _runtime(old, pod)
        if not wanted("envoyProxy", "envoy-proxy-inject"):
            return Components(combined=True)  # the one container is this one: nothing is left to inject
        return Components(envoy=True, spire=runtime is not None and runtime.spire, registers=True, combined=True)
    spire = wanted("spiffeHelper", "spiffe-helper-inject")
    if era.spire_by_label:
        spire = spire and labels.get(era.label("spire")) == "enabled"
    return Components(
        envoy=wanted("envoyProxy", "envoy-proxy-inject"),
        spire=spire,
        registers=_registers(era, wanted("clientRegistration", "client-registration-inject"), labels),
        combined=gates["combinedSidecar"] and era.name in ("E2b", "E3"),
    )


def _registers(era: Era, wanted: bool, labels: Mapping[str, str]) -> bool:  # noqa: FBT001  # gate and label, decided
    if era.registration == "optsOut":
        return wanted
    return wanted and labels.get(era.label("client-registration-inject")) == "true"


def _runtime(old: Old, pod: OldPod) -> RuntimeFile | None:
    namespace = old.namespaces.get(pod.owner.namespace)
    return namespace.runtime if namespace else None


def workload_name(era: Era, pod: OldPod) -> str:
    """Returns what the old webhook called a pod's workload: up to E2 a Deployment's pods by their ReplicaSet (8.2)."""
    if era.by_replica_set and pod.owner.kind == "Deployment":
        return f"{pod.owner.name}-{pod.pod_template_hash}"
    return pod.owner.name
