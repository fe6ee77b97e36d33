"""Seats and bytes of bodies on their way in: who gets one, who loses one, and that all is given back."""

import asyncio

import pytest

from kagenti.webhook.quota import Full, Quota, Seat, TooLarge


class Body:
    """A body whose parts a test sends."""

    def __init__(self, *parts: bytes) -> None:
        self._parts: asyncio.Queue[bytes] = asyncio.Queue()
        self._ended = False
        self.send(*parts)

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self._parts.put_nowait(part)
            self._ended = self._ended or part == b""

    def is_eof(self) -> bool:
        return self._ended

    async def readany(self) -> bytes:
        return await self._parts.get()


def quota(*, seats: int = 8, memory: int = 100) -> Quota:
    """A small quota."""
    return Quota(seats=seats, memory=memory, decisions=1)


async def begun(seat: Seat, body: Body) -> asyncio.Task[bytes]:
    """A read that waits for more."""
    task = asyncio.create_task(seat.read(body, limit=90, seconds=10))
    while seat not in seat.quota.reading or not body._parts.empty():
        await asyncio.sleep(0)
    return task


async def test_a_body_is_read_whole_and_held_until_its_answer() -> None:
    """Bytes count from their arrival to the answer, not to the end of the body."""
    limits = quota()
    seat = Seat(limits)
    assert await seat.read(Body(b"ab", b"cd", b""), limit=90, seconds=10) == b"abcd"
    assert (limits.held, len(limits.reading)) == (4, 0)
    seat.leave()
    seat.leave()
    assert limits.held == 0


async def test_the_longest_wait_loses_its_seat() -> None:
    """With every seat taken, the newest request is read and the oldest one is told that there was no room."""
    limits = quota(seats=2)
    first, second = await begun(Seat(limits), Body(b"a")), await begun(Seat(limits), Body(b"b"))
    arriving = Body(b"new")
    third = await begun(Seat(limits), arriving)
    with pytest.raises(Full):
        await first
    arriving.send(b"")
    assert await third == b"new"
    assert not second.done()
    second.cancel()


async def test_a_body_that_is_all_here_takes_nobodys_seat() -> None:
    """It waits for nothing; its bytes count as everybody's do."""
    limits = quota(seats=1)
    waiting = await begun(Seat(limits), Body(b"a"))
    seat = Seat(limits)
    assert await seat.read(Body(b"new", b""), limit=90, seconds=10) == b"new"
    assert (limits.held, waiting.done()) == (4, False)
    with pytest.raises(TooLarge):
        await Seat(limits).read(Body(b"x" * 91, b""), limit=90, seconds=10)
    with pytest.raises(Full):
        await Seat(quota(memory=5)).read(Body(b"x" * 6, b""), limit=90, seconds=10)
    waiting.cancel()


async def test_unfinished_bodies_make_room_for_others() -> None:
    """Bytes beyond the limit are taken from the oldest body that is not complete, never from a body that is."""
    limits = quota(memory=100)
    idle, slow = await begun(Seat(limits), Body()), await begun(Seat(limits), Body(b"x" * 60))
    assert await Seat(limits).read(Body(b"y" * 80, b""), limit=90, seconds=10) == b"y" * 80
    with pytest.raises(Full):
        await slow
    assert not idle.done()
    with pytest.raises(Full):
        await Seat(limits).read(Body(b"z" * 30, b""), limit=90, seconds=10)
    idle.cancel()


async def test_a_body_beyond_its_own_limit_is_refused() -> None:
    """One body may not be larger than any review; what it held is given back when it leaves."""
    limits = quota()
    seat = Seat(limits)
    with pytest.raises(TooLarge):
        await seat.read(Body(b"x" * 91), limit=90, seconds=10)
    seat.leave()
    assert limits.held == 0


async def test_a_body_that_does_not_come_is_given_up() -> None:
    """The deadline is told apart from a lost seat."""
    with pytest.raises(TimeoutError):
        await Seat(quota()).read(Body(), limit=90, seconds=0.01)
