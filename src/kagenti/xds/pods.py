"""The managed pods: by uid, by workload, with their receipts read; and one GET for a pod that the cache has not seen.

A pod's workload is the top of its owner chain (spec 03), never what a label or annotation says. The chain of a new
ReplicaSet or Job costs one GET, made in the background; a stream that comes first makes it itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol
from urllib.parse import quote

import msgspec
from cachetools import LRUCache

from kagenti import errors
from kagenti.core import receipts
from kagenti.core.receipts import Receipt
from kagenti.core.store import Store
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.kube import PODS, StoredPod
from kagenti_api.v1alpha1 import wellknown

_BUDGET: Final = 1.0  # seconds for one read
_READS_AT_ONCE: Final = 16
_RETRY: Final = 1.0  # seconds before owners that could not be read are asked for again
_ROOM: Final = 8192  # receipts; the largest fleet measured has 5,000 pods
_MISSES: Final = 64  # GETs of unknown pods in flight

OnWorkload = Callable[[WorkloadRef], None]


class Get(Protocol):
    """Reads one path as raw bytes; raises ClusterError."""

    async def get(self, path: str, *, timeout: float) -> bytes:
        """Returns the body."""


class Owners(Protocol):
    """Resolves controller references; raises ClusterError."""

    async def top_owner(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        """Returns the top of the chain, or None when the reference does not hold."""


class Pods:
    """The managed pods of one process; ``store`` is filled by a reflector. ``sleep`` is the clock, for tests."""

    def __init__(
        self,
        client: Get,
        owners: Owners,
        *,
        logger: logging.Logger,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client, self._owners, self._logger, self._sleep = client, owners, logger, sleep
        self.store: Final = Store[StoredPod](PODS.indexes)
        self.store.on_change(self._changed)
        self._receipts: LRUCache[str, Receipt | errors.ManifestError] = LRUCache(_ROOM)
        self._workloads: dict[str, WorkloadRef] = {}
        self._of: dict[WorkloadRef, dict[str, StoredPod]] = {}
        self._unresolved: dict[str, StoredPod] = {}
        self._wake = asyncio.Event()
        self._misses = asyncio.Semaphore(_MISSES)
        self._listeners: list[OnWorkload] = []
        self._observers: list[Callable[[StoredPod], None]] = []
        self.reads = 0

    def on_workload(self, listener: OnWorkload) -> None:
        """Calls ``listener`` with every workload whose pods are others than before."""
        self._listeners.append(listener)

    def on_pod(self, observer: Callable[[StoredPod], None]) -> None:
        """Calls ``observer`` with every new version of a pod."""
        self._observers.append(observer)

    def by_uid(self, uid: str) -> StoredPod | None:
        """Returns a pod of the cache, or None."""
        found = self.store.by_index("uid", uid)
        return found[0] if found else None

    def of(self, workload: WorkloadRef) -> Iterable[StoredPod]:
        """Returns the pods of a workload, as far as their owners have been read."""
        return tuple(self._of.get(workload, {}).values())

    def workload(self, uid: str) -> WorkloadRef | None:
        """Returns the workload of a pod, or None until it has been read."""
        return self._workloads.get(uid)

    def workloads(self) -> Iterable[WorkloadRef]:
        """Returns every workload with pods."""
        return tuple(self._of)

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

    async def top_owner(self, pod: StoredPod) -> WorkloadRef:
        """Returns a pod's workload; the pod itself where nothing controls it (raises ClusterError)."""
        known = self._workloads.get(pod.uid)
        if known is not None:
            return known
        owner = await self._owners.top_owner(pod.owner, pod.namespace) if pod.owner is not None else None
        return owner or WorkloadRef("", "Pod", pod.namespace, pod.name)

    def waiting(self) -> int:
        """Returns the number of pods whose owner is not known yet."""
        return len(self._unresolved)

    async def run(self) -> None:
        """Reads the owners of new pods until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            failed = await self._resolve(list(self._unresolved.values()))
            if failed:
                await self._sleep(_RETRY)
                self._wake.set()

    async def _resolve(self, pods: list[StoredPod]) -> bool:
        slots = asyncio.Semaphore(_READS_AT_ONCE)
        return not all(await asyncio.gather(*(self._resolve_one(pod, slots) for pod in pods)))

    async def _resolve_one(self, pod: StoredPod, slots: asyncio.Semaphore) -> bool:
        """Reads one owner; returns False when that has to be tried again."""
        async with slots:
            try:
                workload = await self.top_owner(pod)
            except (errors.ClusterError, msgspec.DecodeError) as error:
                fields = {"pod": f"{pod.namespace}/{pod.name}", "problem": str(error)}
                self._logger.warning("owner cannot be read", extra={"fields": fields})
                return False
        if self._unresolved.get(pod.uid) is pod:
            del self._unresolved[pod.uid]
            self._place(pod, workload)
        return True

    def _changed(self, old: StoredPod | None, new: StoredPod | None) -> None:
        if old is not None and (new is None or new.uid != old.uid or new.owner != old.owner):
            self._remove(old)
        if new is None:
            return
        workload = self._workloads.get(new.uid)
        if workload is not None:
            self._place(new, workload)
        else:
            self._unresolved[new.uid] = new
            self._wake.set()
        for observer in self._observers:
            observer(new)

    def _place(self, pod: StoredPod, workload: WorkloadRef) -> None:
        self._workloads[pod.uid] = workload
        self._of.setdefault(workload, {})[pod.uid] = pod
        self._tell(workload)

    def _remove(self, pod: StoredPod) -> None:
        self._unresolved.pop(pod.uid, None)
        workload = self._workloads.pop(pod.uid, None)
        if workload is None:
            return
        pods = self._of[workload]
        pods.pop(pod.uid, None)
        if not pods:
            del self._of[workload]
        self._tell(workload)

    def _tell(self, workload: WorkloadRef) -> None:
        for listener in self._listeners:
            listener(workload)
