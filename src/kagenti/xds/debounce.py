"""What must be done again, soon: a burst of changes becomes one, but nobody waits longer than the maximum (spec 05)."""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

T = TypeVar("T", bound=Hashable)

QUIET: Final = 0.02
"""Seconds without a further change after which the work begins."""
MOST: Final = 0.1
"""Seconds after the first change after which it begins anyway."""


class Debounce(Generic[T]):
    """Items that are due one by one: those in a hurry at once, the others together once changes pause.

    Marking is cheap and idempotent. One task takes; ``now`` (monotonic) is the clock, for tests.
    """

    def __init__(self, *, quiet: float = QUIET, most: float = MOST, now: Callable[[], float] = time.monotonic) -> None:
        self._quiet, self._most, self._now = quiet, most, now
        self._marked: dict[T, None] = {}
        self._ready: dict[T, None] = {}
        self._urgent: dict[T, None] = {}
        self._first = self._last = 0.0
        self._overtaken = False
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._marked) + len(self._ready) + len(self._urgent)

    def __contains__(self, item: T) -> bool:
        return item in self._marked or item in self._ready or item in self._urgent

    def mark(self, item: T) -> None:
        """Asks for an item once changes pause."""
        if item in self._ready or item in self._urgent:
            return
        self._last = self._now()
        if not self._marked:
            self._first = self._last
            self._wake.set()
        self._marked[item] = None

    def hurry(self, item: T) -> None:
        """Asks for an item at once."""
        self._marked.pop(item, None)
        self._ready.pop(item, None)
        self._urgent[item] = None
        self._wake.set()

    async def next(self) -> T:
        """Waits until an item is due, and returns it."""
        while True:
            if not self._ready and self._wait() == 0:
                self._marked, self._ready = {}, self._marked
            due = self._turn()
            if due:
                item = next(iter(due))
                del due[item]
                return item
            await self._sleep()

    def _turn(self) -> dict[T, None]:
        """Returns what is served next: those in a hurry, but every other time the others: a storm must not hold them up."""
        if self._urgent and not (self._ready and self._overtaken):
            self._overtaken = True
            return self._urgent
        self._overtaken = False
        return self._ready

    def _wait(self) -> float | None:
        """Returns the seconds until the marked items are due; None while there are none."""
        if not self._marked:
            return None
        return max(0.0, min(self._last + self._quiet, self._first + self._most) - self._now())

    async def _sleep(self) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(self._wait()):
                await self._wake.wait()
        except TimeoutError:
            pass
