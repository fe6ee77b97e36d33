"""The caches of one webhook process as core reads them, and what keeps each of them fresh; decides nothing."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from kagenti.core.layers import KINDS as LAYER_KINDS
from kagenti.core.layers import LayerCache
from kagenti.core.settings.model import LayerName
from kagenti.core.store import Store
from kagenti.core.workload import WorkloadRef
from kagenti.kube import KINDS, Kind, StoredObject
from kagenti.webhook.metrics import FeedState
from kagenti_api.v1alpha1 import wellknown

# Name of both config kinds' only object (spec 01).
DEFAULT: Final = "default"
NAMES: Final = ("AgentRuntime", "AgentRuntimeConfig", "AgentRuntimeClusterConfig", "Namespace")


class Reflecting(Protocol):
    """What a feed uses of a reflector."""

    relists: int
    last_event: float
    problem: str

    async def run(self) -> None:
        """Feeds the store until cancelled."""


Reflect = Callable[[Kind, Store[StoredObject]], Reflecting]
"""Makes the reflector of one kind; a test gives one that is late."""


class Catalogue:
    """Four caches: the View of core.admission over stores that reflectors fill."""

    def __init__(self) -> None:
        self.stores: Final = {name: Store[StoredObject](KINDS[name].indexes) for name in NAMES}
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
        found = self._runtimes.values()
        return found if namespace is None else [stored for stored in found if stored.namespace == namespace]

    def namespaces(self) -> Iterable[str]:
        """Returns the names of the namespaces that are known."""
        return [found.name for found in self._namespaces.values()]

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        """Returns the labels of a namespace that decisions read; None when it is not known."""
        found = self._namespaces.get("", namespace)
        return None if found is None else found.labels


@dataclass(slots=True)
class Feed:
    """One cache and its reflector, as readiness and metrics see them."""

    kind: Kind
    store: Store[StoredObject]
    reflector: Reflecting

    @property
    def resource(self) -> str:
        """Plural resource."""
        return self.kind.plural

    def missing(self) -> str:
        """Returns why the cache has had no full list yet, as one sentence; empty once it has."""
        if self.store.synced:
            return ""
        problem = self.reflector.problem
        if self.kind.path.startswith(f"/apis/{wellknown.GROUP}/") and _NO_SUCH_RESOURCE in problem:
            return f"CRD {self.kind.plural}.{wellknown.GROUP} is missing: run kagenti crds --apply"
        return f"cache of {self.kind.plural} is not filled: {problem or 'the first list has not come in yet'}"

    def state(self) -> FeedState:
        """Returns its figures."""
        age = time.monotonic() - self.reflector.last_event if self.store.synced else None
        return FeedState(objects=len(self.store), age=age, relists=max(self.reflector.relists - 1, 0))

    async def run(self) -> None:
        """Feeds the cache until cancelled."""
        await self.reflector.run()


# How kube.client reports the status of an answer; an unknown resource is 404.
_NO_SUCH_RESOURCE: Final = "answered 404"


def feeds_of(catalogue: Catalogue, reflect: Reflect) -> list[Feed]:
    """Returns one feed per cache."""
    return [Feed(KINDS[name], store, reflect(KINDS[name], store)) for name, store in catalogue.stores.items()]


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
