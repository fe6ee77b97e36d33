"""Who owns a pod: the chain of controller references, read at most once per owner.

An owner's own owner never changes, so an answer is kept by UID for as long as there is room (spec 03).
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, Protocol, TypeVar

import msgspec
from cachetools import LRUCache

from kagenti import errors
from kagenti.core.trigger import OwnerProof
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.kube import wire
from kagenti.kube.kinds import path_of

_ROOM: Final = 10_000
_BUDGET: Final = 1.0  # seconds; the webhook's own timeout is 5
# Kinds that a controller of another kind makes; every other kind is the top of its chain.
_MADE: Final = (("apps", "ReplicaSet"), ("batch", "Job"))


class Get(Protocol):
    """Reads one object as raw bytes; raises ClusterError."""

    async def get(self, path: str, *, timeout: float) -> bytes:
        """Returns the body."""


class _Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    uid: str = ""
    owner_references: list[wire.Reference] = []


class _Owner(msgspec.Struct):
    metadata: _Metadata


_decoder = msgspec.json.Decoder(_Owner)
_Answer = TypeVar("_Answer")


class _Once(Generic[_Answer]):
    """Answers that never change: each is read once however many ask at a time, and kept while there is room."""

    def __init__(self) -> None:
        self._known: LRUCache[Hashable, _Answer] = LRUCache(_ROOM)
        self._asking: dict[Hashable, asyncio.Task[_Answer]] = {}

    async def get(self, key: Hashable, read: Callable[[], Awaitable[_Answer]]) -> _Answer:
        if key in self._known:
            return self._known[key]
        task = self._asking.get(key)
        if task is None:
            task = asyncio.ensure_future(self._keep(key, read))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)

    def _done(self, key: Hashable, task: asyncio.Task[_Answer]) -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # taken, though all who asked may have given up

    async def _keep(self, key: Hashable, read: Callable[[], Awaitable[_Answer]]) -> _Answer:
        found = await read()
        self._known[key] = found
        return found


class OwnerReader:
    """Resolves a pod's controller reference to the top of its chain, and proves that the top exists."""

    def __init__(self, client: Get) -> None:
        self._client = client
        self._tops: _Once[OwnerReference | None] = _Once()
        self._proofs: _Once[OwnerProof] = _Once()
        self.reads = 0

    async def top_owner(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        """Returns the top owner, or None when the reference does not hold (the pod is then a standalone pod).

        Raises ClusterError when the API server gives no answer; callers must not take that for an absent owner.
        """
        top = await self._top(reference, namespace)
        return None if top is None else top.workload(namespace)

    async def proof_of(self, reference: OwnerReference, namespace: str) -> OwnerProof:
        """Returns whether the top of that chain exists under its UID; one GET per top owner, raises ClusterError.

        A reference is what the pod's author wrote: nothing checks it at admission, and kinds at the top of a chain
        are otherwise taken at their word.
        """
        top = await self._top(reference, namespace)
        if top is None:
            return "broken"
        if top == reference and (top.group, top.kind) in _MADE:
            return "holds"  # it was read on the way
        path = path_of((top.group, top.kind), namespace, top.name)
        if path is None:
            return "unknown"

        async def prove() -> OwnerProof:
            return "broken" if await self._read(top, path) is None else "holds"

        return await self._proofs.get((namespace, top.group, top.kind, top.name, top.uid), prove)

    async def _top(self, reference: OwnerReference, namespace: str) -> OwnerReference | None:
        kind = (reference.group, reference.kind)
        path = path_of(kind, namespace, reference.name)
        if kind not in _MADE or path is None:
            return reference

        async def climb() -> OwnerReference | None:
            metadata = await self._read(reference, path)
            return None if metadata is None else wire.controller(metadata.owner_references) or reference

        return await self._tops.get((namespace, *kind, reference.name, reference.uid), climb)

    async def _read(self, reference: OwnerReference, path: str) -> _Metadata | None:
        """Returns the metadata of the object that a reference names; None when there is none of that name and UID."""
        self.reads += 1
        try:
            metadata = _decoder.decode(await self._client.get(path, timeout=_BUDGET)).metadata
        except errors.NotFound:
            return None
        except msgspec.DecodeError as problem:
            raise errors.Unreachable(
                f"GET {path} was answered with what is no object: {problem}; try again"
            ) from problem
        return metadata if (metadata.uid, metadata.name) == (reference.uid, reference.name) else None
