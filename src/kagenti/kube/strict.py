"""Strict reads: what the API server knows now of AgentRuntimes for one target.

A caller may join a LIST that has not been sent yet, never one in flight: that one may already be answering from the past.
"""

import asyncio
from typing import Final, Protocol

import msgspec

from kagenti.kube.kinds import KINDS, StoredObject
from kagenti_api.v1alpha1 import wellknown

BUDGET: Final = 1.0
"""Seconds a strict read may take (spec 03); the webhook answers NotReady after that."""


class Get(Protocol):
    """Reads one path as raw bytes; raises ClusterError."""

    async def get(self, path: str, *, params: dict[str, str], timeout: float) -> bytes:
        """Returns the body."""


class _List(msgspec.Struct):
    items: list[msgspec.Raw] = []


_decoder = msgspec.json.Decoder(_List)
_Key = tuple[str, str, str]


class StrictReader:
    """Consistent reads by selectable field, shared only among callers that came before the request was sent."""

    def __init__(self, client: Get) -> None:
        self._client = client
        self._flying: dict[_Key, asyncio.Task[tuple[StoredObject, ...]]] = {}
        self._waiting: dict[_Key, asyncio.Task[tuple[StoredObject, ...]]] = {}
        self.reads = 0
        self.failures = 0

    async def runtimes_for(self, namespace: str, kind: str, name: str) -> tuple[StoredObject, ...]:
        """Returns the AgentRuntimes of that namespace whose targetRef names kind and name; raises ClusterError."""
        key = (namespace, kind, name)
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = asyncio.create_task(self._after(self._flying.get(key), key))
            self._waiting[key] = waiting
        return await asyncio.shield(waiting)

    async def _after(
        self, flying: asyncio.Task[tuple[StoredObject, ...]] | None, key: _Key
    ) -> tuple[StoredObject, ...]:
        """Sends the LIST once the one in flight for the same key is answered; until then others may join."""
        if flying is not None:
            await asyncio.wait((flying,), timeout=BUDGET)
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

    async def _list(self, key: _Key) -> tuple[StoredObject, ...]:
        namespace, kind, name = key
        self.reads += 1
        path = f"/apis/{wellknown.GROUP}/{wellknown.VERSION}/namespaces/{namespace}/agentruntimes"
        # No resourceVersion: a consistent read (Kubernetes API concepts, "Resource versions").
        selector = {"fieldSelector": f"spec.targetRef.kind={_escaped(kind)},spec.targetRef.name={_escaped(name)}"}
        body = await self._client.get(path, params=selector, timeout=BUDGET)
        return tuple(KINDS["AgentRuntime"].decode(item) for item in _decoder.decode(body).items)


def _escaped(value: str) -> str:
    """Returns a value for a field selector; an owner's name is the pod author's word (apimachinery fields.EscapeValue)."""
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
