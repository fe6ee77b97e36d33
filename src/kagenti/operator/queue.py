"""What must be looked at again: each key once however often it is asked for, one at a time, never too often."""

import asyncio
import collections
import heapq
import time
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

T = TypeVar("T", bound=Hashable)

SETTLE: Final = 0.05
"""Seconds between the first word of a change and the look at it: changes come in flocks."""
INTERVAL: Final = 1.0
"""Seconds between two looks at one key (spec 06: at most one write a second)."""
FIRST_RETRY, LAST_RETRY = 1.0, 60.0
"""Seconds before a key that failed is tried again: the first, doubled up to the last."""


class Queue(Generic[T]):
    """Keys that are due; several workers may take. ``now`` (monotonic) is the clock, for tests."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._due: dict[T, float] = {}
        self._heap: list[tuple[float, int, T]] = []
        self._number = 0
        self._busy: set[T] = set()
        self._last: dict[T, float] = {}
        self._taken: collections.deque[tuple[float, T]] = collections.deque()
        self._failures: dict[T, int] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def mark(self, key: T, *, after: float = SETTLE) -> None:
        """Has a key taken after that many seconds, or later where it was taken a moment ago; the earliest word counts."""
        self._set(key, max(self._now() + after, self._last.get(key, -INTERVAL) + INTERVAL))

    def forget(self, key: T) -> None:
        """Drops a key and what is remembered of it: its object is gone."""
        self._due.pop(key, None)
        self._last.pop(key, None)
        self._failures.pop(key, None)

    async def take(self) -> T:
        """Waits for a key that is due; it is taken by nobody else until ``done``."""
        while True:
            self._wake.clear()
            wait = None
            while self._heap:
                due, _, key = self._heap[0]
                if self._due.get(key) != due or key in self._busy:  # marked anew, forgotten, or put back by done
                    heapq.heappop(self._heap)
                    continue
                wait = due - self._now()
                if wait > 0:
                    break
                heapq.heappop(self._heap)
                del self._due[key]
                self._busy.add(key)
                self._note(key)
                return key
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def done(self, key: T, *, failed: bool = False) -> None:
        """Gives a key back; one that failed is tried again, later each time."""
        self._busy.discard(key)
        if failed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            self._set(key, self._now() + min(FIRST_RETRY * 2 ** (failures - 1), LAST_RETRY), at_least=True)
            return
        self._failures.pop(key, None)
        due = self._due.get(key)
        if due is not None:  # marked while it was taken
            self._push(key, due)

    def _note(self, key: T) -> None:
        """Remembers when a key was taken, and forgets what no longer bounds anything: workloads come and go."""
        now = self._now()
        self._last[key] = now
        self._taken.append((now, key))
        while self._taken[0][0] <= now - INTERVAL:
            at, old = self._taken.popleft()
            if self._last.get(old) == at:
                del self._last[old]

    def _set(self, key: T, due: float, *, at_least: bool = False) -> None:
        known = self._due.get(key)
        if known is not None and known <= due and not at_least:
            return
        self._due[key] = due
        if key not in self._busy:
            self._push(key, due)

    def _push(self, key: T, due: float) -> None:
        self._number += 1
        heapq.heappush(self._heap, (due, self._number, key))
        self._wake.set()
