"""The queue: each key once, one at a time, not too often, and again later after a failure."""

import asyncio
from collections.abc import Awaitable

import pytest

from kagenti.operator.queue import FIRST_RETRY, INTERVAL, Queue


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    """A clock at rest."""
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Queue[str]:
    """An empty queue."""
    return Queue(now=clock)


async def at_once(taking: Awaitable[str]) -> str | None:
    """What is taken without waiting; None where nothing is due."""
    task = asyncio.ensure_future(taking)
    for _ in range(3):
        await asyncio.sleep(0)
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None


async def test_a_key_marked_often_is_taken_once(queue: Queue[str], clock: Clock) -> None:
    """A flock of changes is one look."""
    for _ in range(5):
        queue.mark("a")
    clock.time += 1
    assert await at_once(queue.take()) == "a"
    queue.done("a")
    clock.time += 10
    assert await at_once(queue.take()) is None


async def test_nothing_is_taken_before_it_is_due(queue: Queue[str], clock: Clock) -> None:
    """Changes settle first."""
    queue.mark("a", after=1)
    assert await at_once(queue.take()) is None
    clock.time += 1
    assert await at_once(queue.take()) == "a"


async def test_a_key_in_work_is_not_taken_by_another_worker(queue: Queue[str], clock: Clock) -> None:
    """Order per object; what was marked meanwhile follows when it is given back."""
    queue.mark("a", after=0)
    assert await at_once(queue.take()) == "a"
    queue.mark("a", after=0)
    clock.time += 10
    assert await at_once(queue.take()) is None
    queue.done("a")
    assert await at_once(queue.take()) == "a"


async def test_a_key_is_taken_at_most_once_an_interval(queue: Queue[str], clock: Clock) -> None:
    """One write a second and object (spec 06)."""
    queue.mark("a", after=0)
    assert await at_once(queue.take()) == "a"
    queue.done("a")
    queue.mark("a", after=0)
    clock.time += INTERVAL / 2
    assert await at_once(queue.take()) is None
    clock.time += INTERVAL / 2
    assert await at_once(queue.take()) == "a"


async def test_the_earliest_word_counts(queue: Queue[str], clock: Clock) -> None:
    """A look that is due soon is not put off by one that is due later."""
    queue.mark("a", after=1)
    queue.mark("a", after=50)
    clock.time += 1
    assert await at_once(queue.take()) == "a"


async def test_a_failure_is_tried_again_later_each_time(queue: Queue[str], clock: Clock) -> None:
    """Doubled, and forgotten by a success."""
    queue.mark("a", after=0)
    for wait in (FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY):
        assert await at_once(queue.take()) == "a"
        queue.done("a", failed=True)
        clock.time += wait * 0.9
        assert await at_once(queue.take()) is None
        clock.time += wait * 0.1 + 0.001
    assert await at_once(queue.take()) == "a"
    queue.done("a")
    queue.mark("a", after=0)
    clock.time += INTERVAL
    assert await at_once(queue.take()) == "a"


async def test_others_do_not_wait_for_one_that_fails(queue: Queue[str], clock: Clock) -> None:
    """Each key has its own times."""
    queue.mark("a", after=0)
    assert await at_once(queue.take()) == "a"
    queue.done("a", failed=True)
    queue.mark("b", after=0)
    assert await at_once(queue.take()) == "b"


async def test_a_forgotten_key_does_not_come(queue: Queue[str], clock: Clock) -> None:
    """Its object is gone."""
    queue.mark("a", after=0)
    queue.forget("a")
    clock.time += 10
    assert await at_once(queue.take()) is None
    assert len(queue) == 0


async def test_what_was_taken_long_ago_is_not_remembered(queue: Queue[str], clock: Clock) -> None:
    """Standalone pods are workloads too, and a cluster makes millions of them."""
    for number in range(100):
        queue.mark(f"pod-{number}", after=0)
        queue.done(await queue.take())
        clock.time += INTERVAL
    assert len(queue._last) == 1  # nothing else tells


async def test_a_waiting_worker_wakes_for_an_earlier_key() -> None:
    """On the real clock: it waits for a minute, and something is due now."""
    queue: Queue[str] = Queue()
    queue.mark("late", after=60)
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.mark("now", after=0)
    assert await asyncio.wait_for(waiting, 2) == "now"
