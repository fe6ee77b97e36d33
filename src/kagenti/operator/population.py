"""Which pods belong to which workload: the top of the owner chain, read once per ReplicaSet or Job (spec 03).

Only where it matters: pods that carry our label or receipt, and those of namespaces in which something of ours could be
about them. The rest of a large cluster costs no read.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol

from kagenti import errors
from kagenti.core.store import Store
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.operator.pods import OBSERVED_PODS, ObservedPod

_READS_AT_ONCE: Final = 16
_RETRY: Final = 1.0  # seconds before owners that could not be read are asked for again

OnWorkload = Callable[[WorkloadRef], None]


class Owners(Protocol):
    """Resolves controller references; raises ClusterError."""

    async def top_owner(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        """Returns the top of the chain, or None when the reference does not hold."""


class Population:
    """The pods of one process; ``store`` is filled by a reflector. ``sleep`` is the clock, for tests.

    Args:
        owners: Reads owners.
        concerned: Whether anything of ours could be about the pods of a namespace.
        logger: The log.
    """

    def __init__(
        self,
        owners: Owners,
        *,
        concerned: Callable[[str], bool],
        logger: logging.Logger,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._owners, self._concerned, self._logger, self._sleep = owners, concerned, logger, sleep
        self.store: Final = Store[ObservedPod](OBSERVED_PODS.indexes)
        self.store.on_change(self._changed)
        self._workloads: dict[str, WorkloadRef] = {}
        self._of: dict[WorkloadRef, dict[str, ObservedPod]] = {}
        self._unresolved: dict[str, ObservedPod] = {}
        self._wake = asyncio.Event()
        self._listeners: list[OnWorkload] = []

    def on_workload(self, listener: OnWorkload) -> None:
        """Calls ``listener`` with every workload whose pods are others than before, in what is kept of them."""
        self._listeners.append(listener)

    def of(self, workload: WorkloadRef) -> tuple[ObservedPod, ...]:
        """Returns the pods of a workload, by name."""
        return tuple(sorted(self._of.get(workload, {}).values(), key=lambda pod: pod.name))

    def workload(self, uid: str) -> WorkloadRef | None:
        """Returns the workload of a pod, or None until it has been read."""
        return self._workloads.get(uid)

    def workloads(self) -> Iterable[WorkloadRef]:
        """Returns every workload with pods."""
        return tuple(self._of)

    def settled(self, namespace: str) -> bool:
        """Whether the owners of a namespace's pods have all been read."""
        return not any(pod.namespace == namespace for pod in self._unresolved.values())

    def waiting(self) -> int:
        """Returns the number of pods whose owner is not known yet."""
        return len(self._unresolved)

    def concern(self, namespace: str) -> None:
        """Has the pods of a namespace looked at that nothing was about until now."""
        for pod in self.store.by_index("namespace", namespace):
            if pod.uid not in self._workloads:
                self._changed(None, pod)

    async def run(self) -> None:
        """Reads the owners of new pods until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            failed = await self._resolve(list(self._unresolved.values()))
            if failed:
                await self._sleep(_RETRY)
                self._wake.set()

    async def _resolve(self, pods: list[ObservedPod]) -> bool:
        slots = asyncio.Semaphore(_READS_AT_ONCE)
        return not all(await asyncio.gather(*(self._resolve_one(pod, slots) for pod in pods)))

    async def _resolve_one(self, pod: ObservedPod, slots: asyncio.Semaphore) -> bool:
        """Reads one owner; returns False when that has to be tried again."""
        async with slots:
            try:
                found = await self._owners.top_owner(pod.owner, pod.namespace) if pod.owner is not None else None
            except errors.ClusterError as error:
                fields = {"pod": f"{pod.namespace}/{pod.name}", "problem": str(error)}
                self._logger.warning("owner cannot be read", extra={"fields": fields})
                return False
        newest = self._unresolved.get(pod.uid)
        if newest is not None and newest.owner == pod.owner:
            del self._unresolved[pod.uid]
            self._place(newest, found or WorkloadRef("", "Pod", pod.namespace, pod.name))
        return True

    def _changed(self, old: ObservedPod | None, new: ObservedPod | None) -> None:
        if old is not None and (new is None or new.uid != old.uid or new.owner != old.owner):
            self._remove(old)
        if new is None or (old is not None and old.same(new) and new.uid in self._workloads):
            return
        workload = self._workloads.get(new.uid)
        if workload is not None:
            self._place(new, workload)
        elif new.labelled or new.receipted or self._concerned(new.namespace):
            self._unresolved[new.uid] = new
            self._wake.set()

    def _place(self, pod: ObservedPod, workload: WorkloadRef) -> None:
        self._workloads[pod.uid] = workload
        self._of.setdefault(workload, {})[pod.uid] = pod
        self._tell(workload)

    def _remove(self, pod: ObservedPod) -> None:
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
