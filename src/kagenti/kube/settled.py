"""Our kinds as of their last change of spec: a change of status alone, and we write many, decides nothing."""

from collections.abc import Callable, Sequence
from typing import Final

from kagenti.core.workload import WorkloadRef
from kagenti.kube.catalogue import DEFAULT, Catalogue
from kagenti.kube.kinds import OBSERVED, StoredObject

OnSpec = Callable[[StoredObject | None, StoredObject | None], None]


class SettledCatalogue(Catalogue):
    """The caches, whose getters return objects with the resourceVersion of their last change of spec or labels.

    So a layer is parsed once per spec, however often its status is written. ``stores`` have the newest versions.
    """

    def __init__(self) -> None:
        super().__init__(OBSERVED)
        self.known_namespaces: Final[set[str]] = set()
        self._settled: dict[tuple[str, str, str], StoredObject] = {}
        self._listeners: list[OnSpec] = []
        for store in self.stores.values():
            store.on_change(self._changed)

    def on_spec(self, listener: OnSpec) -> None:
        """Calls ``listener(old, new)`` after each change of an object's spec or labels; None stands for absence."""
        self._listeners.append(listener)

    def cluster_config(self) -> StoredObject | None:
        """Returns AgentRuntimeClusterConfig default."""
        return self._settled.get(("AgentRuntimeClusterConfig", "", DEFAULT))

    def namespace_config(self, namespace: str) -> StoredObject | None:
        """Returns AgentRuntimeConfig default of a namespace."""
        return self._settled.get(("AgentRuntimeConfig", namespace, DEFAULT))

    def runtimes_for(self, target: WorkloadRef) -> Sequence[StoredObject]:
        """Returns every AgentRuntime that targets that top owner."""
        return tuple(self._settled[_key(found)] for found in super().runtimes_for(target))

    def _changed(self, old: StoredObject | None, new: StoredObject | None) -> None:
        either = new or old
        if either is None:
            return
        known = self._settled.get(_key(either))
        if known is not None and new is not None and _same(known, new):
            return
        self._settle(either, gone=new is None)
        for listener in self._listeners:
            listener(known, new)

    def _settle(self, stored: StoredObject, *, gone: bool) -> None:
        if gone:
            self._settled.pop(_key(stored), None)
        else:
            self._settled[_key(stored)] = stored
        if stored.kind == "Namespace":
            (self.known_namespaces.discard if gone else self.known_namespaces.add)(stored.name)


def _key(stored: StoredObject) -> tuple[str, str, str]:
    return stored.kind, stored.namespace, stored.name


def _same(one: StoredObject, other: StoredObject) -> bool:
    return one.uid == other.uid and one.spec == other.spec and one.labels == other.labels
