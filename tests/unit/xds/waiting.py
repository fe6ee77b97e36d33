"""Waiting for what other tasks do: on conditions, with a deadline."""

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Waits until the condition holds; fails at the deadline."""
    async with asyncio.timeout(seconds):
        while not condition():  # conditions of other people's state have no event
            await asyncio.sleep(0.001)
