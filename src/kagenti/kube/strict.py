"""Strict reads: what the API server knows now of AgentRuntimes for one target.

A caller may join a LIST that has not been sent yet, never one in flight: that one may already be answering from the past.
"""

import asyncio
from typing import Final, Protocol
from urllib.parse import quote

import msgspec

from kagenti import errors
from kagenti.kube.kinds import KINDS, StoredObject
from kagenti_api.v1alpha1 import wellknown

BUDGET: Final = 1.0
"""Seconds a caller waits for a strict read (spec 03); the webhook answers NotReady after that."""


class Get(Protocol):
    """Reads one path as raw bytes; raises ClusterError."""

    async def get(self, path: str, *, params: dict[str, str], timeout: float) -> bytes:
        """Returns the body."""


class _List(msgspec.Struct):
    items: list[msgspec.Raw] = []


_decoder = msgspec.json.Decoder(_List)
_Key = tuple[str, str, str]
_Found = tuple[StoredObject, ...]


class StrictReader:
    """Consistent reads by selectable field, shared only among callers that came before the request was sent."""

    def __init__(self, client: Get, *, budget: float = BUDGET) -> None:
        self._client = client
        self._budget = budget
        self._flying: dict[_Key, asyncio.Task[_Found]] = {}
        self._waiting: dict[_Key, asyncio.Task[_Found]] = {}
        self.reads = 0
        self.failures = 0

    async def runtimes_for(self, namespace: str, kind: str, name: str) -> _Found:
        """Returns the AgentRuntimes of that namespace whose targetRef names kind and name; none where the kind is gone.

        Raises ClusterError, at the latest when the budget is spent, counted from this call.
        """
        key = (namespace, kind, name)
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = asyncio.create_task(self._after(self._flying.get(key), key))
            waiting.add_done_callback(_noted)
            self._waiting[key] = waiting
        try:
            async with asyncio.timeout(self._budget):
                return await asyncio.shield(waiting)
        except TimeoutError as problem:
            raise errors.Unreachable(
                f"the AgentRuntimes for {kind} {namespace}/{name} were not listed within {self._budget:g} s; try again"
            ) from problem

    async def _after(self, flying: asyncio.Task[_Found] | None, key: _Key) -> _Found:
        """Sends the LIST once the one in flight for the same key is answered; until then others may join."""
        if flying is not None:
            await asyncio.wait((flying,), timeout=self._budget)
        task = self._waiting.pop(key)
        self._flying[key] = task
        try:
            return await self._list(key)
        except Exception:
            self.failures += 1
            raise
        finally:
            if self._flying.get(key) is task:
                del self._flying[key]

    async def _list(self, key: _Key) -> _Found:
        namespace, kind, name = key
        self.reads += 1
        path = f"/apis/{wellknown.GROUP}/{wellknown.VERSION}/namespaces/{quote(namespace, safe='')}/agentruntimes"
        # No resourceVersion: a consistent read (Kubernetes API concepts, "Resource versions").
        selector = {"fieldSelector": f"spec.targetRef.kind={_escaped(kind)},spec.targetRef.name={_escaped(name)}"}
        try:
            body = await self._client.get(path, params=selector, timeout=self._budget)
        except errors.NotFound:
            # A namespace that does not exist has an empty list: it is the CRD that is gone, and every AgentRuntime with it.
            # An API server that has only begun to serve answers 503 instead (kube-apiserver since 1.23).
            return ()
        try:
            return tuple(KINDS["AgentRuntime"].decode(item) for item in _decoder.decode(body).items)
        except msgspec.DecodeError as problem:
            raise errors.Unreachable(f"GET {path} was answered with what is no list: {problem}; try again") from problem


def _noted(task: asyncio.Task[_Found]) -> None:
    """Takes the exception of a read whose callers have all given up, which asyncio would log as forgotten."""
    if not task.cancelled():
        task.exception()


def _escaped(value: str) -> str:
    """Returns a value for a field selector; an owner's name is the pod author's word (apimachinery fields.EscapeValue)."""
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
