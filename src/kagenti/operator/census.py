"""How many pods and workloads there are of each sort, for metrics: what was last found of each workload, added up."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kagenti.core.reconcile import Judged
from kagenti.core.workload import WorkloadRef


@dataclass(frozen=True, slots=True)
class _Counted:
    """One workload: its pods by state, what triggers it, and whether an AgentRuntime targets it."""

    states: Mapping[str, int]
    trigger: str
    with_runtime: bool


class Census:
    """The workloads of one process."""

    def __init__(self) -> None:
        self._workloads: dict[WorkloadRef, _Counted] = {}

    def take(self, workload: WorkloadRef, judged: Iterable[Judged], *, with_runtime: bool) -> None:
        """Takes what was found of a workload's pods; one without pods is forgotten."""
        found = tuple(judged)
        if not found:
            self._workloads.pop(workload, None)
            return
        trigger = next((pod.trigger for pod in found if pod.trigger), "none")
        self._workloads[workload] = _Counted(Counter(pod.state for pod in found), trigger, with_runtime)

    def pods(self) -> Mapping[str, int]:
        """Returns the pods by state."""
        total: Counter[str] = Counter()
        for workload in self._workloads.values():
            total.update(workload.states)
        return total

    def workloads(self) -> Mapping[tuple[str, str], int]:
        """Returns the workloads by trigger, and by whether an AgentRuntime targets them (``true``, ``false``)."""
        return Counter((found.trigger, str(found.with_runtime).lower()) for found in self._workloads.values())
