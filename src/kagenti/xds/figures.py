"""What one replica can say about one object of ours: counts, the proxies that ought to run, and of which revision."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from kagenti.core import layers as gathering
from kagenti.core import settings
from kagenti.core.layers import LayerCache
from kagenti.core.propagation import Counts
from kagenti.core.workload import WorkloadRef
from kagenti.kube import StoredObject
from kagenti.xds.catalogue import Catalogue
from kagenti.xds.census import Census
from kagenti.xds.pods import Pods
from kagenti.xds.snapshots import Snapshots

RUNTIME: Final = "AgentRuntime"
NAMESPACE: Final = "AgentRuntimeConfig"
CLUSTER: Final = "AgentRuntimeClusterConfig"

_LAYERS: Final[dict[str, Literal["cluster", "namespace"]]] = {CLUSTER: "cluster", NAMESPACE: "namespace"}


@dataclass(frozen=True, slots=True)
class Target:
    """An object whose status is written: kind, namespace (empty for the cluster's config), name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @classmethod
    def of(cls, stored: StoredObject) -> "Target":
        """Returns the object."""
        return cls(stored.kind, stored.namespace, stored.name)


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts of this replica, proxies that run anywhere, and the revision that both are about."""

    counts: Counts
    proxies: int
    revision: str


class Reporter:
    """Adds up figures by object; remembers those of a workload until it changes."""

    def __init__(
        self, *, catalogue: Catalogue, pods: Pods, census: Census, snapshots: Snapshots, layers: LayerCache
    ) -> None:
        self._catalogue, self._pods, self._census = catalogue, pods, census
        self._snapshots, self._layers = snapshots, layers
        self._known: dict[WorkloadRef, tuple[Counts, int]] = {}
        self._told: set[WorkloadRef] = set()
        self._listeners: list[Callable[[Target], None]] = []
        census.on_workload(self._changed)
        snapshots.on_workload(self._changed)
        catalogue.on_spec(self._spec_changed)

    def on_target(self, listener: Callable[[Target], None]) -> None:
        """Calls ``listener`` with each object whose figures may be others than before."""
        self._listeners.append(listener)

    def figures(self, stored: StoredObject) -> Figures:
        """Returns the figures of an object as it is now."""
        if stored.kind == RUNTIME:
            return self._of_runtime(stored)
        counts, proxies = Counts(), 0
        for workload in self._workloads(stored.namespace):
            found, running = self._of_workload(workload)
            counts += replace(found, refusal=f"{workload}: {found.refusal}") if found.refusal else found
            proxies += running
        return Figures(counts, proxies, self._revision(stored.kind, stored.namespace))

    def _of_runtime(self, stored: StoredObject) -> Figures:
        target = stored.target
        winner = gathering.pick_runtime(self._catalogue.runtimes_for(target)) if target is not None else None
        if target is None or winner is None or winner.name != stored.name:
            return Figures(Counts(), 0, "")  # it lost to an older one, whose figures those are
        counts, proxies = self._of_workload(target)
        return Figures(counts, proxies, self._snapshots.revision(target))

    def _of_workload(self, workload: WorkloadRef) -> tuple[Counts, int]:
        known = self._known.get(workload)
        if known is None:
            known = self._known[workload] = self._census.counts(workload), self._pods.proxies(workload)
            self._told.discard(workload)
        return known

    def _workloads(self, namespace: str) -> Iterable[WorkloadRef]:
        """Returns the workloads with pods or proxies, of a namespace or, for the cluster's config, of all."""
        found = {*self._pods.workloads(), *self._census.workloads()}
        return [workload for workload in found if not namespace or workload.namespace == namespace]

    def _revision(self, kind: str, namespace: str) -> str:
        """Returns the content hash, short, of what a config sets, in its version in force."""
        config = self._catalogue.namespace_config(namespace) if namespace else self._catalogue.cluster_config()
        layer = self._layers.read(_LAYERS[kind], config).layer if config is not None else None
        return settings.short(settings.digest(dict(layer.values))) if layer is not None else ""

    def _spec_changed(self, old: StoredObject | None, new: StoredObject | None) -> None:
        """Another AgentRuntime may be the one that counts now, though nothing is different for the proxies."""
        for found in (old, new):
            if found is not None and found.target is not None:
                self._told.discard(found.target)
                self._changed(found.target)

    def _changed(self, workload: WorkloadRef) -> None:
        """Tells of the objects once until somebody asks: a push reports twice for each of a workload's proxies."""
        self._known.pop(workload, None)
        if workload in self._told:
            return
        self._told.add(workload)
        concerned = [
            *self._catalogue.runtimes_for(workload),
            self._catalogue.namespace_config(workload.namespace),
            self._catalogue.cluster_config(),
        ]
        for stored in concerned:
            if stored is not None:
                for listener in self._listeners:
                    listener(Target.of(stored))
