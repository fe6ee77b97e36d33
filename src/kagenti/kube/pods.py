"""Managed pods as we keep them: what the xDS server and the operator ask of a pod, and nothing else of it."""

import sys
from typing import Final

import msgspec

from kagenti.core.workload import OwnerReference
from kagenti.kube import wire
from kagenti.kube.kinds import Kind
from kagenti_api.v1alpha1 import wellknown

_FINISHED: Final = ("Succeeded", "Failed")


class StoredPod(msgspec.Struct, frozen=True):
    """One pod: who it is, who controls it, and its receipt as text (empty without one).

    Equal receipts are one object in memory: the pods of a workload share theirs, and it is most of what we keep.
    ``managed`` is the label, which the list selects by and a single read does not.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    service_account: str = "default"
    owner: OwnerReference | None = None
    receipt: str = ""
    managed: bool = False
    phase: str = ""
    deleting: bool = False
    ips: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether its containers have ended for good."""
        return self.phase in _FINISHED


class _Annotations(msgspec.Struct):
    receipt: str = msgspec.field(default="", name=wellknown.RECEIPT_ANNOTATION)


class _Labels(msgspec.Struct):
    managed: str = msgspec.field(default="", name=wellknown.MANAGED_LABEL)


class _Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    deletion_timestamp: str | None = None
    owner_references: list[wire.Reference] | None = None
    annotations: _Annotations | None = None
    labels: _Labels | None = None


class _Spec(msgspec.Struct, rename="camel", frozen=True):
    service_account_name: str = ""


class _Address(msgspec.Struct):
    ip: str = ""


class _Status(msgspec.Struct, rename="camel", frozen=True):
    phase: str = ""
    pod_ips: tuple[_Address, ...] | None = msgspec.field(default=None, name="podIPs")


class _Pod(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec = _Spec()
    status: _Status = _Status()


_decoder = msgspec.json.Decoder(_Pod)


def _decode(raw: msgspec.Raw | bytes) -> StoredPod:
    pod = _decoder.decode(raw)
    meta = pod.metadata
    return StoredPod(
        namespace=sys.intern(meta.namespace),
        name=meta.name,
        uid=meta.uid,
        resource_version=meta.resource_version,
        service_account=sys.intern(pod.spec.service_account_name or "default"),
        owner=wire.controller(meta.owner_references or ()),
        receipt=sys.intern(meta.annotations.receipt) if meta.annotations else "",
        managed=meta.labels is not None and meta.labels.managed == "true",
        phase=sys.intern(pod.status.phase),
        deleting=meta.deletion_timestamp is not None,
        ips=tuple(address.ip for address in pod.status.pod_ips or () if address.ip),
    )


PODS: Final = Kind(
    "Pod",
    "/api/v1/pods",
    "pods",
    _decode,
    {"uid": lambda pod: (pod.uid,)},
    selector=f"{wellknown.MANAGED_LABEL}=true",
)
"""The pods that carry our label; the rest of a cluster's pods is never read."""
