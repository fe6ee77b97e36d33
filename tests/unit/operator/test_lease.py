"""The Lease: taken when free or abandoned, renewed, given back; never held by two, whatever the API server does."""

import asyncio
import logging
from typing import Any

import orjson
import pytest

from kagenti import errors
from kagenti.operator.lease import Lease, Lost

JSON = Any  # a Lease
SECONDS = 8


class Server:
    """An API server that keeps one Lease, refuses stale writes, and can be away."""

    def __init__(self) -> None:
        self.lease: JSON = None
        self.version = 0
        self.away = False
        self.writes = 0
        self.lost_requests: list[Time] = []

    async def request(
        self, method: str, path: str, *, body: bytes | None = None, timeout: float = 10.0, **_: Any
    ) -> bytes:
        if self.lost_requests:
            self.lost_requests.pop().now += timeout
            raise errors.Unreachable("no answer")
        if self.away:
            raise errors.Unreachable("away")
        if method == "GET":
            if self.lease is None:
                raise errors.NotFound("no lease")
            return orjson.dumps(self.lease)
        sent = orjson.loads(body or b"{}")
        if method == "POST" and self.lease is not None:
            raise errors.Conflict("exists")
        if method == "PUT" and self.lease is None:
            raise errors.NotFound("no lease")
        if method == "PUT" and sent["metadata"].get("resourceVersion") != self.lease["metadata"]["resourceVersion"]:
            raise errors.Conflict("changed")
        return orjson.dumps(self.store(sent))

    def store(self, lease: JSON) -> JSON:
        """Keeps it as a new version."""
        self.version += 1
        self.writes += 1
        metadata = {**lease["metadata"], "resourceVersion": str(self.version)}
        self.lease = {**lease, "metadata": metadata}
        return self.lease

    def hand_to(self, holder: str) -> None:
        """Somebody else writes."""
        self.store({**self.lease, "spec": {**self.lease["spec"], "holderIdentity": holder}})

    @property
    def holder(self) -> str:
        return str(self.lease["spec"]["holderIdentity"])


class Time:
    """A clock that moves when somebody sleeps, and ends the test's patience."""

    def __init__(self) -> None:
        self.now = 0.0
        self.at: dict[float, Any] = {}

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment in sorted(found for found in self.at if found <= self.now):
            self.at.pop(moment)()
        if self.now > 1000:
            raise AssertionError("waited for too long")
        await asyncio.sleep(0)


def candidate(server: Server, time: Time, name: str = "a") -> Lease:
    """One replica."""
    logger = logging.getLogger("test")
    return Lease(server, namespace="n", identity=name, seconds=SECONDS, logger=logger, now=time, sleep=time.sleep)


@pytest.fixture
def server() -> Server:
    """Without a Lease."""
    return Server()


@pytest.fixture
def time() -> Time:
    """At zero."""
    return Time()


async def test_the_first_candidate_leads_at_once(server: Server, time: Time) -> None:
    """Nobody has ever led."""
    lease = candidate(server, time)
    await lease.acquire()
    assert lease.held
    assert (server.holder, time.now) == ("a", 0)


async def test_a_second_candidate_waits_for_the_whole_duration(server: Server, time: Time) -> None:
    """Counted from when it first saw the Lease as it is, not by the other machine's clock."""
    await candidate(server, time, "a").acquire()
    server.store({**server.lease, "spec": {**server.lease["spec"], "renewTime": "1999-01-01T00:00:00.000000Z"}})
    other = candidate(server, time, "b")
    await other.acquire()
    assert server.holder == "b"
    assert SECONDS <= time.now <= SECONDS * 1.5
    assert server.lease["spec"]["leaseTransitions"] == 1


async def test_a_released_lease_is_taken_at_the_next_look(server: Server, time: Time) -> None:
    """A leader that stops costs nobody its duration."""
    first = candidate(server, time, "a")
    await first.acquire()
    await first.release()
    assert not first.held
    await candidate(server, time, "b").acquire()
    assert time.now == 0


async def test_a_renewed_lease_is_never_taken(server: Server, time: Time) -> None:
    """For ten of its lives."""
    first, second = candidate(server, time, "a"), candidate(server, time, "b")
    await first.acquire()
    keeping, waiting = asyncio.create_task(first.keep()), asyncio.create_task(second.acquire())
    while time.now < 10 * SECONDS:
        await asyncio.sleep(0)
    assert not waiting.done()
    assert server.holder == "a"
    for task in (keeping, waiting):
        task.cancel()
    await asyncio.gather(keeping, waiting, return_exceptions=True)


async def test_who_cannot_renew_stops_before_others_may_begin(server: Server, time: Time) -> None:
    """The API server is away for it alone."""
    lease = candidate(server, time)
    await lease.acquire()
    server.away = True
    with pytest.raises(Lost):
        await lease.keep()
    assert not lease.held
    assert time.now < SECONDS


