"""The managed pods: by uid, by workload, with their receipts read; and one GET for a pod that the cache has not seen.

A pod's workload is the top of its owner chain (spec 03), never what a label or annotation says. The chain of a new
ReplicaSet or Job costs one GET, made in the background; a stream that comes first makes it itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol
from urllib.parse import quote

import msgspec
from cachetools import LRUCache

from kagenti import errors
from kagenti.core import receipts
from kagenti.core.receipts import Receipt
from kagenti.core.store import Store
from kagenti.core.workload import WorkloadRef
from kagenti.kube import PODS, Owners, Ownership, StoredPod
from kagenti_api.v1alpha1 import wellknown

_BUDGET: Final = 1.0  # seconds for one read
_ROOM: Final = 8192  # receipts; the largest fleet measured has 5,000 pods
_MISSES: Final = 64  # GETs of unknown pods in flight


class Get(Protocol):
    """Reads one path as raw bytes; raises ClusterError."""

    async def get(self, path: str, *, timeout: float) -> bytes:
        """Returns the body."""


class Pods(Ownership[StoredPod]):
    """The managed pods of one process; ``store`` is filled by a reflector. ``sleep`` is the clock, for tests."""

    def __init__(
        self,
        client: Get,
        owners: Owners,
        *,
        logger: logging.Logger,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(Store[StoredPod](PODS.indexes), owners, logger=logger, sleep=sleep)
        self._client = client
        self._receipts: LRUCache[str, Receipt | errors.ManifestError] = LRUCache(_ROOM)
        self._misses = asyncio.Semaphore(_MISSES)
        self._observers: list[Callable[[StoredPod], None]] = []
        self.store.on_change(self._note)
        self.reads = 0

    def on_pod(self, observer: Callable[[StoredPod], None]) -> None:
        """Calls ``observer`` with every new version of a pod."""
        self._observers.append(observer)

    def by_uid(self, uid: str) -> StoredPod | None:
        """Returns a pod of the cache, or None."""
        found = self.store.by_index("uid", uid)
        return found[0] if found else None

    def proxies(self, workload: WorkloadRef) -> int:
        """Returns how many proxies of a workload ought to be connected: those of running pods that carry one."""
        return sum(1 for pod in self.of(workload) if self.runs_proxy(pod))

    def runs_proxy(self, pod: StoredPod) -> bool:
        """Whether a pod runs and carries a proxy, which then ought to have a stream."""
        if pod.phase != "Running" or pod.deleting:
            return False
        try:
            return wellknown.ENVOY_PROXY in self.receipt(pod).containers
        except errors.ManifestError:
            return True  # it claims to be managed, and nobody knows: it is missed until it connects

    def receipt(self, pod: StoredPod) -> Receipt:
        """Returns the receipt of a pod; raises ManifestError when it has none that can be read."""
        found = self._receipts.get(pod.receipt)
        if found is None:
            try:
                found = receipts.parse(pod.receipt)
            except errors.ManifestError as error:
                found = error
            self._receipts[pod.receipt] = found
        if isinstance(found, errors.ManifestError):
            raise errors.ManifestError(f"Pod {pod.namespace}/{pod.name}: {found}")
        return found

    async def find(self, namespace: str, name: str, uid: str) -> StoredPod | None:
        """Returns the pod of that uid, asking the API server once where the cache does not have it (raises ClusterError)."""
        known = self.by_uid(uid)
        if known is not None:
            return known
        async with self._misses:
            self.reads += 1
            path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"
            try:
                pod = PODS.decode(await self._client.get(path, timeout=_BUDGET))
            except errors.NotFound:
                return None
            except msgspec.DecodeError as error:
                raise errors.Unreachable(f"the API server's answer about pod {namespace}/{name} is not one") from error
        return pod if pod.uid == uid else None

    def _note(self, _: StoredPod | None, new: StoredPod | None) -> None:
        if new is None:
            return
        for observer in self._observers:
            observer(new)
