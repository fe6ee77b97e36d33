"""One webhook process from its first handshake to its last: serves, watches its own parts, drains, ends.

Every task has one owner here: a task that ends, for whatever reason, ends the process with exit code 1, because a
webhook whose cache no longer moves would decide from the past without a sign. SIGTERM ends it with 0 after draining.
"""

import asyncio
import contextlib
import datetime
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from aiohttp import web

from kagenti import errors, tls
from kagenti.kube import AnyFeed
from kagenti.webhook import probe, readiness, trust
from kagenti.webhook.config import WebhookConfig
from kagenti.webhook.door import JSON_TYPE, TEXT_TYPE, Door, Entry, low_level_server
from kagenti.webhook.journal import Journal
from kagenti.webhook.metrics import Metrics

JSON = Any  # a raw MutatingWebhookConfiguration

SYNC_POLL: Final = 0.02
# A caBundle carries old and new CA until every leaf has switched, so that a look every ten polls is soon enough.
TRUST_POLLS: Final = 10
TRUST_TIMEOUT: Final = 5.0
# Reviews allocate some hundred containers each; at the default 700 a collection would run every few requests.
GC_THRESHOLDS: Final = (50_000, 20, 100)


@dataclass(slots=True)
class Process:
    """The parts of one process, wired by ``run`` or by a test.

    ``configuration`` reads our own MutatingWebhookConfiguration (raw) for the trust check, None leaves it out;
    ``authorities`` is the CA of the xDS server, which ``trust`` is told when it changes; ``now`` is the clock, aware.
    """

    config: WebhookConfig
    journal: Journal
    certificates: tls.Certificates
    feeds: Sequence[AnyFeed]
    metrics: Metrics
    entries: Mapping[str, Entry]
    now: Callable[[], datetime.datetime]
    configuration: Callable[[], Awaitable[JSON]] | None = None
    authorities: tls.Authorities | None = None
    trust: Callable[[str], None] = field(default=lambda _: None)
    port: int = 0
    door: Door = field(init=False)
    _warm: bool = False
    _distrust: str = ""

    def __post_init__(self) -> None:
        if self.configuration is not None:
            self._distrust = "the caBundle of our webhook configuration has not been read yet"
        self.metrics.ready = lambda: self.readiness().ready
        self.metrics.trusted = lambda: not self._distrust
        self.door = Door(
            entries=self.entries,
            pages={"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics},
            metrics=self.metrics,
            concurrency=self.config.concurrency,
            body_limit=self.config.body_limit,
            wants_client_certificate=self.config.client_ca is not None,
        )

    async def serve(self, stop: asyncio.Event) -> int:
        """Serves until ``stop`` is set or a part dies; returns the exit code: 0 after draining, 1 when one died."""
        gc.set_threshold(*GC_THRESHOLDS)
        async with self._listening():
            self.journal.logger.info("serving", extra={"fields": {"host": self.config.host, "port": self.port}})
            return await self._supervise(stop)

    def readiness(self) -> readiness.Readiness:
        """Returns whether reviews may come now."""
        caches = [sentence for feed in self.feeds if (sentence := feed.missing())]
        if not caches and not self._warm:
            caches = ["caches are being warmed"]
        return readiness.judge(
            draining=self.door.draining,
            caches=caches,
            leaf=self.certificates.leaf,
            trust=self._distrust,
            now=self.now(),
        )

    async def _supervise(self, stop: asyncio.Event) -> int:
        stopping = asyncio.create_task(stop.wait(), name="stop")
        tasks = {asyncio.create_task(part, name=name) for name, part in self._parts()}
        try:
            done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            if stopping not in done:
                return self._report_death(done)
            await self._drain(tasks)
            return 0
        finally:
            for task in (stopping, *tasks):
                task.cancel()
            await asyncio.gather(stopping, *tasks, return_exceptions=True)

    def _parts(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:  # Any: what a coroutine yields and is sent
        parts = [(f"cache of {feed.resource}", feed.run()) for feed in self.feeds]
        parts.append(("certificate watch", self._watch_certificate()))
        parts.append(("warm-up", self._warm_up()))
        if self.configuration is not None:
            parts.append(("caBundle watch", self._watch_trust(self.configuration)))
        return parts

    def _report_death(self, done: set[asyncio.Task[Any]]) -> int:  # Any: tasks that should have returned nothing
        for task in done:
            exception = None if task.cancelled() else task.exception()
            self.journal.logger.critical(
                "a part of the process ended; the process ends too, so that nothing is decided from a dead cache",
                exc_info=exception,
                extra={"fields": {"part": task.get_name()}},
            )
        return 1

    async def _drain(self, tasks: set[asyncio.Task[None]]) -> None:
        """Keeps serving while API servers move away: they reuse open connections to ending pods (issue 127335)."""
        self.door.draining = True
        self.journal.logger.info("draining", extra={"fields": {"seconds": self.config.shutdown_grace}})
        done, _ = await asyncio.wait(tasks, timeout=self.config.shutdown_grace, return_when=asyncio.FIRST_COMPLETED)
        if done:
            self._report_death(done)

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        runner = web.ServerRunner(low_level_server(self.door), shutdown_timeout=self.config.shutdown_grace)
        await runner.setup()
        try:
            site = web.TCPSite(
                runner, self.config.host, self.config.port, ssl_context=self.certificates.base, backlog=1024
            )
            await site.start()
            self.port = runner.addresses[0][1]
            yield
        finally:
            await runner.cleanup()

    async def _watch_certificate(self) -> None:
        while True:
            await asyncio.sleep(self.config.poll)
            if self.certificates.reload():
                leaf = self.certificates.leaf
                fields = {"certificate": leaf.fingerprint, "not_after": f"{leaf.not_after:%Y-%m-%dT%H:%M:%SZ}"}
                self.journal.logger.info("certificate reloaded", extra={"fields": fields})
            if self.authorities is not None and self.authorities.reload():
                self.trust(self.authorities.pem)
                self.journal.logger.info("CA of the xDS server reloaded; pods carry it from now on")

    async def _warm_up(self) -> None:
        """Takes the first full caches out of the collector's sight, then never ends."""
        while any(feed.missing() for feed in self.feeds):  # noqa: ASYNC110  # feeds offer no event, and it is rare
            await asyncio.sleep(SYNC_POLL)
        gc.collect()
        gc.freeze()
        self._warm = True
        self.journal.logger.info(
            "caches synced", extra={"fields": {feed.resource: feed.state().objects for feed in self.feeds}}
        )
        await asyncio.Event().wait()

    async def _watch_trust(self, configuration: Callable[[], Awaitable[JSON]]) -> None:
        while True:
            self._distrust = await self._verify(configuration)
            await asyncio.sleep(self.config.poll * (1 if self._distrust else TRUST_POLLS))

    async def _verify(self, configuration: Callable[[], Awaitable[JSON]]) -> str:
        name = self.config.webhook_configuration
        try:
            async with asyncio.timeout(TRUST_TIMEOUT):
                raw = await configuration()
                doubt = trust.distrust(raw, leaf=self.certificates.leaf, now=self.now())
                return doubt or await probe.refusal(raw, host=self.config.host, port=self.port)
        except errors.NotFound:
            return f"MutatingWebhookConfiguration {name} does not exist: install the chart"
        except (errors.ClusterError, TimeoutError):
            return self._distrust  # an API server that is away says nothing about our certificate
        except Exception as problem:  # what nobody foresaw ends no process, and is no reason to leave one that serves
            self.journal.logger.exception("caBundle check failed")
            said = f"MutatingWebhookConfiguration {name} cannot be compared with the serving certificate: {problem}"
            return self._distrust and said

    def _healthz(self) -> tuple[int, str, bytes]:
        return 200, TEXT_TYPE, b"ok\n"

    def _readyz(self) -> tuple[int, str, bytes]:
        verdict = self.readiness()
        body = orjson.dumps({"ready": verdict.ready, "missing": verdict.missing})
        return (200 if verdict.ready else 503), JSON_TYPE, body

    def _metrics(self) -> tuple[int, str, bytes]:
        return 200, TEXT_TYPE, self.metrics.render()
