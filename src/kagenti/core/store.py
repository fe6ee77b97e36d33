"""Watch events → a readable, indexed cache.

One writer applies events on one event loop; readers never see half a list: a relist fills a side buffer that is swapped
in at ``InitDone``. What a reader gets may be stale; whoever must not act on the past asks the API server (spec 03).
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Named(Protocol):
    """What the store needs to know of an object."""

    @property
    def namespace(self) -> str:
        """Namespace; empty for cluster-scoped objects."""

    @property
    def name(self) -> str:
        """Name."""


T = TypeVar("T", bound=Named)
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Init:
    """A full list begins; what is stored stays readable until InitDone."""


@dataclass(frozen=True, slots=True)
class InitApply(Generic[T]):
    """One object of the full list."""

    object: T


@dataclass(frozen=True, slots=True)
class InitDone:
    """The full list is complete: objects that it did not name are gone."""


@dataclass(frozen=True, slots=True)
class Apply(Generic[T]):
    """An object was added or changed."""

    object: T


@dataclass(frozen=True, slots=True)
class Delete(Generic[T]):
    """An object was deleted."""

    object: T


WatchEvent = Init | InitApply[T] | InitDone | Apply[T] | Delete[T]
Index = Callable[[T], Iterable[Hashable]]
OnChange = Callable[[T | None, T | None], None]


class Store(Generic[T]):
    """An indexed cache of one kind; ``indexes`` give the keys an object is found under."""

    def __init__(self, indexes: Mapping[str, Index[T]] | None = None) -> None:
        self._indexes = dict(indexes or {})
        self._objects: dict[Key, T] = {}
        self._by: dict[str, dict[Hashable, dict[Key, T]]] = {name: {} for name in self._indexes}
        self._buffer: dict[Key, T] | None = None
        self._listeners: list[OnChange[T]] = []
        self.synced = False

    def apply(self, event: WatchEvent[T]) -> None:
        """Takes one watch event."""
        match event:
            case Init():
                self._buffer = {}
            case InitApply(found):
                if self._buffer is None:
                    self._buffer = {}
                self._buffer[found.namespace, found.name] = found
            case InitDone():
                self._swap(self._buffer or {})
                self._buffer = None
                self.synced = True
            case Apply(found):
                self._set((found.namespace, found.name), found)
            case Delete(found):
                if self._buffer is not None:
                    self._buffer.pop((found.namespace, found.name), None)
                self._remove((found.namespace, found.name))

    def get(self, namespace: str, name: str) -> T | None:
        """Returns an object, or None."""
        return self._objects.get((namespace, name))

    def by_index(self, index: str, key: Hashable) -> tuple[T, ...]:
        """Returns the objects that an index has under a key."""
        found = self._by[index].get(key)
        return tuple(found.values()) if found else ()

    def values(self) -> tuple[T, ...]:
        """Returns all objects."""
        return tuple(self._objects.values())

    def __len__(self) -> int:
        return len(self._objects)

    def on_change(self, listener: OnChange[T]) -> None:
        """Calls ``listener(old, new)`` after every change; None stands for absence."""
        self._listeners.append(listener)

    def _swap(self, listed: dict[Key, T]) -> None:
        for key in self._objects.keys() - listed.keys():
            self._remove(key)
        for key, found in listed.items():
            self._set(key, found)

    def _set(self, key: Key, new: T) -> None:
        old = self._objects.get(key)
        if old is not None:
            self._unindex(key, old)
        self._objects[key] = new
        for name, keys in self._indexes.items():
            for entry in keys(new):
                self._by[name].setdefault(entry, {})[key] = new
        self._tell(old, new)

    def _remove(self, key: Key) -> None:
        old = self._objects.pop(key, None)
        if old is None:
            return
        self._unindex(key, old)
        self._tell(old, None)

    def _unindex(self, key: Key, old: T) -> None:
        for name, keys in self._indexes.items():
            for entry in keys(old):
                entries = self._by[name].get(entry)
                if entries is None:
                    continue
                entries.pop(key, None)
                if not entries:
                    del self._by[name][entry]

    def _tell(self, old: T | None, new: T | None) -> None:
        for listener in self._listeners:
            listener(old, new)
