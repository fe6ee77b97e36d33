"""Which pods belong to which workload, where it matters; the rest of a large cluster costs no read.

It matters for pods that carry our label or receipt, and in namespaces in which something of ours could be about them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from kagenti.core.store import Store
from kagenti.core.workload import WorkloadRef
from kagenti.kube import Owners, Ownership
from kagenti.operator.pods import OBSERVED_PODS, ObservedPod


class Population(Ownership[ObservedPod]):
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
        super().__init__(
            Store[ObservedPod](OBSERVED_PODS.indexes),
            owners,
            logger=logger,
            wanted=lambda pod: pod.labelled or pod.receipted or concerned(pod.namespace),
            same=ObservedPod.same,
            sleep=sleep,
        )

    def of(self, workload: WorkloadRef) -> tuple[ObservedPod, ...]:
        """Returns the pods of a workload, by name."""
        return tuple(sorted(super().of(workload), key=lambda pod: pod.name))

    def settled(self, namespace: str) -> bool:
        """Whether the owners of a namespace's pods have all been read."""
        return not any(pod.namespace == namespace for pod in self.unresolved())

    def concern(self, namespace: str) -> None:
        """Has the pods of a namespace looked at that nothing was about until now."""
        for pod in self.store.by_index("namespace", namespace):
            if self.workload(pod.uid) is None:
                self.look_up(pod)
