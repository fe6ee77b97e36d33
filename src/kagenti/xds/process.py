"""One xDS process from its first handshake to its last: serves, watches its own parts, hands its streams over, ends.

Every task has one owner here: a part that ends, for whatever reason, ends the process with exit code 1, because a server
whose caches no longer move would hold policy back without a sign. SIGTERM ends it with 0 once others have the streams.
"""

import asyncio
import datetime
import gc
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson

from kagenti import pages, tls
from kagenti.kube import AnyFeed
from kagenti.pages import JSON_TYPE, TEXT_TYPE, Page
from kagenti.xds.config import XdsConfig

SYNC_POLL: Final = 0.02
# A change builds hundreds of dicts; at the default 700 a collection would run in the middle of most of them.
GC_THRESHOLDS: Final = (50_000, 20, 100)
LOOPBACK: Final = "127.0.0.1"

Part = tuple[str, Callable[[], Coroutine[Any, Any, None]]]  # Any: what a coroutine yields and is sent
"""Name of a task, and what it runs: never returns but by cancellation."""


class Server(Protocol):
    """The ADS server (``server.Server``)."""

    port: int

    async def start(self) -> None:
        """Listens; raises InputError."""

    async def run(self) -> None:
        """Pushes until cancelled."""

    async def stop(self, grace: float) -> None:
        """Ends the open streams, spread over ``grace`` seconds."""


class Publisher(Protocol):
    """Writes status (``propagation.Publisher``)."""

    async def run(self) -> None:
        """Writes until cancelled."""

    async def withdraw(self, seconds: float) -> None:
        """Takes our entries away within that time."""


@dataclass(slots=True)
class Process:
    """The parts of one process, wired by ``start`` or by a test; ``now`` is the clock, aware.

    ``parts`` are the tasks besides caches, server, publisher and the process's own. ``metrics`` renders them, ``debug``
    are the pages for loopback.
    """

    config: XdsConfig
    logger: logging.Logger
    certificates: tls.Certificates
    feeds: Sequence[AnyFeed]
    server: Server
    publisher: Publisher
    parts: Sequence[Part]
    metrics: Callable[[], bytes]
    debug: Mapping[str, Page]
    now: Callable[[], datetime.datetime]
    port: int = 0
    status_port: int = 0
    debug_port: int = 0
    draining: bool = False
    _warm: bool = field(default=False)

    async def serve(self, stop: asyncio.Event) -> int:
        """Serves until ``stop`` is set or a part dies; returns the exit code: 0 after handing over, 1 when one died."""
        gc.set_threshold(*GC_THRESHOLDS)
        async with AsyncExitStack() as stack:
            own: Mapping[str, Page] = {"/healthz": _healthz, "/readyz": self._readyz, "/metrics": self._metrics}
            config = self.config
            self.status_port = await stack.enter_async_context(
                pages.serve(own, host=config.host, port=config.status_port)
            )
            self.debug_port = await stack.enter_async_context(
                pages.serve(self.debug, host=LOOPBACK, port=config.debug_port)
            )
            await self.server.start()
            self.port = self.server.port
            fields = {"host": config.host, "port": self.port, "status_port": self.status_port}
            self.logger.info("serving", extra={"fields": fields})
            return await self._supervise(stop)

    def missing(self) -> tuple[str, ...]:
        """Returns what keeps streams from coming here, one sentence each; empty when they may."""
        found = ["shutting down"] if self.draining else []
        caches = [sentence for feed in self.feeds if (sentence := feed.missing())]
        found += caches or ([] if self._warm else ["caches are being warmed"])
        leaf = self.certificates.leaf
        if leaf.seconds_left(self.now()) <= 0:
            found.append(f"the serving certificate expired {leaf.not_after:%Y-%m-%dT%H:%M:%SZ}: renew it")
        return tuple(found)

    async def _supervise(self, stop: asyncio.Event) -> int:
        stopping = asyncio.create_task(stop.wait(), name="stop")
        publishing = asyncio.create_task(self.publisher.run(), name="status")
        tasks = {asyncio.create_task(part(), name=name) for name, part in self._parts()}
        try:
            done, _ = await asyncio.wait({stopping, publishing, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            if stopping not in done:
                self._report_death(done)
                return 1
            publishing.cancel()
            await self._hand_over(tasks)
            return 0
        finally:
            for task in (stopping, publishing, *tasks):
                task.cancel()
            await asyncio.gather(stopping, publishing, *tasks, return_exceptions=True)
            await self.server.stop(0)

    def _parts(self) -> list[Part]:
        caches: list[Part] = [(f"cache of {feed.resource}", feed.run) for feed in self.feeds]
        own: list[Part] = [
            ("pushes", self.server.run),
            ("certificate watch", self._watch_certificate),
            ("warm-up", self._warm_up),
        ]
        return [*caches, *self.parts, *own]

    def _report_death(self, done: set[asyncio.Task[Any]]) -> None:  # Any: tasks that should have returned nothing
        for task in done:
            exception = None if task.cancelled() else task.exception()
            self.logger.critical(
                "a part of the process ended; the process ends too, so that no policy is held back unseen",
                exc_info=exception,
                extra={"fields": {"part": task.get_name()}},
            )

    async def _hand_over(self, tasks: set[asyncio.Task[None]]) -> None:
        """Ends the streams, spread over the grace: their Envoys go to the replicas that are still ready."""
        self.draining = True
        grace = self.config.shutdown_grace
        self.logger.info("handing streams over", extra={"fields": {"seconds": grace}})
        ending = asyncio.create_task(self._end_streams(grace), name="handing over")
        done, _ = await asyncio.wait({ending, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        if ending not in done:
            self._report_death(done)
        await ending

    async def _end_streams(self, grace: float) -> None:
        await asyncio.gather(self.server.stop(grace), self.publisher.withdraw(grace))

    async def _watch_certificate(self) -> None:
        while True:
            await asyncio.sleep(self.config.poll)
            if self.certificates.reload():
                leaf = self.certificates.leaf
                fields = {"certificate": leaf.fingerprint, "not_after": f"{leaf.not_after:%Y-%m-%dT%H:%M:%SZ}"}
                self.logger.info("certificate reloaded", extra={"fields": fields})

    async def _warm_up(self) -> None:
        """Takes the first full caches out of the collector's sight, then never ends."""
        while any(feed.missing() for feed in self.feeds):  # noqa: ASYNC110  # feeds offer no event, and it is rare
            await asyncio.sleep(SYNC_POLL)
        gc.collect()
        gc.freeze()
        self._warm = True
        counts = {feed.resource: feed.state().objects for feed in self.feeds}
        self.logger.info("caches synced", extra={"fields": counts})
        await asyncio.Event().wait()

    def _readyz(self) -> tuple[int, str, bytes]:
        missing = self.missing()
        return (503 if missing else 200), JSON_TYPE, orjson.dumps({"ready": not missing, "missing": missing})

    def _metrics(self) -> tuple[int, str, bytes]:
        return 200, TEXT_TYPE, self.metrics()


def _healthz() -> tuple[int, str, bytes]:
    return 200, TEXT_TYPE, b"ok\n"
