"""Whom a config reaches: the workloads that have an AgentRuntime or injected pods, counted as they change."""

from collections.abc import Callable

from kagenti.core.reconcile import Usage
from kagenti.core.workload import WorkloadRef


class UsageCounts:
    """Workloads in use, by namespace; ``in_use`` decides for one of them."""

    def __init__(self, in_use: Callable[[WorkloadRef], bool]) -> None:
        self._in_use = in_use
        self._by_namespace: dict[str, set[WorkloadRef]] = {}
        self._total = 0

    def look(self, workload: WorkloadRef) -> bool:
        """Looks at a workload again; returns whether the counts are others than before."""
        known = self._by_namespace.get(workload.namespace, set())
        used = self._in_use(workload)
        if used == (workload in known):
            return False
        self._total += 1 if used else -1
        if used:
            self._by_namespace.setdefault(workload.namespace, known).add(workload)
            return True
        known.discard(workload)
        if not known:
            del self._by_namespace[workload.namespace]
        return True

    def of(self, namespace: str) -> Usage:
        """Returns the counts of a namespace, or of the cluster where it is empty."""
        if not namespace:
            return Usage(namespaces=len(self._by_namespace), workloads=self._total)
        workloads = len(self._by_namespace.get(namespace, ()))
        return Usage(namespaces=1 if workloads else 0, workloads=workloads)
