"""A workload's manifest → how its controller makes and replaces pods: how many, in which order, and whether by itself.

Read from what the built-in controllers publish (Kubernetes API reference: DeploymentStatus, StatefulSetStatus,
DaemonSetStatus). Of other kinds only ``spec.replicas`` is understood: who has it keeps that many pods.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from kagenti.core import workload
from kagenti.core.workload import OwnerReference, WorkloadRef

JSON = Any  # a raw workload, or a part of it

Order = Literal["ordinal", "age"]

RECREATING: Final = (
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("", "ReplicationController"),
)
"""Controllers that make a new pod for each that goes."""
ENDING: Final = (("batch", "Job"), ("batch", "CronJob"))
"""Controllers whose pods are work under way: a new pod would begin it again."""
_ROLLING: Final = (("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "DaemonSet"))


@dataclass(frozen=True, slots=True)
class Controller:
    """How a workload's pods come and go.

    ``desired`` is the number of pods that it keeps; None where that is not known. ``rolling`` says that its own roll-out
    is under way. ``held_back`` is why a pod made now would differ from its predecessor by more than our sidecars, and
    ``no_restart`` why it would not replace its pods after a change of its template; each one clause, empty when not so.
    ``observed`` is the generation that its status speaks of.
    """

    kind: tuple[str, str]
    name: str = ""
    desired: int | None = None
    rolling: bool = False
    held_back: str = ""
    no_restart: str = ""
    observed: int = 0
    order: Order = "age"

    def recreates(self, owner: OwnerReference | None) -> bool:
        """Whether a pod with that controller reference gets a successor."""
        if owner is None:
            return False
        kind = (owner.group, owner.kind)
        return kind in RECREATING or (kind == self.kind and owner.name == self.name and self._keeps_a_number)

    @property
    def _keeps_a_number(self) -> bool:
        return self.desired is not None and self.kind not in ENDING


def unknown(target: WorkloadRef) -> Controller:
    """Returns what is known of a workload that may not be read: its pods speak for themselves, and it is not restarted."""
    return Controller((target.group, target.kind), target.name, no_restart="it may not be read")


def read(manifest: Mapping[str, JSON]) -> Controller:
    """Returns what a raw workload says; fields of another type count as absent."""
    kind = (workload.group_of(_text(manifest, "apiVersion")), _text(manifest, "kind"))
    reader = {
        ("apps", "Deployment"): _deployment,
        ("apps", "StatefulSet"): _stateful_set,
        ("apps", "DaemonSet"): _daemon_set,
    }.get(kind)
    name = _text(manifest, "metadata", "name")
    if reader is not None:
        return reader(manifest, name)
    return Controller(
        kind,
        name,
        desired=_number(manifest, "spec", "replicas"),
        no_restart=f"kind {kind[1]} is none that rolls its pods by a change of its template alone; use Evict",
        observed=_number(manifest, "status", "observedGeneration") or 0,
    )


def _deployment(manifest: Mapping[str, JSON], name: str) -> Controller:
    desired = _count(manifest, "spec", "replicas", absent=1)
    paused = workload.at(manifest, ("spec", "paused")) is True
    updated = _count(manifest, "status", "updatedReplicas")
    present = _count(manifest, "status", "replicas")
    return Controller(
        ("apps", "Deployment"),
        name,
        desired=desired,
        # A paused one makes pods from the templates that run, and its roll-out may stay unfinished for ever.
        rolling=_unseen(manifest) or (not paused and (updated < present or present > desired)),
        no_restart="it is paused" if paused else "",
        observed=_count(manifest, "status", "observedGeneration"),
    )


def _stateful_set(manifest: Mapping[str, JSON], name: str) -> Controller:
    desired = _count(manifest, "spec", "replicas", absent=1)
    on_delete = _text(manifest, "spec", "updateStrategy", "type") == "OnDelete"
    partition = _count(manifest, "spec", "updateStrategy", "rollingUpdate", "partition")
    status = ("status",)
    changed = _text(manifest, *status, "currentRevision") != _text(manifest, *status, "updateRevision")
    updated, present = _count(manifest, *status, "updatedReplicas"), _count(manifest, *status, "replicas")
    unfinished = changed and updated < max(desired - partition, 0)
    return Controller(
        ("apps", "StatefulSet"),
        name,
        desired=desired,
        rolling=_unseen(manifest) or (not on_delete and unfinished),
        held_back=_waiting_template() if on_delete and changed and updated < present else "",
        no_restart=_on_delete() if on_delete else _below(partition) if partition else "",
        observed=_count(manifest, *status, "observedGeneration"),
        order="ordinal",
    )


def _daemon_set(manifest: Mapping[str, JSON], name: str) -> Controller:
    desired = _count(manifest, "status", "desiredNumberScheduled")
    on_delete = _text(manifest, "spec", "updateStrategy", "type") == "OnDelete"
    outdated = _count(manifest, "status", "updatedNumberScheduled") < desired
    return Controller(
        ("apps", "DaemonSet"),
        name,
        desired=desired,
        rolling=_unseen(manifest) or (not on_delete and outdated),
        held_back=_waiting_template() if on_delete and outdated else "",
        no_restart=_on_delete() if on_delete else "",
        observed=_count(manifest, "status", "observedGeneration"),
    )


def _waiting_template() -> str:
    return "its updateStrategy is OnDelete and a newer template waits, which a new pod would bring into force"


def _on_delete() -> str:
    return "its updateStrategy is OnDelete"


def _below(partition: int) -> str:
    return f"its updateStrategy keeps the pods below partition {partition} as they are"


def _unseen(manifest: Mapping[str, JSON]) -> bool:
    """Whether the controller has not looked at the present spec yet."""
    return _count(manifest, "status", "observedGeneration") < _count(manifest, "metadata", "generation")


def _count(manifest: Mapping[str, JSON], *path: str, absent: int = 0) -> int:
    found = _number(manifest, *path)
    return absent if found is None else found


def _number(manifest: Mapping[str, JSON], *path: str) -> int | None:
    found = workload.at(manifest, path)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _text(manifest: Mapping[str, JSON], *path: str) -> str:
    found = workload.at(manifest, path)
    return found if isinstance(found, str) else ""
