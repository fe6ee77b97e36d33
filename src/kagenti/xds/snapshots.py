"""What each stream is given, rebuilt when something it is made from changes.

A change marks the snapshots that it concerns, found by index; the marks are worked off after a short pause, one by one,
with turns for the event loop in between (spec 05). Pods that were built alike share a snapshot (``shelf.Key``).
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from kagenti import errors
from kagenti.core import delivery
from kagenti.core.ads import Snapshot
from kagenti.core.workload import WorkloadRef
from kagenti.kube import StoredObject, StoredPod
from kagenti.xds.builder import Builder, Keys
from kagenti.xds.catalogue import Catalogue
from kagenti.xds.debounce import Debounce
from kagenti.xds.identity import PodIdentity
from kagenti.xds.pods import Pods
from kagenti.xds.session import Identity
from kagenti.xds.shelf import Entry, Key, Shelf

SLICE: Final = 0.005
"""Seconds of building between two turns of the event loop: streams and health must not wait for a whole fleet."""

_SYNC_POLL: Final = 0.02  # seconds


class Subscription:
    """One stream's view (``session.Subscription``); it shows nothing until its snapshot is known to be the newest.

    A stream may come from another replica that was faster: an older snapshot must not undo what that one sent.
    """

    __slots__ = ("_owner", "changed", "entry", "fault", "ready", "uid")

    def __init__(self, owner: "Snapshots", uid: str, changed: Callable[[], None]) -> None:
        self._owner, self.uid, self.changed = owner, uid, changed
        self.entry: Entry | None = None
        self.fault = ""
        self.ready = False

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest snapshot, or None while there is none to give."""
        return self.entry.snapshot if self.entry is not None and self.ready else None

    def close(self) -> None:
        """Ends it."""
        self._owner.unsubscribe(self)


