"""Who owns a pod: the chain of controller references, read at most once per owner.

An owner's own owner never changes, so an answer is kept by UID for as long as there is room (spec 03).
"""

import asyncio
from typing import Final, Protocol
from urllib.parse import quote

import msgspec
from cachetools import LRUCache

from kagenti import errors
from kagenti.core.workload import OwnerReference, WorkloadRef

_ROOM: Final = 10_000
_BUDGET: Final = 1.0  # seconds; the webhook's own timeout is 5
# Kinds that a controller of another kind makes; every other kind is the top of its chain.
_MADE: Final = {
    ("apps", "ReplicaSet"): "/apis/apps/v1/namespaces/{}/replicasets/{}",
    ("batch", "Job"): "/apis/batch/v1/namespaces/{}/jobs/{}",
}


class Get(Protocol):
    """Reads one object as raw bytes; raises ClusterError."""

    async def get(self, path: str, *, timeout: float) -> bytes:
        """Returns the body."""


class _Reference(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class _Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    uid: str = ""
    owner_references: list[_Reference] = []


class _Owner(msgspec.Struct):
    metadata: _Metadata


_decoder = msgspec.json.Decoder(_Owner)


class OwnerReader:
    """Resolves a pod's controller reference to the top of its chain."""

    def __init__(self, client: Get) -> None:
        self._client = client
        self._known: LRUCache[tuple[str, str, str, str], WorkloadRef | None] = LRUCache(_ROOM)
        self._asking: dict[tuple[str, str, str, str], asyncio.Task[WorkloadRef | None]] = {}
        self.reads = 0

    async def top_owner(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        """Returns the top owner, or None when the reference does not hold (the pod is then a standalone pod).

        Raises ClusterError when the API server gives no answer; callers must not take that for an absent owner.
        """
        if (reference.group, reference.kind) not in _MADE:
            return reference.workload(namespace)
        key = (namespace, reference.kind, reference.name, reference.uid)
        if key in self._known:
            return self._known[key]
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._read(reference, namespace))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        found = await asyncio.shield(task)
        self._known[key] = found
        return found

    async def _read(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        self.reads += 1
        path = _MADE[reference.group, reference.kind].format(quote(namespace, safe=""), quote(reference.name, safe=""))
        try:
            body = await self._client.get(path, timeout=_BUDGET)
        except errors.NotFound:
            return None
        metadata = _decoder.decode(body).metadata
        if metadata.uid != reference.uid or metadata.name != reference.name:
            return None
        for owner in metadata.owner_references:
            if owner.controller:
                return OwnerReference(owner.api_version, owner.kind, owner.name, owner.uid).workload(namespace)
        return reference.workload(namespace)
