"""Life of a process: becoming ready, pages, handing streams over, and dying when a part of it does."""

import asyncio
import datetime
import io
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from kagenti import errors, pages, tls
from kagenti.journal import JsonFormatter
from kagenti.xds.config import XdsConfig
from kagenti.xds.process import Process
from tests.component.webhook.conftest import FakeFeed
from tests.unit.webhook.conftest import make_authority
from tests.unit.xds.waiting import eventually

pytestmark = pytest.mark.usefixtures("collector")

AUTHORITY = make_authority()


class FakeServer:
    """An ADS server whose end is remembered."""

    port = 4242

    def __init__(self) -> None:
        self.stopped: list[float] = []
        self.handing_over = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self) -> None:
        pass

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def stop(self, grace: float) -> None:
        self.stopped.append(grace)
        self.handing_over.set()
        await self.gate.wait()


class FakePublisher:
    """A writer of status; ``die`` ends it."""

    def __init__(self) -> None:
        self.die = asyncio.Event()
        self.writing = False
        self.withdrawn: list[tuple[float, bool]] = []

    async def run(self) -> None:
        self.writing = True
        try:
            await self.die.wait()
        finally:
            self.writing = False

    async def withdraw(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.withdrawn.append((seconds, self.writing))


class Running:
    """One process on loopback without gRPC."""

    def __init__(self, folder: Path, **overrides: Any) -> None:
        self.folder = folder
        certificate, key = AUTHORITY.issue().write(folder)
        self.feed, self.server, self.publisher = FakeFeed(), FakeServer(), FakePublisher()
        self.log, logger = io.StringIO(), logging.Logger("kagenti.xds", logging.INFO)
        handler = logging.StreamHandler(self.log)
        handler.setFormatter(JsonFormatter())
        logger.addHandler(handler)
        config = XdsConfig(certificate, key, "xds-1", host="127.0.0.1", port=0, status_port=0, debug_port=0,
                           shutdown_grace=0.5, poll=0.01)  # fmt: skip
        files = tls.Files(certificate, key)
        self.process = Process(
            config,
            logger=logger,
            certificates=tls.Certificates(files, report=logger.warning, now=_now),
            feeds=[self.feed],
            server=self.server,
            publisher=self.publisher,
            parts=overrides.get("parts", []),
            metrics=lambda: b"kagenti_xds_test 1\n",
            debug={"/debug/streams": lambda: (200, pages.JSON_TYPE, b"[]")},
            now=overrides.get("now", _now),
        )
        self.stop = asyncio.Event()

    @property
    def logged(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.log.getvalue().splitlines()]

    async def get(self, path: str, *, debug: bool = False, method: str = "GET") -> tuple[int, str]:
        port = self.process.debug_port if debug else self.process.status_port
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
            session.request(method, path) as response,
        ):
            return response.status, await response.text()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@asynccontextmanager
async def _running(folder: Path, **overrides: Any) -> AsyncIterator[tuple[Running, asyncio.Task[int]]]:
    running = Running(folder, **overrides)
    task = asyncio.create_task(running.process.serve(running.stop))
    try:
        await eventually(lambda: running.process.port or task.done())
        yield running, task
    finally:
        running.stop.set()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 10)


async def test_ready_once_caches_are_filled(tmp_path: Path) -> None:
    """What is missing is said; health never depends on it."""
    async with _running(tmp_path) as (running, _):
        running.feed.lacking = "CRD agentruntimes.kagenti.io is missing: run kagenti crds --apply"
        assert (await running.get("/healthz"))[0] == 200
        status, text = await running.get("/readyz")
        assert (status, orjson.loads(text)["missing"]) == (503, [running.feed.lacking])
        running.feed.lacking = ""
        await eventually(lambda: not running.process.missing())
        assert await running.get("/readyz") == (200, '{"ready":true,"missing":[]}')


async def test_an_expired_certificate_is_not_ready(tmp_path: Path) -> None:
    """Envoys would refuse it."""
    later = _now() + datetime.timedelta(days=365)
    async with _running(tmp_path, now=lambda: later) as (running, _):
        await eventually(lambda: len(running.process.missing()) == 1)
        assert "the serving certificate expired" in running.process.missing()[0]


async def test_pages_are_where_they_belong(tmp_path: Path) -> None:
    """Metrics for the cluster, debug for loopback, nothing else anywhere."""
    async with _running(tmp_path) as (running, _):
        assert await running.get("/metrics") == (200, "kagenti_xds_test 1\n")
        assert await running.get("/debug/streams", debug=True) == (200, "[]")
        for path, debug in (("/debug/streams", False), ("/metrics", True), ("/", False), ("/healthz/..", False)):
            assert (await running.get(path, debug=debug))[0] == 404, path
        assert (await running.get("/metrics", method="POST"))[0] == 405


async def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    """One sentence, with the address."""
    async with _running(tmp_path) as (running, _):
        with pytest.raises(errors.UsageError, match=f"cannot listen on 127.0.0.1:{running.process.status_port}"):
            async with pages.serve({}, host="127.0.0.1", port=running.process.status_port):
                pass


async def test_a_renewed_certificate_is_taken(tmp_path: Path) -> None:
    """Without a restart."""
    async with _running(tmp_path) as (running, _):
        AUTHORITY.issue(days=60).write(running.folder)
        await eventually(lambda: running.process.certificates.reloads == 1)
        await eventually(lambda: "certificate reloaded" in running.log.getvalue())


async def test_handing_over(tmp_path: Path) -> None:
    """Readiness fails first, status is no longer written, entries are taken away, streams end within the grace."""
    async with _running(tmp_path) as (running, task):
        await eventually(lambda: not running.process.missing())
        running.server.gate.clear()
        running.stop.set()
        await running.server.handing_over.wait()
        status, text = await running.get("/readyz")
        assert (status, orjson.loads(text)["missing"]) == (503, ["shutting down"])
        await eventually(lambda: running.publisher.withdrawn)
        running.server.gate.set()
        assert await asyncio.wait_for(task, 30) == 0
        assert running.publisher.withdrawn == [(0.5, False)]
        assert running.server.stopped == [0.5, 0]


async def _crash() -> None:
    raise RuntimeError("boom")


async def _return() -> None:
    return


@pytest.mark.parametrize("part", [_crash, _return], ids=["crashed", "returned"])
async def test_a_dead_part_ends_the_process(tmp_path: Path, part: Callable[[], Any]) -> None:
    """Exit code 1 and a line that names it: policy must not be held back unseen."""
    async with _running(tmp_path, parts=[("snapshots", part)]) as (running, task):
        assert await asyncio.wait_for(task, 30) == 1
        (line,) = [line for line in running.logged if line["level"] == "critical"]
        assert line["part"] == "snapshots"


async def test_a_dead_writer_or_cache_does_too(tmp_path: Path) -> None:
    """Each of the process's own tasks is watched."""
    async with _running(tmp_path / "a") as (running, task):
        running.publisher.die.set()
        assert await asyncio.wait_for(task, 30) == 1
    async with _running(tmp_path / "b") as (running, task):
        running.feed.die.set()
        assert await asyncio.wait_for(task, 30) == 1
