"""Writes how far a configuration has reached its proxies: our entry of ``status.propagation``, and ``ConfigPropagated``.

Server-side apply, each object at most once a second and only when something changed. Each replica owns its entry under
a name of its own; the condition, which follows from all entries together, belongs to all of them under one (spec 01).
"""

import asyncio
import datetime
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import orjson

from kagenti import errors
from kagenti.core import propagation
from kagenti.core.propagation import Conclusion
from kagenti.kube import KINDS, StoredObject, status_manifest
from kagenti.xds.catalogue import Catalogue
from kagenti.xds.figures import Figures, Reporter, Target
from kagenti_api.v1alpha1 import wellknown
from kagenti_api.v1alpha1.agentruntime import CONFIG_PROPAGATED

JSON = Any  # statuses and manifests

SHARED_MANAGER: Final = propagation.MANAGER
"""Field manager of the condition."""
SETTLE: Final = 0.2
"""Seconds before a change is written: most pushes are acknowledged within them and need no word."""
PATIENCE: Final = 2.0
"""Seconds for which what is on its way is not worth a word: a push to thousands is acknowledged within them, and its
writes would compete with it for the processor (bench: four writes for each object instead of one)."""
INTERVAL: Final = 1.0
"""Seconds between two writes to one object (facts §6)."""

_AT_ONCE: Final = 8  # writes in flight, of all of a process
_SLICE: Final = 64  # objects looked at between two turns of the event loop
_BUDGET: Final = 5.0  # seconds for one write
_AGAIN: Final = 5.0  # seconds after a write that failed


class Apply(Protocol):
    """Server-side apply; raises ClusterError."""

    async def apply(self, path: str, manifest: JSON, *, manager: str, timeout: float) -> bytes:
        """Returns the object afterwards."""


_UNSURE: Final[JSON] = {}
"""In place of an entry: a write of which nobody knows whether it has arrived. It is no entry that anybody would write."""


@dataclass(frozen=True, slots=True)
class _Written:
    """The entry that an object of that uid has from us; None for none, ``_UNSURE`` where a write was not seen to its end."""

    uid: str
    entry: JSON


