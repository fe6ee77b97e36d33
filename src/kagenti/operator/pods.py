"""Every pod of the cluster as the operator keeps it: what it indexes by, and the rest as one compressed text.

A decision needs the whole spec of a pod, and the next change of a layer needs it again; ten thousand pods as received would
be 100 MB. What nothing of ours reads (managed fields, most of the status) goes on receipt.
"""

import sys
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import orjson

from kagenti.core.workload import OwnerReference
from kagenti.kube import Kind
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw pod

_FINISHED: Final = ("Succeeded", "Failed")
_LEVEL: Final = 1  # zlib: twice as fast as its default, for a tenth more of memory


class ObservedPod(msgspec.Struct, frozen=True):
    """One pod.

    ``labelled`` says whether it carries the inject label, ``receipted`` whether it carries a receipt. ``ready`` are our
    own native sidecars by name, ``is_ready`` is the condition Ready and ``ready_at`` since when. ``packed`` is the pod.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    created: str = ""
    owner: OwnerReference | None = None
    labelled: bool = False
    receipted: bool = False
    phase: str = ""
    deleting: bool = False
    is_ready: bool = False
    ready_at: str = ""
    ready: tuple[tuple[str, bool], ...] = ()
    packed: bytes = b""

    @property
    def live(self) -> bool:
        """Whether it counts among its workload's pods: it has not ended and is not on its way out."""
        return not self.deleting and not self.finished

    @property
    def finished(self) -> bool:
        """Whether its containers have ended for good."""
        return self.phase in _FINISHED

    @property
    def running(self) -> bool:
        """Whether its phase is Running."""
        return self.phase == "Running"

    @property
    def sidecars(self) -> Mapping[str, bool]:
        """Our native sidecars, and whether each is ready."""
        return dict(self.ready)

    def manifest(self) -> JSON:
        """Returns the pod: metadata as decisions read it, spec whole, of the status phase, addresses and conditions."""
        return orjson.loads(zlib.decompress(self.packed))

    def same(self, other: "ObservedPod") -> bool:
        """Whether another version of this pod says the same of all that is kept."""
        return msgspec.structs.replace(self, resource_version=other.resource_version) == other


class _Reference(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class _Metadata(msgspec.Struct, rename="camel", omit_defaults=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    owner_references: list[_Reference] | None = None
    annotations: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class _Container(msgspec.Struct, rename="camel"):
    name: str = ""
    restart_policy: str = ""


class _Spec(msgspec.Struct, rename="camel"):
    init_containers: list[_Container] = []


class _ContainerStatus(msgspec.Struct):
    name: str = ""
    ready: bool = False


class _Condition(msgspec.Struct, rename="camel"):
    type: str = ""
    status: str = ""
    last_transition_time: str | None = None


class _Status(msgspec.Struct, rename="camel", omit_defaults=True):
    phase: str = ""
    host_ip: str = msgspec.field(default="", name="hostIP")
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: list[dict[str, str]] | None = msgspec.field(default=None, name="podIPs")
    host_ips: list[dict[str, str]] | None = msgspec.field(default=None, name="hostIPs")
    conditions: list[_Condition] | None = None
    init_container_statuses: list[_ContainerStatus] | None = None


class _Pod(msgspec.Struct):
    metadata: _Metadata
    spec: msgspec.Raw = msgspec.Raw(b"{}")
    status: _Status = msgspec.field(default_factory=_Status)


_decoder = msgspec.json.Decoder(_Pod)
_specs = msgspec.json.Decoder(_Spec)
_encoder = msgspec.json.Encoder()


def _decode(raw: msgspec.Raw | bytes) -> ObservedPod:
    pod = _decoder.decode(raw)
    meta, status = pod.metadata, pod.status
    version, meta.resource_version = meta.resource_version, ""  # every heartbeat has another
    labels, annotations = meta.labels or {}, meta.annotations or {}
    ready = next((found for found in status.conditions or () if found.type == "Ready"), _Condition())
    sidecars = _sidecars(pod.spec, status)
    status.init_container_statuses = None
    return ObservedPod(
        namespace=sys.intern(meta.namespace),
        name=meta.name,
        uid=meta.uid,
        resource_version=version,
        created=meta.creation_timestamp,
        owner=_controller(meta.owner_references or ()),
        labelled=wellknown.INJECT_LABEL in labels,
        receipted=wellknown.RECEIPT_ANNOTATION in annotations,
        phase=sys.intern(status.phase),
        deleting=meta.deletion_timestamp is not None,
        is_ready=ready.status == "True",
        ready_at=ready.last_transition_time or "",
        ready=sidecars,
        packed=zlib.compress(_encoder.encode({"metadata": meta, "spec": pod.spec, "status": status}), _LEVEL),
    )


def _sidecars(spec: msgspec.Raw, status: _Status) -> tuple[tuple[str, bool], ...]:
    """Returns our native sidecars and whether each is ready; one without a status is not."""
    known: Mapping[str, bool] = {found.name: found.ready for found in status.init_container_statuses or ()}
    return tuple(
        (sys.intern(found.name), known.get(found.name, False))
        for found in _specs.decode(spec).init_containers
        if found.name in wellknown.RESERVED_CONTAINERS and found.restart_policy == "Always"
    )


def _controller(references: Iterable[_Reference]) -> OwnerReference | None:
    """Returns the controller reference (Kubernetes: at most one has ``controller: true``)."""
    for found in references:
        if found.controller:
            return OwnerReference(found.api_version, found.kind, found.name, found.uid)
    return None


OBSERVED_PODS: Final = Kind(
    "Pod",
    "/api/v1/pods",
    "pods",
    _decode,
    {"namespace": lambda pod: (pod.namespace,), "uid": lambda pod: (pod.uid,)},
)
"""All pods: a bare one carries nothing of ours to select by."""
