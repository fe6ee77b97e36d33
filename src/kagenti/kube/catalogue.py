"""The caches of our kinds as core reads them, the same in every process that has them; decides nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from kagenti.core.layers import KINDS as LAYER_KINDS
from kagenti.core.layers import LayerCache
from kagenti.core.settings.model import LayerName
from kagenti.core.store import Store
from kagenti.core.workload import WorkloadRef
from kagenti.kube.kinds import KINDS, Kind, StoredObject

# Name of both config kinds' only object (spec 01).
DEFAULT: Final = "default"
NAMES: Final = ("AgentRuntime", "AgentRuntimeConfig", "AgentRuntimeClusterConfig", "Namespace")


class Catalogue:
    """Four caches: the View of core.admission over stores that reflectors fill.

    ``kinds`` say how objects are kept: ``KINDS``, or ``OBSERVED`` where status is read too.
    """

    def __init__(self, kinds: Mapping[str, Kind[StoredObject]] = KINDS) -> None:
        self.kinds: Final = {name: kinds[name] for name in NAMES}
        self.stores: Final = {name: Store[StoredObject](kind.indexes) for name, kind in self.kinds.items()}
        self._runtimes = self.stores["AgentRuntime"]
        self._configs = self.stores["AgentRuntimeConfig"]
        self._cluster = self.stores["AgentRuntimeClusterConfig"]
        self._namespaces = self.stores["Namespace"]

    def synced(self) -> bool:
        """Whether every first full list has been read."""
        return self._runtimes.synced and self._configs.synced and self._cluster.synced and self._namespaces.synced

    def cluster_config(self) -> StoredObject | None:
        """Returns AgentRuntimeClusterConfig default."""
        return self._cluster.get("", DEFAULT)

    def namespace_config(self, namespace: str) -> StoredObject | None:
        """Returns AgentRuntimeConfig default of a namespace."""
        return self._configs.get(namespace, DEFAULT)

    def runtimes_for(self, target: WorkloadRef) -> Sequence[StoredObject]:
        """Returns every AgentRuntime that targets that top owner."""
        return self._runtimes.by_index("target", target)

    def runtimes(self, namespace: str | None) -> Iterable[StoredObject]:
        """Returns the AgentRuntimes of a namespace, or all of them."""
        return self._runtimes.values() if namespace is None else self._runtimes.by_index("namespace", namespace)

    def namespaces(self) -> Iterable[str]:
        """Returns the names of the namespaces that are known."""
        return [found.name for found in self._namespaces.values()]

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        """Returns the labels of a namespace that decisions read; None when it is not known."""
        found = self._namespaces.get("", namespace)
        return None if found is None else found.labels


def keep_last_valid(catalogue: Catalogue, layers: LayerCache) -> None:
    """Makes ``layers`` see every version that replaces another, so that the last valid one stays in force (spec 02).

    Without it only versions that a pod asked for would be known. Changes of status alone cost one comparison.
    """
    for layer, name in LAYER_KINDS.items():
        catalogue.stores[name].on_change(_reader(layer, layers))


def _reader(layer: LayerName, layers: LayerCache) -> Callable[[StoredObject | None, StoredObject | None], None]:
    def changed(old: StoredObject | None, new: StoredObject | None) -> None:
        if old is None or new is None or old.spec == new.spec:
            return
        layers.read(layer, old)
        layers.read(layer, new)

    return changed