class Publisher:
    """The writer of one replica. ``now`` (monotonic), ``sleep`` and ``clock`` (aware) are the clock, for tests.

    While ``busy`` says that a change is on its way, nothing is written that can wait for ``PATIENCE``: the workloads that
    have it already would keep the processor from those that do not.
    """

    def __init__(
        self,
        client: Apply,
        *,
        replica: str,
        catalogue: Catalogue,
        reporter: Reporter,
        logger: logging.Logger,
        busy: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._client, self._replica, self._catalogue, self._reporter = client, replica, catalogue, reporter
        self._logger, self._busy = logger, busy
        self._now, self._sleep, self._clock = now, sleep, clock
        self._due: dict[Target, float] = {}
        self._passing: dict[Target, float] = {}
        self._under_way: set[asyncio.Future[bytes]] = set()
        self._last: dict[Target, float] = {}
        self._written: dict[Target, _Written] = {}
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._failing = self._leaving = False
        self.writes: Counter[str] = Counter()
        reporter.on_target(self.mark)
        for name in ("AgentRuntime", "AgentRuntimeConfig", "AgentRuntimeClusterConfig"):
            catalogue.stores[name].on_change(self._object_changed)

    def mark(self, target: Target) -> None:
        """Has an object's status looked at soon."""
        if target in self._due and target not in self._passing:
            return
        soon = max(self._now() + SETTLE, self._last.get(target, -INTERVAL) + INTERVAL)
        self._due[target] = min(soon, self._due.get(target, soon))
        self._wake.set()

    async def run(self) -> None:
        """Writes what is due until cancelled; starts once all objects are known."""
        while True:
            await self._wake.wait()
            if not self._catalogue.synced():
                await self._sleep(SETTLE)
                continue
            moment = self._now() - (PATIENCE if self._busy() else 0.0)
            ready = [target for target, due in self._due.items() if due <= moment]
            for start in range(0, len(ready), _SLICE):
                await asyncio.gather(*(self._write(target) for target in ready[start : start + _SLICE]))
            if self._due:
                await self._sleep(SETTLE / 2)
            else:
                self._wake.clear()

    async def withdraw(self, seconds: float) -> None:
        """Takes this replica's entries away, as far as that can be done in time: the operator prunes the rest.

        What is on its way to the API server is waited for: cancelled or not, it may arrive after its removal. From now on
        nothing else is written: streams that end are on their way to other replicas, and theirs to report.
        """
        self._leaving = True
        try:
            async with asyncio.timeout(seconds):
                if under_way := tuple(self._under_way):
                    await asyncio.wait(under_way)
                owned = [target for target, written in self._written.items() if written.entry is not None]
                await asyncio.gather(*(self._remove(target) for target in owned))
        except TimeoutError:
            left = sum(1 for written in self._written.values() if written.entry is not None)
            self._logger.warning("status entries are left behind", extra={"fields": {"objects": left}})

    def counts(self) -> Mapping[str, int]:
        """Returns the writes by outcome, and the objects that wait."""
        return {**self.writes, "due": len(self._due)}

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being written."""
        return not self._wake.is_set()

    def _object_changed(self, old: StoredObject | None, new: StoredObject | None) -> None:
        if new is None and old is not None:
            for index in (self._written, self._last, self._due, self._passing):
                index.pop(Target.of(old), None)
        elif new is not None and (old is None or (old.spec, old.status, old.uid) != (new.spec, new.status, new.uid)):
            self.mark(Target.of(new))

    async def _write(self, target: Target) -> None:
        """Brings one object's status up to date; a failure is tried again later."""
        gone = self._due.pop(target, None) is None  # deleted since this round began
        if gone or self._leaving:
            return
        stored = self._catalogue.stores[target.kind].get(target.namespace, target.name)
        if stored is None:
            return
        try:
            await self._bring_up_to_date(target, stored)
        except errors.NotFound:
            self.writes["gone"] += 1
        except errors.ClusterError as error:
            self._failed(target, error)
        except Exception:  # one object must not end the process: it is ours to mend, and said
            self.writes["defect"] += 1
            self._logger.exception("status cannot be made", extra={"fields": {"object": str(target)}})

    async def _bring_up_to_date(self, target: Target, stored: StoredObject) -> None:
        figures = self._reporter.figures(stored)
        if figures.counts.on_the_way and self._may_pass(target):
            return
        async with self._slots:
            if self._leaving:
                return
            status = await self._write_entry(target, stored, figures)
            await self._write_condition(target, stored, figures, status)
        self._failing = False

    def _may_pass(self, target: Target) -> bool:
        """Whether something that may be over in a moment is still young; it is then looked at when it no longer is."""
        since = self._passing.setdefault(target, self._now())
        if self._now() - since >= PATIENCE:
            return False
        self._due[target] = since + PATIENCE
        return True

    def _failed(self, target: Target, error: errors.ClusterError) -> None:
        """Has a write tried again."""
        self.writes["failed"] += 1
        self._passing.pop(target, None)  # what comes meanwhile must not have it tried earlier
        pause = (error.retry_after if isinstance(error, errors.TooManyRequests) else None) or _AGAIN
        self._due[target] = self._now() + pause
        self._say(target, error)

    def _say(self, target: Target, problem: errors.ClusterError) -> None:
        """Says what a write failed by, once until one succeeds: an outage concerns all objects."""
        if not self._failing:
            self._failing = True
            fields = {"object": str(target), "problem": str(problem)}
            self._logger.warning("status cannot be written", extra={"fields": fields})

    async def _write_entry(self, target: Target, stored: StoredObject, figures: Figures) -> JSON:
        """Writes our entry where it is another than before; returns the status as it is then known."""
        status = _decoded(stored.status)
        entries = _entries(status)
        others = [found for found in entries if found.get("replica") != self._replica]
        wanted = self._entry(figures, others)
        if wanted != self._known(target, stored, entries):
            body = {"propagation": [wanted]} if wanted is not None else {}
            self._written[target] = _Written(stored.uid, _UNSURE)  # until it is seen to its end, cancelled or refused
            await self._apply(target, stored.uid, body, manager=self._manager)
        self._written[target] = _Written(stored.uid, wanted)
        return {**status, "propagation": [*others, *([wanted] if wanted is not None else [])]}

    def _entry(self, figures: Figures, others: Sequence[Mapping[str, JSON]]) -> JSON:
        counts = figures.counts
        connected = counts.connected + sum(propagation.connected(found) for found in others)
        missing = propagation.disconnected(counts.disconnected, proxies=figures.proxies, connected=connected)
        if not counts.connected and not missing:
            return None
        return propagation.entry(self._replica, replace(counts, disconnected=missing), revision=figures.revision)

    def _known(self, target: Target, stored: StoredObject, entries: Sequence[JSON]) -> JSON:
        """Returns the entry that the object has from us: what we wrote, else what it came with (an earlier process)."""
        written = self._written.get(target)
        if written is not None and written.uid == stored.uid:
            return written.entry
        return next((found for found in entries if found.get("replica") == self._replica), None)

    async def _write_condition(self, target: Target, stored: StoredObject, figures: Figures, status: JSON) -> None:
        """Writes the condition where it is another; replicas that serve none of the proxies leave it to those that do."""
        observed = next((found for found in _conditions(status) if found.get("type") == CONFIG_PROPAGATED), None)
        serves = any(found.get("replica") == self._replica for found in status["propagation"])
        conclusion = propagation.conclude(status["propagation"], proxies=figures.proxies, revision=figures.revision)
        if not serves and not _over(conclusion, observed):
            return
        if conclusion.on_the_way and self._may_pass(target):
            return
        if not conclusion.on_the_way:
            self._passing.pop(target, None)
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        made = propagation.condition(conclusion, observed=observed, generation=stored.generation, now=now)
        if made is not None:
            await self._apply(target, stored.uid, {"conditions": [made]}, manager=SHARED_MANAGER)

    async def _remove(self, target: Target) -> None:
        """Takes our entry away; tries again, ever more slowly, until it is or nobody waits any longer."""
        written, pause = self._written[target], SETTLE
        while True:
            try:
                async with self._slots:
                    await self._apply(target, written.uid, {}, manager=self._manager)
                break
            except errors.NotFound:
                break  # the entry went with its object
            except errors.ClusterError as problem:
                self._say(target, problem)
                if isinstance(problem, errors.Forbidden):
                    return
                asked = problem.retry_after if isinstance(problem, errors.TooManyRequests) else None
                await self._sleep(max(pause, asked or 0.0))
                pause *= 2
        self._written[target] = _Written(written.uid, None)

    @property
    def _manager(self) -> str:
        return f"{SHARED_MANAGER}-{self._replica}"

    async def _apply(self, target: Target, uid: str, status: JSON, *, manager: str) -> None:
        self._last[target] = self._now()
        manifest = status_manifest(target.kind, target.namespace, target.name, uid, status)
        task = asyncio.ensure_future(self._client.apply(_path(target), manifest, manager=manager, timeout=_BUDGET))
        self._under_way.add(task)
        task.add_done_callback(self._arrived)
        await asyncio.shield(task)
        self.writes["applied"] += 1

    def _arrived(self, task: asyncio.Future[bytes]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # taken, though whoever waited may have been cancelled


def _over(conclusion: Conclusion, observed: Mapping[str, JSON] | None) -> bool:
    """Whether the last proxy is gone since the condition was written: any replica may say so."""
    return conclusion.reason == propagation.NO_PROXIES and observed is not None


def _path(target: Target) -> str:
    plural = KINDS[target.kind].plural
    place = f"namespaces/{target.namespace}/{plural}" if target.namespace else plural
    return f"/apis/{wellknown.API_VERSION}/{place}/{target.name}/status"


def _decoded(status: bytes) -> dict[str, JSON]:
    found = orjson.loads(status)
    return found if isinstance(found, dict) else {}


def _entries(status: Mapping[str, JSON]) -> list[JSON]:
    return [found for found in status.get("propagation") or () if isinstance(found, dict)]


def _conditions(status: Mapping[str, JSON]) -> list[JSON]:
    return [found for found in status.get("conditions") or () if isinstance(found, dict)]
