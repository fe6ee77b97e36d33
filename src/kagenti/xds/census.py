"""Which proxies have a stream here, how far each is, and which were lost; an Observer of the ADS server.

Counts pods, not streams: a pod that opened another stream before its old one ended is one proxy.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kagenti.core import propagation
from kagenti.core.ads import StreamState
from kagenti.core.propagation import Counts
from kagenti.core.workload import WorkloadRef
from kagenti.xds.identity import PodIdentity
from kagenti.xds.pods import Pods
from kagenti.xds.session import Connection
from kagenti.xds.snapshots import Snapshots


@dataclass(slots=True)
class Proxy:
    """One connected pod: its newest connection, and the state that was last reported of it."""

    connection: Connection
    workload: WorkloadRef
    state: StreamState | None = None


class Census:
    """The proxies of one replica, by workload."""

    def __init__(self, snapshots: Snapshots, pods: Pods) -> None:
        self._snapshots, self._pods = snapshots, pods
        self._proxies: dict[str, Proxy] = {}
        self._of: dict[WorkloadRef, set[str]] = {}
        self._lost: dict[WorkloadRef, set[str]] = {}
        self._listeners: list[Callable[[WorkloadRef], None]] = []
        pods.on_workload(self._pods_changed)

    def on_workload(self, listener: Callable[[WorkloadRef], None]) -> None:
        """Calls ``listener`` with each workload whose counts may be others than before."""
        self._listeners.append(listener)

    def workloads(self, namespace: str = "") -> tuple[WorkloadRef, ...]:
        """Returns the workloads that are counted here, of a namespace or of all."""
        return tuple(
            found for found in self._of.keys() | self._lost.keys() if not namespace or found.namespace == namespace
        )

    def counts(self, workload: WorkloadRef) -> Counts:
        """Returns the counts of a workload; ``disconnected`` are all that were lost here and still run.

        Who is on its way out counts for nothing, and who is still starting not as acknowledged: neither is among the pods
        that run, and must not stand in for one of those that has no stream.
        """
        standings = []
        for uid in self._of.get(workload, ()):
            pod = self._pods.by_uid(uid)
            if pod is None or pod.finished or pod.deleting:
                continue
            desired, kept = self._snapshots.desired(uid)
            found = propagation.standing(self._proxies[uid].state, desired=desired, kept=kept)
            if found.verdict != "acked" or self._pods.runs_proxy(pod):
                standings.append(found)
        return propagation.tally(standings, disconnected=len(self._still_running(workload)))

    def verdicts(self) -> Mapping[str, int]:
        """Returns the number of connected proxies by what their streams last reported."""
        found = Counter({"pending": 0, "propagated": 0, "rejected": 0})
        found.update(proxy.state.verdict if proxy.state is not None else "pending" for proxy in self._proxies.values())
        return found

    def proxies(self) -> tuple[Proxy, ...]:
        """Returns every connected pod; to be read only."""
        return tuple(self._proxies.values())

    def opened(self, connection: Connection) -> None:
        """A pod has a stream, or another one."""
        identity = connection.identity
        if not isinstance(identity, PodIdentity):
            return
        uid, workload = identity.pod.uid, self._pods.workload(identity.pod.uid) or identity.workload
        known = self._proxies.get(uid)
        if known is not None:
            self._take_out(self._of, known.workload, uid)
        self._proxies[uid] = Proxy(connection, workload)
        self._of.setdefault(workload, set()).add(uid)
        self._take_out(self._lost, workload, uid)
        self._tell(workload)

    def reported(self, connection: Connection, state: StreamState) -> None:
        """A stream is further than before."""
        proxy = self._current(connection)
        if proxy is not None:
            proxy.state = state
            self._tell(proxy.workload)

    def closed(self, connection: Connection, reason: str) -> None:  # noqa: ARG002  # the protocol's; logged elsewhere
        """A stream is over; the pod is lost unless it has a newer one."""
        proxy = self._current(connection)
        if proxy is None or not isinstance(connection.identity, PodIdentity):
            return
        uid = connection.identity.pod.uid
        del self._proxies[uid]
        self._take_out(self._of, proxy.workload, uid)
        self._lost.setdefault(proxy.workload, set()).add(uid)
        self._tell(proxy.workload)

    def refused(self, peer: str, reason: str) -> None:
        """Nobody to count."""

    def _current(self, connection: Connection) -> Proxy | None:
        """Returns the pod of a connection if that is its newest one."""
        identity = connection.identity
        proxy = self._proxies.get(identity.pod.uid) if isinstance(identity, PodIdentity) else None
        return proxy if proxy is not None and proxy.connection.number == connection.number else None

    def _still_running(self, workload: WorkloadRef) -> set[str]:
        """Returns the lost pods that still run; the others are forgotten."""
        lost = self._lost.get(workload, set())
        for uid in tuple(lost):
            pod = self._pods.by_uid(uid)
            if pod is None or pod.finished or pod.deleting:
                self._take_out(self._lost, workload, uid)
        return self._lost.get(workload, set())

    def _pods_changed(self, workload: WorkloadRef) -> None:
        for pod in self._pods.of(workload):
            proxy = self._proxies.get(pod.uid)
            if proxy is not None and proxy.workload != workload:  # adopted by another controller
                self._take_out(self._of, proxy.workload, pod.uid)
                self._of.setdefault(workload, set()).add(pod.uid)
                proxy.workload = workload
        self._tell(workload)

    @staticmethod
    def _take_out(index: dict[WorkloadRef, set[str]], workload: WorkloadRef, uid: str) -> None:
        found = index.get(workload)
        if found is None:
            return
        found.discard(uid)
        if not found:
            del index[workload]

    def _tell(self, workload: WorkloadRef) -> None:
        for listener in self._listeners:
            listener(workload)
