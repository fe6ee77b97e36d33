"""Runs a long answer of core in slices, so that no pod waits for it, and ends it when its caller would not wait longer."""

import asyncio
import time
from collections.abc import Callable, Generator
from typing import Final, TypeVar

SLICE: Final = 0.005
"""Seconds at a time: what a pod's decision may wait for its turn."""
BUDGET: Final = 1.0
"""Seconds in all, other work between the slices included; the API server gives up after 5."""

_Answer = TypeVar("_Answer")


async def in_slices(
    steps: Generator[None, bool, _Answer],
    *,
    budget: float = BUDGET,
    clock: Callable[[], float] = time.monotonic,
) -> _Answer:
    """Returns what the steps return; each is told whether the budget still allows another one."""
    began = turn = clock()
    try:
        next(steps)
        while True:
            if clock() - turn >= SLICE:
                await asyncio.sleep(0)
                turn = clock()
            steps.send(clock() - began < budget)
    except StopIteration as end:
        answer: _Answer = end.value
        return answer