async def test_a_short_outage_loses_nothing(server: Server, time: Time) -> None:
    """One renewal fails, the next succeeds."""
    lease = candidate(server, time)
    await lease.acquire()
    time.at = {1.9: lambda: setattr(server, "away", True), 3.9: lambda: setattr(server, "away", False)}
    keeping = asyncio.create_task(lease.keep())
    while time.now < 4 * SECONDS:
        await asyncio.sleep(0)
    assert not keeping.done()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_request_that_gets_no_answer_leaves_time_for_another(server: Server, time: Time) -> None:
    """A connection that died silently, or an API server that hangs for seconds, takes half of what is left."""
    lease = candidate(server, time)
    await lease.acquire()
    server.lost_requests = [time]
    keeping = asyncio.create_task(lease.keep())
    while time.now < 4 * SECONDS and not keeping.done():
        await asyncio.sleep(0)
    assert not keeping.done()
    assert lease.held
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


@pytest.mark.parametrize("how", ["another holds it", "it was deleted"])
async def test_a_lease_that_is_another_s_is_lost_at_once(how: str, server: Server, time: Time) -> None:
    """Whoever took it, and why ever, writes now."""
    lease = candidate(server, time)
    await lease.acquire()
    if how == "another holds it":
        server.hand_to("b")
    else:
        server.lease = None
    with pytest.raises(Lost):
        await lease.keep()
    assert not lease.held


async def test_a_write_of_our_own_that_came_twice_is_no_loss(server: Server, time: Time) -> None:
    """The answer to a renewal was lost; the Lease is a version further and still ours."""
    lease = candidate(server, time)
    await lease.acquire()
    server.hand_to("a")
    keeping = asyncio.create_task(lease.keep())
    while time.now < 2 * SECONDS:
        await asyncio.sleep(0)
    assert not keeping.done()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


class Slow(Server):
    """An API server whose answers are lost, or late, as a script of (method, what becomes of it) says; then it hangs."""

    def __init__(self, time: "Time", *script: tuple[str, str]) -> None:
        super().__init__()
        self.time, self.script, self.written_at = time, list(script), 0.0

    async def request(
        self, method: str, path: str, *, body: bytes | None = None, timeout: float = 10.0, **_: Any
    ) -> bytes:
        expected, fate = self.script.pop(0) if self.script else (method, "hangs")
        assert method == expected
        if fate == "hangs":
            self.time.now += timeout
            raise errors.Unreachable("no answer")
        began, self.time.now = self.time.now, self.time.now + (timeout * 0.9 if fate == "late" else 0.0)
        answer = await super().request(method, path, body=body)
        if method != "GET":
            self.written_at = began  # it may have been done as soon as it was sent
        if fate == "lost":
            self.time.now += timeout
            raise errors.Unreachable("no answer")
        return answer


@pytest.mark.parametrize(
    "script",
    [
        (("GET", "answers"), ("POST", "late")),
        (("GET", "answers"), ("POST", "answers"), ("PUT", "hangs"), ("PUT", "hangs")),
        (("GET", "answers"), ("POST", "answers"), ("PUT", "lost"), ("PUT", "answers"), ("GET", "answers")),
        (("GET", "answers"), ("POST", "answers"), ("PUT", "lost"), ("PUT", "answers"), ("GET", "late")),
        (("GET", "answers"), ("POST", "answers"), ("PUT", "lost"), ("PUT", "answers"), ("GET", "hangs")),
    ],
    ids=["taken slowly", "an outage", "a write whose answer was lost", "read late", "and then an outage"],
)
async def test_nobody_else_may_begin_while_it_leads(script: tuple[tuple[str, str], ...], time: Time) -> None:
    """Counted from the write that the others saw last, whenever we learned of it."""
    server = Slow(time, *script)
    lease = candidate(server, time)
    await lease.acquire()
    with pytest.raises(Lost):
        await lease.keep()
    assert server.script == []
    assert time.now <= server.written_at + SECONDS


async def test_of_two_that_are_equally_fast_one_leads(server: Server, time: Time) -> None:
    """The API server takes one of two writes over the same version."""
    found = [candidate(server, time, name) for name in "ab"]
    tasks = [asyncio.create_task(lease.acquire()) for lease in found]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [lease.held for lease in found].count(True) == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_its_own_lease_from_an_earlier_life_is_taken_at_once(server: Server, time: Time) -> None:
    """A container that was restarted in its pod has the same name."""
    await candidate(server, time, "a").acquire()
    await candidate(server, time, "a").acquire()
    assert time.now == 0


async def test_what_nobody_holds_is_not_given_back(server: Server, time: Time) -> None:
    """A follower that stops writes nothing."""
    await candidate(server, time).release()
    assert server.writes == 0
