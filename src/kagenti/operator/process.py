"""One operator process: stands by, leads once it holds the Lease, and ends when it leads no more or a part dies.

Ends rather than stands by again: what it had in work belongs to the next leader, and a fresh process has no leftovers.
Every task has one owner here.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from kagenti import pages
from kagenti.kube import AnyFeed, FeedState
from kagenti.operator.config import OperatorConfig
from kagenti.operator.lease import Lease
from kagenti.pages import JSON_TYPE, TEXT_TYPE, Page

SYNC_POLL: Final = 0.05
STALE: Final = 180.0
"""Seconds without an event or bookmark after which a watch counts as dead, and the process with it (bookmarks: 60)."""

Part = tuple[str, Callable[[], Coroutine[Any, Any, None]]]  # Any: what a coroutine yields and is sent
"""Name of a task, and what it runs: never returns but by cancellation."""


@dataclass(slots=True)
class Process:
    """The parts of one process, wired by ``start`` or by a test.

    ``standing`` are the caches that every replica keeps, ``leading`` those of the leader. ``watches`` feeds the latter;
    ``parts`` are the leader's other tasks, ``work`` the one that begins when all is read. ``prerequisite`` waits until
    the cluster has what the watches need. ``now`` (monotonic) is the clock, for tests.
    """

    config: OperatorConfig
    logger: logging.Logger
    lease: Lease
    standing: Sequence[AnyFeed]
    leading: Sequence[AnyFeed]
    prerequisite: Callable[[], Coroutine[Any, Any, None]]  # Any: what a coroutine yields and is sent
    watches: Callable[[], Coroutine[Any, Any, None]]  # Any: as above
    parts: Sequence[Part]
    work: Callable[[], Coroutine[Any, Any, None]]  # Any: as above
    metrics: Callable[[], bytes]
    kinds: Callable[[], Mapping[str, FeedState]] = dict
    now: Callable[[], float] = time.monotonic
    status_port: int = 0
    stopping: bool = False
    _watching: float | None = field(default=None)

    async def serve(self, stop: asyncio.Event) -> int:
        """Runs until ``stop`` is set or a part dies; returns the exit code: 0 after a stop, 1 when something ended."""
        own: Mapping[str, Page] = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics}
        async with pages.serve(own, host=self.config.host, port=self.config.status_port) as port:
            self.status_port = port
            self.logger.info("standing by", extra={"fields": {"identity": self.config.identity, "status_port": port}})
            return await self._supervise(stop)

    def missing(self) -> tuple[str, ...]:
        """Returns what keeps this replica from doing its part, one sentence each."""
        if self.stopping:
            return ("shutting down",)
        feeds = [*self.standing, *(self.leading if self.lease.held else ())]
        found = [sentence for feed in feeds if (sentence := feed.missing())]
        quiet = self.now() - self.lease.last_contact
        if quiet > max(4.0 * self.config.lease_seconds, 30.0):
            found.append(
                f"the Lease could not be read for {quiet:.0f} s: may the account use it, does the API server answer?"
            )
        return tuple(found)

    def dead(self) -> tuple[str, ...]:
        """Returns the watches that have been silent for too long."""
        feeds = [*self.standing, *(self.leading if self._watching is not None else ())]
        ages = {feed.resource: feed.state().age for feed in feeds} | {
            resource: state.age for resource, state in self.kinds().items()
        }
        silent = [
            f"no event or bookmark of {resource} for {age:.0f} s"
            for resource, age in ages.items()
            if age is not None and age > STALE
        ]
        since = 0.0 if self._watching is None else self.now() - self._watching
        if since > STALE:
            silent += [f"no full list of {feed.resource} for {since:.0f} s" for feed in self.leading if feed.missing()]
        return tuple(silent)

    async def _supervise(self, stop: asyncio.Event) -> int:
        stopping = asyncio.create_task(stop.wait(), name="stop")
        tasks = {asyncio.create_task(feed.run(), name=f"cache of {feed.resource}") for feed in self.standing}
        leader = asyncio.create_task(self._lead(), name="leader")
        try:
            done, _ = await asyncio.wait({stopping, leader, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            self.stopping = True
            if stopping in done:
                self.logger.info("stopping")
                return 0
            self._report_death(done)
            return 1
        finally:
            for task in (stopping, leader, *tasks):
                task.cancel()
            await asyncio.gather(stopping, leader, *tasks, return_exceptions=True)

    async def _lead(self) -> None:
        """Waits for the Lease and leads until it is lost or a part ends, which it raises; gives it back on its way out."""
        await self.prerequisite()
        await self.lease.acquire()
        self.logger.info("leading", extra={"fields": {"identity": self.config.identity}})
        watches = asyncio.create_task(self._watch(), name="watches")
        tasks = [
            asyncio.create_task(run(), name=name)
            for name, run in (("lease", self.lease.keep), *self.parts, ("work", self._work))
        ]
        try:
            done, _ = await asyncio.wait({watches, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            self._report_death(done)
            raise RuntimeError("leads no more")
        finally:
            # Nothing is written any more before others may write; the watches only read, and take longest to end.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            watches.cancel()
            await asyncio.gather(self.lease.release(), watches, return_exceptions=True)

    async def _watch(self) -> None:
        """Runs the watches; the kinds may have gone while this replica stood by."""
        await self.prerequisite()
        self._watching = self.now()
        await self.watches()

    async def _work(self) -> None:
        while any(feed.missing() for feed in (*self.standing, *self.leading)):  # noqa: ASYNC110  # feeds offer no event
            await asyncio.sleep(SYNC_POLL)
        counts = {feed.resource: feed.state().objects for feed in (*self.standing, *self.leading)}
        self.logger.info("caches synced", extra={"fields": counts})
        await self.work()

    def _report_death(self, done: set[asyncio.Task[Any]]) -> None:  # Any: tasks that should have returned nothing
        for task in done:
            with contextlib.suppress(asyncio.CancelledError):
                self.logger.critical(
                    "a part of the process ended; the process ends too",
                    exc_info=task.exception(),
                    extra={"fields": {"part": task.get_name()}},
                )

    def _healthz(self) -> tuple[int, str, bytes]:
        dead = self.dead()
        return (503 if dead else 200), TEXT_TYPE, "".join(f"{line}\n" for line in dead or ("ok",)).encode()

    def _readyz(self) -> tuple[int, str, bytes]:
        missing = self.missing()
        body = orjson.dumps({"ready": not missing, "missing": missing, "leading": self.lease.held})
        return (503 if missing else 200), JSON_TYPE, body

    def _metrics(self) -> tuple[int, str, bytes]:
        return 200, TEXT_TYPE, self.metrics()
