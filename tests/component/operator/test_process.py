"""Life of a process: standing by, leading, ending; what is written ends before the Lease is given back."""

import asyncio
import contextlib
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from kagenti.kube import FeedState
from kagenti.operator.config import OperatorConfig
from kagenti.operator.process import STALE, Process


class Lease:
    """A Lease that is had when the test says so."""

    def __init__(self, log: list[str]) -> None:
        self.free, self.lost, self.log = asyncio.Event(), asyncio.Event(), log
        self.held, self.last_contact = False, time.monotonic()
        self.asked = False

    async def acquire(self) -> None:
        self.asked = True
        await self.free.wait()
        self.held = True
        self.log.append("leads")

    async def keep(self) -> None:
        await self.lost.wait()
        raise RuntimeError("lost")

    async def release(self) -> None:
        self.held = False
        self.log.append("released")


class Feed:
    """A cache that is filled, and that may die."""

    def __init__(self, resource: str) -> None:
        self.resource, self.missed = resource, ""
        self.age: float | None = 1.0
        self.dies = asyncio.Event()

    def missing(self) -> str:
        return self.missed

    def state(self) -> FeedState:
        return FeedState(1, self.age, 0)

    async def run(self) -> None:
        await self.dies.wait()


class House:
    """One process of which the test holds every string."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.now = time.monotonic()
        self.lease, self.pods, self.runtimes = Lease(self.log), Feed("pods"), Feed("agentruntimes")
        self.part_dies, self.stop = asyncio.Event(), asyncio.Event()
        self.kinds_there = asyncio.Event()
        self.kinds_there.set()
        self.process = Process(
            OperatorConfig("op-0", host="127.0.0.1", status_port=0),
            logger=logging.getLogger("test"),
            lease=self.lease,  # type: ignore[arg-type]  # as far as it is used
            standing=[self.pods],
            leading=[self.runtimes],
            prerequisite=self._kinds,
            watches=self._forever("watches"),
            parts=[("part", self._part)],
            work=self._forever("work"),
            metrics=lambda: b"metrics\n",
            now=lambda: self.now,
        )
        self.task: asyncio.Task[int] | None = None

    async def _kinds(self) -> None:
        await self.kinds_there.wait()

    async def _part(self) -> None:
        await self.part_dies.wait()
        raise ValueError("dead")

    def _forever(self, name: str) -> Callable[[], Any]:
        async def run() -> None:
            self.log.append(f"{name} begin")
            try:
                await asyncio.Event().wait()
            finally:
                self.log.append(f"{name} end")

        return run

    async def start(self) -> None:
        """Starts it; returns once it serves its pages."""
        self.task = asyncio.create_task(self.process.serve(self.stop))
        await self.until(lambda: self.process.status_port)

    async def until(self, holds: Callable[[], object]) -> None:
        """Waits for a condition."""
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0.005)

    async def end(self) -> int:
        """Returns the exit code."""
        assert self.task is not None
        return await asyncio.wait_for(self.task, 5)

    async def page(self, path: str) -> tuple[int, str]:
        """Status and body of a page."""
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.process.status_port}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with contextlib.closing(refused):
                return refused.code, refused.read().decode()


async def test_a_follower_is_ready_and_watches_nothing_of_ours() -> None:
    """It stands by with its own caches, and stops without having led."""
    house = House()
    await house.start()
    house.runtimes.missed = "cache of agentruntimes is not filled"
    assert await house.page("/readyz") == (200, '{"ready":true,"missing":[],"leading":false}')
    house.pods.missed = "cache of pods is not filled"
    assert (await house.page("/readyz"))[0] == 503
    house.stop.set()
    assert await house.end() == 0
    assert house.log == []


async def test_a_leader_ends_its_writes_before_it_gives_the_lease_back() -> None:
    """And the Lease before its watches, which only read and take longest."""
    house = House()
    await house.start()
    house.lease.free.set()
    await house.until(lambda: "work begin" in house.log)
    house.stop.set()
    assert await house.end() == 0
    assert house.log.index("work end") < house.log.index("released")


async def test_nothing_is_worked_on_before_everything_has_been_read() -> None:
    """A status from half of the facts would be wrong."""
    house = House()
    house.runtimes.missed = "cache of agentruntimes is not filled"
    await house.start()
    house.lease.free.set()
    await house.until(lambda: "watches begin" in house.log)
    assert (await house.page("/readyz"))[0] == 503
    assert "work begin" not in house.log
    house.runtimes.missed = ""
    await house.until(lambda: "work begin" in house.log)
    house.stop.set()
    assert await house.end() == 0


async def test_kinds_that_went_while_it_stood_by_are_waited_for_by_the_leader() -> None:
    """Kopf looks for them once: begun without them it would lead for ever and watch nothing."""
    house = House()
    await house.start()
    await house.until(lambda: house.lease.asked)
    house.kinds_there.clear()
    house.lease.free.set()
    await house.until(lambda: house.lease.held)
    for _ in range(10):
        await asyncio.sleep(0)
    assert "watches begin" not in house.log
    house.kinds_there.set()
    await house.until(lambda: "watches begin" in house.log)
    house.stop.set()
    assert await house.end() == 0


async def test_a_list_that_never_comes_fails_the_liveness_probe() -> None:
    """Of a leader whose watches have begun; what has come before counts from its own last sign of life."""
    house = House()
    house.runtimes.missed, house.runtimes.age = "cache of agentruntimes is not filled", None
    await house.start()
    house.lease.free.set()
    await house.until(lambda: "watches begin" in house.log)
    assert (await house.page("/healthz"))[0] == 200
    house.now += STALE + 1
    assert await house.page("/healthz") == (503, "no full list of agentruntimes for 181 s\n")
    house.stop.set()
    assert await house.end() == 0


DEATHS = ["the Lease is lost", "a part dies", "a cache ends"]


@pytest.mark.parametrize("what", DEATHS)
async def test_what_cannot_go_on_ends_the_process(what: str) -> None:
    """Kubernetes starts a fresh one."""
    house = House()
    await house.start()
    house.lease.free.set()
    await house.until(lambda: "work begin" in house.log)
    {DEATHS[0]: house.lease.lost, DEATHS[1]: house.part_dies, DEATHS[2]: house.pods.dies}[what].set()
    assert await house.end() == 1
    assert "work end" in house.log


async def test_a_watch_that_is_silent_for_too_long_fails_the_liveness_probe() -> None:
    """A bookmark comes every minute."""
    house = House()
    await house.start()
    assert await house.page("/healthz") == (200, "ok\n")
    house.runtimes.age = STALE + 1
    assert (await house.page("/healthz"))[0] == 200  # a follower has no such watch
    house.lease.free.set()
    await house.until(lambda: "work begin" in house.log)
    assert await house.page("/healthz") == (503, "no event or bookmark of agentruntimes for 181 s\n")
    assert await house.page("/metrics") == (200, "metrics\n")
    house.stop.set()
    assert await house.end() == 0


async def test_a_lease_that_cannot_be_read_is_said() -> None:
    """The account may lack the right, or the API server is away."""
    house = House()
    await house.start()
    house.lease.last_contact = time.monotonic() - 100
    status, body = await house.page("/readyz")
    assert status == 503
    assert "the Lease could not be read" in body
    house.stop.set()
    assert await house.end() == 0
