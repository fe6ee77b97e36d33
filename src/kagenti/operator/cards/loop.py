"""Keeps every AgentCard fetched: one heap, one task for each round that runs, and never a timer for an object."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import random
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

import orjson

from kagenti import errors
from kagenti.core import cards
from kagenti.core.cards import AgentPod, Key, Membership, Schedule
from kagenti.core.reconcile import Event
from kagenti.core.selfchecks import seconds
from kagenti.core.store import Store
from kagenti.kube import StoredObject
from kagenti.operator.cards.rounds import Memory, Result, Rounds
from kagenti_api.v1alpha1.agentcard import SYNC_PERIOD

JSON = Any  # specs and statuses

SETTLE: Final = 0.5
"""Seconds after a change of its pods before a card is looked at: changes come in flocks."""
QUIET: Final = 1.0
"""Seconds between two rounds of one card that changes ask for."""
QUIET_AFTER_FETCH: Final = 5.0
"""The same where a pod was asked, as long as the shortest period: pods that change all the time are no way to more."""
PER_NAMESPACE: Final = 16
"""Rounds at once of one namespace: agents that answer nothing hold up their own namespace only."""

_AGAIN: Final = 5.0  # seconds after the API server could not be read or written
_UNSYNCED: Final = 0.05  # seconds between two looks whether the caches are filled


class Writer(Protocol):
    """Writes statuses."""

    async def write(self, card: StoredObject, status: JSON) -> str:
        """Makes that status the whole of what the operator says of an object; returns its version, raises ClusterError."""

    def tell(self, card: StoredObject, events: Sequence[Event]) -> None:
        """Has events about an object posted."""


@dataclass(slots=True)
class _Known:
    """One AgentCard: what rounds remember, and when there may be another.

    ``written`` is the status that we wrote over the object of that version: what counts until its echo comes in.
    """

    memory: Memory
    failures: int = 0
    changes: int = 0
    free_at: float = 0.0
    reason: str = ""
    running: bool = False
    again: bool = False
    written: tuple[str, JSON] | None = field(default=None)


class CardLoop:
    """The cards of one process; ``store`` is fed by a watch. ``now`` (monotonic) and ``jitter`` are for tests.

    Args:
        store: The AgentCards, with their status.
        rounds: Does a round.
        writer: Writes a status.
        ready: Whether the caches of cards and pods have had their first full lists.
        logger: The log.
    """

    def __init__(
        self,
        store: Store[StoredObject],
        rounds: Rounds,
        writer: Writer,
        *,
        ready: Callable[[], bool],
        logger: logging.Logger,
        now: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random,
    ) -> None:
        self._store, self._rounds, self._writer, self._ready = store, rounds, writer, ready
        self._logger, self._now, self._jitter = logger, now, jitter
        self._membership = Membership()
        self._schedule: Schedule[Key] = Schedule()
        self._known: dict[Key, _Known] = {}
        self._slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._late = 0.0
        self.outcomes: Counter[str] = Counter()
        self.writes: Counter[str] = Counter()
        store.on_change(self._card_changed)

    def change_pod(self, old: AgentPod | None, new: AgentPod | None) -> None:
        """Takes a pod as it was and as it is; None for not there, ended or being deleted."""
        for key in self._membership.change_pod(old, new):
            self._hasten(key, SETTLE)

    async def run(self) -> None:
        """Fetches until cancelled; a process that begins to lead spreads the cards that have a status over a period."""
        while not self._ready():  # noqa: ASYNC110  # caches offer no event, and it is rare
            await asyncio.sleep(_UNSYNCED)
        self._schedule = Schedule()
        for stored in self._store.values():
            self._begin(stored)
        try:
            while True:
                self._start_due()
                await self._pause()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def states(self) -> Mapping[str, int]:
        """Returns the number of cards by the reason of their last round."""
        return Counter(known.reason or "Pending" for known in self._known.values())

    def figures(self) -> Mapping[str, float]:
        """Returns the rounds that run, and by how many seconds the last one began late."""
        return {"running": len(self._tasks), "late": self._late}

    def _card_changed(self, old: StoredObject | None, new: StoredObject | None) -> None:
        key = _key(new or old)
        if new is None:
            self._membership.remove_card(key)
            self._schedule.remove(key)
            self._known.pop(key, None)
        elif old is None or old.uid != new.uid or old.spec != new.spec:
            self._membership.set_card(key, orjson.loads(new.spec).get("selector") or {})
            if old is None or old.uid != new.uid:
                self._known[key] = _Known(Memory(new.uid))
            self._known[key].free_at = 0.0
            self._hasten(key, 0.0)

    def _begin(self, stored: StoredObject) -> None:
        """Has a card fetched: at once where its spec has not been looked at, else at its first slot."""
        observed = _decoded(stored.status)
        now, looked_at = self._now(), observed.get("observedGeneration") == stored.generation
        due = cards.first_slot(now, uid=stored.uid, period=_period(stored)) if looked_at else now
        self._schedule.put(_key(stored), due)

    def _hasten(self, key: Key, pause: float) -> None:
        known = self._known.get(key)
        if known is None:
            return
        if known.running:
            known.again = True
            return
        self._schedule.hasten(key, max(self._now() + pause, known.free_at))
        self._wake.set()

    async def _pause(self) -> None:
        """Waits until a card is due, or may have become so."""
        due = self._schedule.next_due()
        self._wake.clear()
        try:
            async with asyncio.timeout(None if due is None else max(due - self._now(), 0)):
                await self._wake.wait()
        except TimeoutError:
            return

    def _start_due(self) -> None:
        now = self._now()
        due = self._schedule.next_due()
        if due is not None and due <= now:
            self._late = now - due
        for key in self._schedule.take(now):
            known = self._known.get(key)
            if known is None or known.running:
                continue
            known.running = True
            task = asyncio.create_task(self._round(key, known), name=f"card {key[0]}/{key[1]}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _round(self, key: Key, known: _Known) -> None:
        """Does one round within the namespace's share, and has the next one come."""
        slot = self._slots.setdefault(key[0], asyncio.Semaphore(PER_NAMESPACE))
        try:
            async with slot:
                pause = await self._once(key, known)
        finally:
            known.running = False
        stored = self._store.get(*key)
        if stored is None or self._known.get(key) is not known:
            return
        self._plan(key, stored, known, pause)

    def _plan(self, key: Key, stored: StoredObject, known: _Known, pause: float | None) -> None:
        now, period = self._now(), _period(stored)
        if pause is not None:
            due = now + pause
        elif known.failures:
            due = cards.retry(now, failures=known.failures, period=period, jitter=self._jitter())
        else:
            due = max(cards.next_slot(now, uid=stored.uid, period=period, jitter=self._jitter()), known.free_at)
        self._schedule.put(key, due)
        if known.again:
            known.again = False
            self._hasten(key, SETTLE)
        self._wake.set()

    async def _once(self, key: Key, known: _Known) -> float | None:
        """Does one round; returns the seconds until it is to be done again, None for the usual."""
        stored = self._store.get(*key)
        if stored is None or stored.deleting:
            return None
        try:
            observed = self._observed(stored, known)
            result = await self._rounds.go(stored, known.memory, self._membership.pods(key), observed)
            self._count(known, result, period=_period(stored))
            if result.plan.status is not None:
                await self._writer.write(stored, result.plan.status)
                known.written = (stored.resource_version, result.plan.status)
                self.writes["applied"] += 1
                self._writer.tell(stored, result.plan.events)
        except errors.NotFound:
            self.writes["gone"] += 1
        except errors.ClusterError as error:
            self.writes["failed"] += 1
            fields = {"card": f"{key[0]}/{key[1]}", "problem": str(error)}
            self._logger.warning("status of an AgentCard cannot be made or written", extra={"fields": fields})
            return _AGAIN
        except Exception:  # one card must not end the process: it is ours to mend, and said
            self.outcomes["Defect"] += 1
            self._logger.exception("defect in an AgentCard's round", extra={"fields": {"card": f"{key[0]}/{key[1]}"}})
        return None

    def _count(self, known: _Known, result: Result, *, period: float) -> None:
        known.reason = result.synced.reason
        known.failures = known.failures + 1 if result.failed else 0
        known.changes = known.changes + 1 if result.changed else 0
        quiet = QUIET_AFTER_FETCH if result.asked else QUIET
        known.free_at = self._now() + max(quiet, cards.calmed(known.changes, period=period))
        self.outcomes[result.synced.reason] += 1

    @staticmethod
    def _observed(stored: StoredObject, known: _Known) -> JSON:
        """Returns the status that the object has: what we wrote, until the watch has caught up with that."""
        if known.written is not None and known.written[0] == stored.resource_version:
            return known.written[1]
        known.written = None
        return _decoded(stored.status)


def _key(stored: StoredObject | None) -> Key:
    assert stored is not None, "a change of nothing"  # noqa: S101  # stores tell of one or the other
    return stored.namespace, stored.name


def _period(stored: StoredObject) -> float:
    found = float(seconds(orjson.loads(stored.spec).get("syncPeriod") or SYNC_PERIOD))
    return max(found, QUIET_AFTER_FETCH)  # as the CRD has it: whatever came past it makes no storm


def _decoded(status: bytes) -> JSON:
    found = orjson.loads(status)
    return found if isinstance(found, dict) else {}
