"""The snapshots that are kept, by what pods share and by what changes; decides nothing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from kagenti.core import delivery
from kagenti.core.ads import Snapshot
from kagenti.core.workload import WorkloadRef
from kagenti.xds.catalogue import Asked


@dataclass(frozen=True, slots=True)
class Key:
    """What pods share that share a snapshot; ``receipt`` is the digest of theirs (spec 05)."""

    workload: WorkloadRef
    service_account: str
    layout: int
    receipt: str


class Reader(Protocol):
    """One stream's view of an entry."""

    uid: str
    ready: bool
    changed: Callable[[], None]


@dataclass(slots=True, eq=False)
class Entry:
    """One snapshot with its readers; ``kept`` says why it is not the newest, empty when it is, ``reason`` its code.

    ``revision`` is the live revision that the newest one is made from; ``url`` is where its keys come from. ``made_from``
    and ``asked`` tell whether another one would be any different.
    """

    key: Key
    pod: delivery.Pod
    readers: set[Reader] = field(default_factory=set)
    snapshot: Snapshot | None = None
    kept: str = ""
    reason: str = ""
    revision: str = ""
    url: str = ""
    made_from: object = None
    asked: Asked = field(default_factory=lambda: Asked(()))

    @property
    def waiting(self) -> str:
        """Why its proxies do not have all of what is meant for them; empty when they may."""
        if self.kept or self.snapshot is None or not self.snapshot.withheld:
            return self.kept
        return f"no keys have come from {self.url} yet, and no token is accepted without them; /debug/keys says why"

    @property
    def state(self) -> tuple[Snapshot | None, str, str]:
        """What its proxies are judged by."""
        return self.snapshot, self.kept, self.revision

    def forget(self) -> None:
        """Drops a snapshot that nobody reads and that is no longer the newest: it is built when somebody comes."""
        self.snapshot = self.made_from = None


class Shelf:
    """The entries of one process, with an index by workload and one by namespace."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._of: dict[WorkloadRef, dict[Key, Entry]] = {}
        self._within: dict[str, dict[Key, Entry]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def all(self) -> tuple[Entry, ...]:
        """Returns every entry."""
        return tuple(self._entries.values())

    def get(self, key: Key) -> Entry | None:
        """Returns the entry of a key, or None."""
        return self._entries.get(key)

    def of(self, workloads: Iterable[WorkloadRef]) -> tuple[Entry, ...]:
        """Returns the entries of some workloads."""
        return tuple(entry for workload in workloads for entry in self._of.get(workload, {}).values())

    def within(self, namespace: str) -> tuple[Entry, ...]:
        """Returns the entries of a namespace."""
        return tuple(self._within.get(namespace, {}).values())

    def add(self, entry: Entry) -> Entry:
        """Takes an entry, and returns it."""
        self._entries[entry.key] = entry
        self._of.setdefault(entry.key.workload, {})[entry.key] = entry
        self._within.setdefault(entry.key.workload.namespace, {})[entry.key] = entry
        return entry

    def remove(self, entry: Entry) -> None:
        """Takes an entry out."""
        del self._entries[entry.key]
        workload = entry.key.workload
        del self._of[workload][entry.key]
        if not self._of[workload]:
            del self._of[workload]
        del self._within[workload.namespace][entry.key]
        if not self._within[workload.namespace]:
            del self._within[workload.namespace]
