"""What a change makes worth another look: by index only, never by looking at everything that did not change."""

from collections.abc import Iterable

from kagenti.core.workload import WorkloadRef
from kagenti.kube import SettledCatalogue, StoredObject
from kagenti.operator.keys import CLUSTER, NAMESPACE, RUNTIME, ObjectKey, key_of
from kagenti.operator.population import Population
from kagenti.operator.queue import Queue
from kagenti.operator.targets import GroupKind, Targets
from kagenti.operator.usage import UsageCounts

Key = ObjectKey | WorkloadRef
"""An object whose status is written, or a workload that no AgentRuntime targets, which is only counted."""


class Routes:
    """Listens to every cache and marks what a change concerns."""

    def __init__(
        self, queue: Queue[Key], catalogue: SettledCatalogue, population: Population, targets: Targets
    ) -> None:
        self._queue, self._catalogue, self._population, self._targets = queue, catalogue, population, targets
        self.usage = UsageCounts(self._in_use)
        self._kinds: dict[GroupKind, int] = {}
        self._echoes: dict[ObjectKey, str] = {}
        catalogue.on_spec(self._object_changed)
        for name in (RUNTIME, NAMESPACE, CLUSTER):
            catalogue.stores[name].on_change(self._status_changed)
        population.on_workload(self._workload_changed)
        targets.on_target(self._target_changed)
        targets.on_kind(self._kind_changed)

    def concerned(self, namespace: str) -> bool:
        """Whether an AgentRuntime could be about the pods of a namespace."""
        return bool(self._catalogue.stores[RUNTIME].by_index("namespace", namespace))

    def everything(self) -> Iterable[StoredObject]:
        """Returns every object whose status the operator writes."""
        for name in (RUNTIME, NAMESPACE, CLUSTER):
            yield from self._catalogue.stores[name].values()

    def wrote(self, key: ObjectKey, version: str) -> None:
        """Notes that we gave an object that resourceVersion: the event about it is no news."""
        self._echoes[key] = version

    def mark(self, stored: StoredObject | None) -> None:
        """Has an object looked at soon; None is nothing."""
        if stored is not None:
            self._queue.mark(key_of(stored))

    def _object_changed(self, old: StoredObject | None, new: StoredObject | None) -> None:
        either = new or old
        if either is None:
            return
        if either.kind == RUNTIME:
            self._runtime_changed(old, new)
        elif either.kind == "Namespace":
            self._below(either.name)
            self.mark(self._catalogue.namespace_config(either.name))
            self.mark(self._catalogue.cluster_config())
        elif either.kind == NAMESPACE:
            self._below(either.namespace)
        else:
            self._below(None)
            for config in self._catalogue.stores[NAMESPACE].values():
                self.mark(config)
        if new is not None and new.kind != "Namespace":
            self.mark(new)
        elif new is None and either.kind != "Namespace":
            self._queue.forget(key_of(either))
            self._echoes.pop(key_of(either), None)

    def _runtime_changed(self, old: StoredObject | None, new: StoredObject | None) -> None:
        targets = {found.target for found in (old, new) if found is not None and found.target is not None}
        for target in targets:
            self._about(target)
        if old is not None and old.target is not None:
            self._count(old.target, -1)
        if new is not None and new.target is not None:
            self._count(new.target, +1)
        if (
            old is None
            and new is not None
            and len(self._catalogue.stores[RUNTIME].by_index("namespace", new.namespace)) == 1
        ):
            self._population.concern(new.namespace)
        self._targets.want(self._kinds)

    def _count(self, target: WorkloadRef, by: int) -> None:
        kind = (target.group, target.kind)
        number = self._kinds.get(kind, 0) + by
        if number > 0:
            self._kinds[kind] = number
        else:
            self._kinds.pop(kind, None)

    def _status_changed(self, old: StoredObject | None, new: StoredObject | None) -> None:
        if old is None or new is None or old.status == new.status:
            return
        key = key_of(new)
        if self._echoes.get(key) == new.resource_version:
            del self._echoes[key]
        else:
            self.mark(new)

    def _below(self, namespace: str | None) -> None:
        for runtime in self._catalogue.runtimes(namespace):
            self.mark(runtime)

    def _workload_changed(self, workload: WorkloadRef) -> None:
        self._about(workload)

    def _about(self, workload: WorkloadRef) -> None:
        """Marks what is about a workload: its AgentRuntimes, or itself without one, and the configs' counts."""
        runtimes = self._catalogue.runtimes_for(workload)
        for runtime in runtimes:
            self.mark(runtime)
        if not runtimes:
            self._queue.mark(workload)
        if self.usage.look(workload):
            self.mark(self._catalogue.namespace_config(workload.namespace))
            self.mark(self._catalogue.cluster_config())

    def _target_changed(self, target: WorkloadRef) -> None:
        for runtime in self._catalogue.runtimes_for(target):
            self.mark(runtime)

    def _kind_changed(self, kind: GroupKind) -> None:
        for runtime in self._catalogue.stores[RUNTIME].values():
            if runtime.target is not None and (runtime.target.group, runtime.target.kind) == kind:
                self.mark(runtime)

    def _in_use(self, workload: WorkloadRef) -> bool:
        if self._catalogue.runtimes_for(workload):
            return True
        return any(pod.receipted and pod.live for pod in self._population.of(workload))