class Snapshots:
    """The snapshots of one process; ``run`` builds them."""

    def __init__(self, *, catalogue: Catalogue, pods: Pods, keys: Keys, builder: Builder) -> None:
        self._catalogue, self._pods, self._builder = catalogue, pods, builder
        self._shelf = Shelf()
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._due: Debounce[Key] = Debounce()
        self._listeners: list[Callable[[WorkloadRef], None]] = []
        catalogue.on_spec(self._spec_changed)
        keys.on_change(self._keys_changed)
        pods.on_pod(self._pod_changed)
        pods.on_workload(self._pods_changed)

    def on_workload(self, listener: Callable[[WorkloadRef], None]) -> None:
        """Calls ``listener`` with each workload whose proxies should have something else than before."""
        self._listeners.append(listener)

    def subscribe(self, identity: Identity, changed: Callable[[], None]) -> Subscription:
        """Returns a stream's view; see ``session.Snapshots``."""
        if not isinstance(identity, PodIdentity):
            raise errors.Defect(f"a stream is {type(identity).__name__}, not a pod")
        subscription = Subscription(self, identity.pod.uid, changed)
        self._subscriptions.setdefault(subscription.uid, set()).add(subscription)
        self._attach(subscription, self._pods.by_uid(identity.pod.uid) or identity.pod, identity.workload)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Ends a view; ending it again is nothing."""
        found = self._subscriptions.get(subscription.uid, set())
        found.discard(subscription)
        if not found:
            self._subscriptions.pop(subscription.uid, None)
        self._detach(subscription)

    def desired(self, uid: str) -> tuple[str, str]:
        """Returns the revision of the snapshot that a pod should have, and why it is not the newest, or not whole."""
        for subscription in self._subscriptions.get(uid, ()):
            entry = subscription.entry
            if entry is None:
                return "", subscription.fault
            return entry.snapshot.revision if entry.snapshot is not None else "", entry.waiting
        return "", ""

    def revision(self, workload: WorkloadRef) -> str:
        """Returns the live revision, short, of a workload whose pods have streams here; empty for others."""
        return max((entry.revision for entry in self._shelf.of((workload,))), default="")

    def entries(self) -> tuple[Entry, ...]:
        """Returns all snapshots with what keeps them; to be read only."""
        return self._shelf.all()

    @property
    def busy(self) -> bool:
        """Whether snapshots wait to be built: a change is on its way to its first proxies."""
        return len(self._due) > 0

    def counts(self) -> Mapping[str, int]:
        """Returns the number of snapshots, of those that are not the newest, and of those that wait to be built."""
        kept = sum(1 for entry in self._shelf.all() if entry.kept)
        return {"snapshots": len(self._shelf), "kept": kept, "due": len(self._due)}

    async def run(self) -> None:
        """Builds what is due until cancelled; nothing from half a cache."""
        while not self._catalogue.synced():  # noqa: ASYNC110  # stores offer no event, and it happens once
            await asyncio.sleep(_SYNC_POLL)
        begun = time.perf_counter()
        while True:
            entry = self._shelf.get(await self._due.next())
            if entry is not None:
                self._build(entry)
            if time.perf_counter() - begun > SLICE:
                await asyncio.sleep(0)
                begun = time.perf_counter()

    def _build(self, entry: Entry) -> None:
        before = entry.state
        self._builder.build(entry)
        for reader in tuple(entry.readers):
            if entry.snapshot is not before[0] or not reader.ready:
                reader.ready = True
                reader.changed()
        if entry.state != before:
            self._tell(entry.key.workload)

    def _attach(self, subscription: Subscription, pod: StoredPod, workload: WorkloadRef) -> None:
        try:
            receipt = self._pods.receipt(pod)
        except errors.ManifestError as error:
            subscription.fault = str(error)
            self._tell(workload)
            return
        key = Key(workload, pod.service_account, receipt.layout, receipt.digest)
        entry = self._shelf.get(key)
        if entry is None:
            entry = self._shelf.add(Entry(key, delivery.Pod(workload, pod.service_account, receipt)))
        entry.readers.add(subscription)
        subscription.entry, subscription.fault = entry, ""
        subscription.ready = entry.snapshot is not None and key not in self._due
        if not subscription.ready:
            self._due.hurry(key)

    def _detach(self, subscription: Subscription) -> None:
        entry, subscription.entry, subscription.ready = subscription.entry, None, False
        if entry is not None:
            entry.readers.discard(subscription)
            self._give_up_unused(entry)

    def _give_up_unused(self, entry: Entry) -> None:
        """Gives up a snapshot without readers, unless pods of its kind are left that may come back to it."""
        if entry.readers or self._shelf.get(entry.key) is not entry:
            return
        if any(self._is_for(entry, pod) for pod in self._pods.of(entry.key.workload)):
            return
        self._shelf.remove(entry)
        self._builder.release(entry)

    def _is_for(self, entry: Entry, pod: StoredPod) -> bool:
        try:
            receipt = self._pods.receipt(pod)
        except errors.ManifestError:
            return False
        return (pod.service_account, receipt.digest) == (entry.key.service_account, entry.key.receipt)

    def _spec_changed(self, old: StoredObject | None, new: StoredObject | None) -> None:
        either = new or old
        if either is None:
            return
        match either.kind:
            case "AgentRuntime":
                targets = {found.target for found in (old, new) if found is not None and found.target is not None}
                self._mark(self._shelf.of(targets))
            case "AgentRuntimeConfig":
                self._mark(self._shelf.within(either.namespace))
            case "AgentRuntimeClusterConfig":
                self._mark(self._shelf.all())
            case "Namespace":
                known = self._catalogue.known_namespaces
                self._mark(self._shelf.within(either.name))
                self._mark(entry for entry in self._shelf.all() if not entry.asked.holds(known))

    def _keys_changed(self, url: str) -> None:
        """New pods wait for their first keys, and tokens of a rotated realm are refused until the next ones."""
        concerned = [entry for entry in self._shelf.all() if entry.url == url]
        self._mark(concerned)
        for entry in concerned:
            if entry.readers:
                self._due.hurry(entry.key)

    def _mark(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.readers:
                self._due.mark(entry.key)
            else:
                entry.forget()

    def _pod_changed(self, pod: StoredPod) -> None:
        """Moves the streams of a pod whose receipt or owner is another one than before."""
        for subscription in tuple(self._subscriptions.get(pod.uid, ())):
            entry = subscription.entry
            workload = self._pods.workload(pod.uid) or (entry.key.workload if entry is not None else None)
            if workload is None or (entry is not None and entry.key.workload == workload and self._is_for(entry, pod)):
                continue
            self._detach(subscription)
            self._attach(subscription, pod, workload)
            subscription.changed()

    def _pods_changed(self, workload: WorkloadRef) -> None:
        for pod in self._pods.of(workload):
            self._pod_changed(pod)
        for entry in self._shelf.of((workload,)):
            self._give_up_unused(entry)

    def _tell(self, workload: WorkloadRef) -> None:
        for listener in self._listeners:
            listener(workload)
