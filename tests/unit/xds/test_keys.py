"""The keyring: who gets which set, for how long, and when proxies hear of it. Its clock is turned by hand."""

import asyncio
import io
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kagenti.core.jwks import NO_KEYS
from kagenti.core.untrusted import Refused
from kagenti.journal import JsonFormatter
from kagenti.xds.fetch import Fetched
from kagenti.xds.keys import ALERT_AFTER, KEPT, MOST_URLS, POLL, Keyring
from tests.unit.xds.waiting import eventually

URL = "https://idp.example/certs"


class Clock:
    """Time that stands still until it is turned; sleepers wake when theirs has come."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.pauses: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time + seconds, waker))
        await waker

    def turn(self, seconds: float) -> None:
        self.time += seconds
        for due, waker in list(self._sleepers):
            if due <= self.time and not waker.done():
                waker.set_result(None)


class Provider:
    """An identity provider by script: answers, or faults, one for each fetch; the last one again and again."""

    def __init__(self, *answers: Fetched | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []

    async def __call__(self, url: str, *, etag: str = "") -> Fetched:
        self.asked.append((url, etag))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Bench:
    """A keyring with its clock, provider, log, and what it told."""

    def __init__(self, *answers: Fetched | Exception) -> None:
        self.clock, self.provider, self.told, self.log = Clock(), Provider(*answers), list[str](), io.StringIO()
        logger = logging.Logger("kagenti.xds", logging.INFO)
        handler = logging.StreamHandler(self.log)
        handler.setFormatter(JsonFormatter())
        logger.addHandler(handler)
        self.ring = Keyring(
            self.provider,
            logger=logger,
            sleep=self.clock.sleep,
            now=self.clock.now,
            jitter=lambda: 0.0,
        )
        self.ring.on_change(self.told.append)

    async def polled(self, times: int) -> None:
        """Waits until that many fetches are over."""
        await eventually(lambda: len(self.clock.pauses) == times)

    async def poll(self, seconds: float = POLL) -> None:
        """Lets that much time pass, and waits for the fetch that comes of it."""
        before = len(self.clock.pauses)
        self.clock.turn(seconds)
        await self.polled(before + 1)


@asynccontextmanager
async def _bench(*answers: Fetched | Exception) -> AsyncIterator[Bench]:
    bench = Bench(*answers)
    task = asyncio.create_task(bench.ring.run())
    try:
        assert bench.ring.lease(URL, namespace="team1")
        await bench.polled(1)
        yield bench
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


DOWN = Refused("Unreachable", "no connection could be made")


async def test_a_set_is_told_once_and_polled_for_change() -> None:
    """Equal sets are no news; another one is, and the etag goes along."""
    async with _bench(Fetched("A", "1"), Fetched(None, "1"), Fetched("A", "2"), Fetched("B", "3")) as bench:
        assert (bench.ring.get(URL), bench.told) == ("A", [URL])
        await bench.poll()
        await bench.poll()
        assert (bench.ring.get(URL), bench.told) == ("A", [URL])
        await bench.poll()
        assert (bench.ring.get(URL), bench.told) == ("B", [URL, URL])
        assert [etag for _, etag in bench.provider.asked] == ["", "1", "1", "2"]
        assert bench.ring.outcomes == {"ok": 3, "notModified": 1}


async def test_unknown_until_the_first_answer_and_asked_for_more_often() -> None:
    """New pods wait for it: after one second, then two, four."""
    async with _bench(DOWN, DOWN, DOWN, Fetched("A")) as bench:
        assert (bench.ring.get(URL), bench.told) == (None, [])
        for pause in (1.0, 2.0, 4.0):
            await bench.poll(pause)
        assert (bench.ring.get(URL), bench.told) == ("A", [URL])
        assert bench.clock.pauses == [1.0, 2.0, 4.0, POLL]


async def test_last_good_set_ages_and_is_refused_after_a_day() -> None:
    """Fresh, stale after an hour, expired after a day: then proxies get a set that nothing verifies against."""
    async with _bench(Fetched("A"), DOWN, DOWN, DOWN, Fetched("A")) as bench:
        states = []
        for seconds in (ALERT_AFTER - 1, 2.0 + POLL, KEPT):
            await bench.poll(seconds)
            states.append((bench.ring.get(URL), [state for state, count in bench.ring.counts().items() if count]))
        assert states == [("A", ["fresh"]), ("A", ["stale"]), (NO_KEYS, ["expired"])]
        assert bench.told == [URL, URL]
        await bench.poll()
        assert (bench.ring.get(URL), bench.told) == ("A", [URL, URL, URL])


async def test_faults_are_logged_once_and_their_end_too() -> None:
    """The line names URL and reason; a poll every half minute does not repeat it."""
    async with _bench(DOWN, DOWN, Fetched("A")) as bench:
        assert bench.ring.fault(URL) == "no connection could be made"
        await bench.poll(1.0)
        await bench.poll(2.0)
        assert bench.ring.fault(URL) == ""
        assert bench.log.getvalue().count("keys cannot be fetched") == 1
        assert bench.log.getvalue().count("keys are fetched again") == 1


async def test_a_defect_is_one_urls_own() -> None:
    """It is logged with its stack, counted, and retried; the process lives on."""
    async with _bench(RuntimeError("boom"), Fetched("A")) as bench:
        assert bench.ring.outcomes == {"Defect": 1}
        await bench.poll(1.0)
        assert bench.ring.get(URL) == "A"
        assert "RuntimeError" in bench.log.getvalue()


async def test_urls_are_kept_as_long_as_somebody_names_them() -> None:
    """Two namespaces share one set; when both have let go it is forgotten, and fetched no more."""
    async with _bench(Fetched("A")) as bench:
        bench.ring.lease(URL, namespace="team2")
        bench.ring.lease(URL, namespace="team2")
        assert [state.namespaces for state in bench.ring.states()] == [("team1", "team2")]
        bench.ring.release(URL, namespace="team2")
        bench.ring.release(URL, namespace="team1")
        assert bench.ring.get(URL) == "A"
        bench.ring.release(URL, namespace="team2")
        assert (bench.ring.get(URL), list(bench.ring.states())) == (None, [])
        bench.clock.turn(10 * POLL)
        assert len(bench.provider.asked) == 1


async def test_a_namespace_may_name_so_many() -> None:
    """Its sixteen, again and again, but no seventeenth, until it lets one go; others are not affected."""
    async with _bench(Fetched("A")) as bench:
        others = [f"{URL}/{number}" for number in range(MOST_URLS)]
        assert [bench.ring.lease(url, namespace="team1") for url in others] == [True] * (MOST_URLS - 1) + [False]
        assert bench.ring.lease(URL, namespace="team1")
        assert bench.ring.lease(others[-1], namespace="team2")
        bench.ring.release(others[0], namespace="team1")
        assert bench.ring.lease(others[-1], namespace="team1")


async def test_ends_with_its_process() -> None:
    """Cancelled, it leaves no task behind."""
    async with _bench(Fetched("A")):
        pass
    left = [task for task in asyncio.all_tasks() if task.get_name().startswith("keys of")]
    assert left == []


@pytest.mark.parametrize("dice", [0.0, 0.5, 1.0])
async def test_polls_are_spread(dice: float) -> None:
    """Half a minute at the longest."""
    clock = Clock()
    ring = Keyring(Provider(Fetched("A")), logger=logging.Logger("x"), sleep=clock.sleep,
                   now=clock.now, jitter=lambda: dice)  # fmt: skip
    ring.lease(URL, namespace="team1")
    await eventually(lambda: clock.pauses)
    ring.release(URL, namespace="team1")
    assert 0.8 * POLL <= clock.pauses[0] <= POLL
