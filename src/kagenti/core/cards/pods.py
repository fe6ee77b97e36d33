"""Which pod is asked for a card: ready, with an address of its own, the newest of the current revision.

A revision is what a controller made at one time: a ReplicaSet, or one template of a StatefulSet or DaemonSet.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kagenti.core.untrusted import literal, unwrapped
from kagenti.core.workload import OwnerReference, WorkloadRef, controller_reference
from kagenti_api.v1alpha1 import wellknown
from kagenti_api.v1alpha1.agentcard import HOST_NETWORK, NO_PODS, NO_READY_POD

JSON = Any  # a raw pod, or a part of it

REVISION_LABEL: Final = "controller-revision-hash"
"""Label by which StatefulSets and DaemonSets tell their templates apart (Kubernetes: well-known labels)."""

_FINISHED: Final = ("Succeeded", "Failed")
_MOST_NAMED: Final = 5  # workloads in a message


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port of a container of the agent's own; ``name`` may be empty."""

    number: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class AgentPod:
    """What choosing and asking a pod reads of it; ``created`` is RFC 3339, in seconds, and therefore ordered as text."""

    namespace: str
    name: str
    uid: str
    created: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    owner: OwnerReference | None = None
    ready: bool = False
    host_network: bool = False
    ip: str = ""
    host_ips: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()

    @property
    def revision(self) -> "Revision":
        """What made this pod, and from which of its templates."""
        return Revision(self.owner.uid if self.owner else self.uid, self.labels.get(REVISION_LABEL, ""))

    @property
    def on_host(self) -> bool:
        """Whether its address is its node's: what answers there is anybody's."""
        return self.host_network or _spelt(self.ip) in map(_spelt, self.host_ips)


def _spelt(ip: str) -> str:
    """Returns an address in the one spelling that all of its spellings have in common; what is none as it is."""
    found = literal(ip)
    return ip if found is None else str(unwrapped(found))


@dataclass(frozen=True, slots=True)
class Revision:
    """A controller's uid (the pod's own without one) and, where it has several templates, the template's hash."""

    controller: str
    template: str = ""


@dataclass(frozen=True, slots=True)
class Matched:
    """The pods that a selector matches; ``ready`` are those that may be asked, newest first."""

    pods: tuple[AgentPod, ...]
    workloads: Mapping[str, WorkloadRef]
    ready: tuple[AgentPod, ...]

    @property
    def owners(self) -> tuple[WorkloadRef, ...]:
        """The workloads of all matched pods, in order."""
        return tuple(sorted(set(self.workloads.values()), key=str))

    def contested(self) -> Mapping[WorkloadRef, tuple[AgentPod, ...]]:
        """Returns the workloads that have ready pods of more than one revision, each with one pod of every revision."""
        found: dict[WorkloadRef, dict[Revision, AgentPod]] = {}
        for pod in self.ready:
            found.setdefault(self.workloads[pod.uid], {}).setdefault(pod.revision, pod)
        return {workload: tuple(pods.values()) for workload, pods in found.items() if len(pods) > 1}


@dataclass(frozen=True, slots=True)
class Choice:
    """The pod that is asked, and its fellows: ready pods of current revisions, itself among them, newest first.

    Without a pod, ``reason`` and ``message`` say why.
    """

    pod: AgentPod | None
    fellows: tuple[AgentPod, ...] = ()
    reason: str = ""
    message: str = ""


def agent_pod(manifest: Mapping[str, JSON]) -> AgentPod | None:
    """Returns a raw pod as far as cards need it; None for one that has ended or is being deleted."""
    metadata, spec, status = (manifest.get(key) or {} for key in ("metadata", "spec", "status"))
    if metadata.get("deletionTimestamp") or status.get("phase") in _FINISHED:
        return None
    conditions = status.get("conditions") or ()
    host_ips = {status.get("hostIP") or "", *(one.get("ip") or "" for one in status.get("hostIPs") or ())} - {""}
    return AgentPod(
        namespace=metadata.get("namespace") or "",
        name=metadata.get("name") or "",
        uid=metadata.get("uid") or "",
        created=metadata.get("creationTimestamp") or "",
        labels=metadata.get("labels") or {},
        owner=controller_reference(manifest),
        ready=any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions),
        host_network=spec.get("hostNetwork") is True,
        ip=status.get("podIP") or "",
        host_ips=tuple(sorted(host_ips)),
        ports=tuple(_ports(spec.get("containers") or ())),
    )


def _ports(containers: Iterable[Mapping[str, JSON]]) -> Iterable[Port]:
    for container in containers:
        if container.get("name") in wellknown.RESERVED_CONTAINERS:
            continue
        for port in container.get("ports") or ():
            if port.get("protocol", "TCP") == "TCP" and isinstance(port.get("containerPort"), int):
                yield Port(port["containerPort"], port.get("name") or "")


def match(pods: Iterable[AgentPod], workloads: Mapping[str, WorkloadRef]) -> Matched:
    """Returns the pods of one card.

    Args:
        pods: Those that its selector selects.
        workloads: The top owner of each pod by its uid; a pod without one is a standalone pod.
    """
    found = tuple(sorted(pods, key=lambda pod: (pod.created, pod.name), reverse=True))
    owners = {pod.uid: workloads.get(pod.uid) or WorkloadRef("", "Pod", pod.namespace, pod.name) for pod in found}
    return Matched(found, owners, tuple(pod for pod in found if pod.ready and pod.ip and not pod.on_host))


def choose(matched: Matched, current: Mapping[WorkloadRef, Revision]) -> Choice:
    """Returns whom to ask.

    Args:
        matched: The pods.
        current: The current revision of contested workloads, as far as it could be read; else the newest pod's counts.
    """
    if not matched.ready:
        return Choice(None, (), *_nobody(matched.pods))
    newest: dict[WorkloadRef, Revision] = {}
    ready = {(matched.workloads[pod.uid], pod.revision) for pod in matched.ready}
    for pod in matched.ready:
        workload = matched.workloads[pod.uid]
        read = current.get(workload)
        # The new revision may have no ready pod yet: then the old one still serves.
        newest.setdefault(workload, read if read is not None and (workload, read) in ready else pod.revision)
    fellows = tuple(pod for pod in matched.ready if pod.revision == newest[matched.workloads[pod.uid]])
    return Choice(fellows[0], fellows)


def _nobody(pods: Sequence[AgentPod]) -> tuple[str, str]:
    if not pods:
        return NO_PODS, "no pod has the labels of spec.selector; compare them with kubectl get pods --show-labels"
    if any(pod.ready and pod.on_host for pod in pods):
        return HOST_NETWORK, (
            "the ready pods that spec.selector matches use their node's network, where anybody may answer; "
            "run the agent without hostNetwork"
        )
    count = (
        "the pod that spec.selector matches is not ready" if len(pods) == 1 else f"none of {len(pods)} pods is ready"
    )
    return NO_READY_POD, f"{count}; see kubectl describe pod"


def named(workloads: Sequence[WorkloadRef]) -> str:
    """Returns workloads for a message, the first few of many."""
    shown = ", ".join(f"{found.kind} {found.name}" for found in workloads[:_MOST_NAMED])
    return shown + (f" and {len(workloads) - _MOST_NAMED} more" if len(workloads) > _MOST_NAMED else "")
