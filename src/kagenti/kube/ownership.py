"""Which pods belong to which workload: the top of the owner chain (spec 03), read in the background once per ReplicaSet or Job.

Never what a label or annotation says.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from kagenti import errors
from kagenti.core.store import Store
from kagenti.core.workload import OwnerReference, WorkloadRef

_READS_AT_ONCE: Final = 16
_RETRY: Final = 1.0  # seconds before owners that could not be read are asked for again

OnWorkload = Callable[[WorkloadRef], None]


class Owners(Protocol):
    """Resolves controller references; raises ClusterError."""

    async def top_owner(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        """Returns the top of the chain, or None when the reference does not hold."""


class OwnedPod(Protocol):
    """What is asked of a pod."""

    @property
    def namespace(self) -> str:
        """Namespace."""

    @property
    def name(self) -> str:
        """Name."""

    @property
    def uid(self) -> str:
        """UID."""

    @property
    def owner(self) -> OwnerReference | None:
        """Its controller reference."""


P = TypeVar("P", bound=OwnedPod)


class Ownership(Generic[P]):
    """The pods of one process by workload. ``sleep`` is the clock, for tests.

    Args:
        store: The pods; filled by a reflector.
        owners: Reads owners.
        logger: The log.
        wanted: Whether a pod's workload is asked for at all.
        same: Whether another version of a pod says the same of all that matters; then nobody is told.
    """

    def __init__(
        self,
        store: Store[P],
        owners: Owners,
        *,
        logger: logging.Logger,
        wanted: Callable[[P], bool] = lambda _: True,
        same: Callable[[P, P], bool] = lambda _one, _other: False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.store: Final = store
        self._owners, self._logger, self._sleep = owners, logger, sleep
        self._wanted, self._same = wanted, same
        self._workloads: dict[str, WorkloadRef] = {}
        self._of: dict[WorkloadRef, dict[str, P]] = {}
        self._unresolved: dict[str, P] = {}
        self._wake = asyncio.Event()
        self._listeners: list[OnWorkload] = []
        store.on_change(self._changed)

    def on_workload(self, listener: OnWorkload) -> None:
        """Calls ``listener`` with every workload whose pods are others than before."""
        self._listeners.append(listener)

    def of(self, workload: WorkloadRef) -> tuple[P, ...]:
        """Returns the pods of a workload, as far as their owners have been read."""
        return tuple(self._of.get(workload, {}).values())

    def workload(self, uid: str) -> WorkloadRef | None:
        """Returns the workload of a pod, or None until it has been read."""
        return self._workloads.get(uid)

    def workloads(self) -> Iterable[WorkloadRef]:
        """Returns every workload with pods."""
        return tuple(self._of)

    def unresolved(self) -> Collection[P]:
        """Returns the pods whose owner is not known yet."""
        return self._unresolved.values()

    async def top_owner(self, pod: P) -> WorkloadRef:
        """Returns a pod's workload; the pod itself where nothing controls it (raises ClusterError)."""
        known = self._workloads.get(pod.uid)
        if known is not None:
            return known
        owner = await self._owners.top_owner(pod.owner, pod.namespace) if pod.owner is not None else None
        return owner or WorkloadRef("", "Pod", pod.namespace, pod.name)

    def look_up(self, pod: P) -> None:
        """Has the workload of a pod read soon."""
        self._unresolved[pod.uid] = pod
        self._wake.set()

    async def run(self) -> None:
        """Reads the owners of new pods until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            failed = await self._resolve(list(self._unresolved.values()))
            if failed:
                await self._sleep(_RETRY)
                self._wake.set()

    async def _resolve(self, pods: list[P]) -> bool:
        slots = asyncio.Semaphore(_READS_AT_ONCE)
        return not all(await asyncio.gather(*(self._resolve_one(pod, slots) for pod in pods)))

    async def _resolve_one(self, pod: P, slots: asyncio.Semaphore) -> bool:
        """Reads one owner; returns False when that has to be tried again."""
        async with slots:
            try:
                workload = await self.top_owner(pod)
            except (errors.ClusterError, msgspec.DecodeError) as error:
                fields = {"pod": f"{pod.namespace}/{pod.name}", "problem": str(error)}
                self._logger.warning("owner cannot be read", extra={"fields": fields})
                return False
        newest = self._unresolved.get(pod.uid)
        if newest is not None and newest.owner == pod.owner:  # it may have changed while the owner was being read
            del self._unresolved[pod.uid]
            self._place(newest, workload)
        return True

    def _changed(self, old: P | None, new: P | None) -> None:
        if old is not None and (new is None or new.uid != old.uid or new.owner != old.owner):
            self._remove(old)
        if new is None:
            return
        workload = self._workloads.get(new.uid)
        if workload is None:
            if new.uid in self._unresolved or self._wanted(new):
                self.look_up(new)
        elif old is None or not self._same(old, new):
            self._place(new, workload)

    def _place(self, pod: P, workload: WorkloadRef) -> None:
        self._workloads[pod.uid] = workload
        self._of.setdefault(workload, {})[pod.uid] = pod
        self._tell(workload)

    def _remove(self, pod: P) -> None:
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
