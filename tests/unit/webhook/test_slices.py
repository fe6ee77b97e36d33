"""Long answers leave room for others, and end in time."""

import asyncio
from collections.abc import Generator

from kagenti.webhook.slices import in_slices


def counting(ticks: list[float], *, cost: float) -> Generator[None, bool, int]:
    """Steps that each take ``cost`` seconds of a clock; returns how many were allowed."""
    steps = 0
    while (yield) and steps < 1000:
        steps += 1
        ticks[0] += cost
    return steps


async def test_the_budget_ends_it() -> None:
    """A step is told to stop once the budget is spent."""
    ticks = [0.0]
    assert await in_slices(counting(ticks, cost=0.125), budget=1.0, clock=lambda: ticks[0]) == 8


async def test_others_get_their_turn() -> None:
    """The loop turns after every slice, not at the end."""
    ticks = [0.0]
    seen: list[float] = []

    async def other() -> None:
        while ticks[0] < 0.1:
            seen.append(ticks[0])
            await asyncio.sleep(0)

    waiting = asyncio.create_task(other())
    await in_slices(counting(ticks, cost=0.001), budget=0.1, clock=lambda: ticks[0])
    await waiting
    assert len(seen) >= 15


async def test_an_answer_without_steps_comes_at_once() -> None:
    """Most writes need no step at all."""

    def done() -> Generator[None, bool, str]:
        return "done"
        yield

    assert await in_slices(done()) == "done"
