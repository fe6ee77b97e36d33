"""The kinds that we keep, and the compact form in which we keep them.

A cached object is a small struct with its spec as raw bytes: 10,000 dicts would cost 200 MB and garbage-collection
pauses of 200 ms, structs cost 30 MB and 4 ms. The spec is decoded when a decision needs it.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Generic, Protocol, TypeVar
from urllib.parse import quote

import msgspec

from kagenti.core.workload import WorkloadRef, group_of
from kagenti_api.v1alpha1 import wellknown

_NOTHING: Final = msgspec.Raw(b"{}")


class KubeObject(Protocol):
    """What a reflector needs to know of an object that it feeds to a store."""

    @property
    def namespace(self) -> str:
        """Namespace; empty for cluster-scoped objects."""

    @property
    def name(self) -> str:
        """Name."""

    @property
    def resource_version(self) -> str:
        """Version of the object, opaque."""


T = TypeVar("T", bound=KubeObject)


class StoredObject(msgspec.Struct, frozen=True):
    """One cached object: its metadata as far as decisions read it, and its spec as raw JSON.

    ``target`` is the AgentRuntime's target, None for other kinds and for a targetRef that cannot be read. ``status``
    is raw JSON too, and kept by the ``OBSERVED`` kinds only.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    creation_timestamp: str
    generation: int = 0
    deleting: bool = False
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    target: WorkloadRef | None = None
    spec: bytes = b"{}"
    status: bytes = b"{}"


class _Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str = ""
    generation: int = 0
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None


class _Wire(msgspec.Struct):
    metadata: _Metadata
    spec: msgspec.Raw = _NOTHING
    status: msgspec.Raw = _NOTHING


class _TargetRef(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    name: str


class _TargetSpec(msgspec.Struct, rename="camel"):
    target_ref: _TargetRef


_wire = msgspec.json.Decoder(_Wire)
_target = msgspec.json.Decoder(_TargetSpec)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One kind as the API server serves it, and how its objects are decoded; ``path`` is cluster-wide.

    ``selector`` is a label selector: only those objects are listed and watched.
    """

    name: str
    path: str
    plural: str
    decode: Callable[[msgspec.Raw | bytes], T]
    indexes: Mapping[str, Callable[[T], Iterable[Hashable]]] = field(default_factory=dict)
    selector: str = ""


def _stored(
    kind: str, raw: msgspec.Raw | bytes, *, with_spec: bool = True, with_labels: bool = False, with_status: bool = False
) -> StoredObject:
    wire = _wire.decode(raw)
    meta = wire.metadata
    return StoredObject(
        kind=kind,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        resource_version=meta.resource_version,
        creation_timestamp=meta.creation_timestamp,
        generation=meta.generation,
        deleting=meta.deletion_timestamp is not None,
        # All of them: policies and the chart's namespaceSelector may select by any label.
        labels=(meta.labels or {}) if with_labels else {},
        target=_target_of(wire.spec, meta.namespace) if kind == "AgentRuntime" else None,
        spec=bytes(wire.spec) if with_spec else b"{}",
        status=bytes(wire.status) if with_status else b"{}",
    )


def _target_of(spec: msgspec.Raw, namespace: str) -> WorkloadRef | None:
    """Returns the target, or None where it cannot be read: such an object is kept, and judged where it is used."""
    try:
        reference = _target.decode(spec).target_ref
    except msgspec.DecodeError:
        return None
    return WorkloadRef(group_of(reference.api_version), reference.kind, namespace, reference.name)


def _ours(kind: str) -> Callable[[msgspec.Raw | bytes], StoredObject]:
    return lambda raw: _stored(kind, raw)


def _observed(kind: Kind[StoredObject]) -> Kind[StoredObject]:
    return replace(kind, decode=lambda raw: _stored(kind.name, raw, with_status=True))


def _by_target(found: StoredObject) -> Iterable[WorkloadRef]:
    return (found.target,) if found.target is not None else ()


def _by_namespace(found: StoredObject) -> Iterable[str]:
    return (found.namespace,)


def _path(plural: str) -> str:
    return f"/apis/{wellknown.GROUP}/{wellknown.VERSION}/{plural}"


KINDS: Final[Mapping[str, Kind[StoredObject]]] = {
    kind.name: kind
    for kind in (
        Kind(
            "AgentRuntime",
            _path("agentruntimes"),
            "agentruntimes",
            _ours("AgentRuntime"),
            {"target": _by_target, "namespace": _by_namespace},
        ),
        Kind("AgentRuntimeConfig", _path("agentruntimeconfigs"), "agentruntimeconfigs", _ours("AgentRuntimeConfig")),
        Kind(
            "AgentRuntimeClusterConfig",
            _path("agentruntimeclusterconfigs"),
            "agentruntimeclusterconfigs",
            _ours("AgentRuntimeClusterConfig"),
        ),
        Kind(
            "Namespace",
            "/api/v1/namespaces",
            "namespaces",
            lambda raw: _stored("Namespace", raw, with_spec=False, with_labels=True),
        ),
    )
}

OBSERVED: Final[Mapping[str, Kind[StoredObject]]] = {
    name: kind if name == "Namespace" else _observed(kind) for name, kind in KINDS.items()
}
"""The same kinds with their status, for processes that write it."""

AGENT_CARDS: Final = _observed(Kind("AgentCard", _path("agentcards"), "agentcards", _ours("AgentCard")))
"""AgentCards with their status: only the operator keeps them."""

WORKLOADS: Final[Mapping[tuple[str, str], str]] = {
    ("", "Pod"): "/api/v1/namespaces/{}/pods/{}",
    ("apps", "Deployment"): "/apis/apps/v1/namespaces/{}/deployments/{}",
    ("apps", "StatefulSet"): "/apis/apps/v1/namespaces/{}/statefulsets/{}",
    ("apps", "DaemonSet"): "/apis/apps/v1/namespaces/{}/daemonsets/{}",
    ("apps", "ReplicaSet"): "/apis/apps/v1/namespaces/{}/replicasets/{}",
    ("batch", "Job"): "/apis/batch/v1/namespaces/{}/jobs/{}",
    ("batch", "CronJob"): "/apis/batch/v1/namespaces/{}/cronjobs/{}",
}
"""Where one object of each workload kind is read; of other kinds the webhook's role knows nothing."""


def path_of(kind: tuple[str, str], namespace: str, name: str) -> str | None:
    """Returns the path of a workload by group and kind; None for a kind that we may not read."""
    path = WORKLOADS.get(kind)
    return None if path is None else path.format(quote(namespace, safe=""), quote(name, safe=""))
