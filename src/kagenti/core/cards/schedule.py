"""When each card is fetched next: one heap for all of them, and a slot of its own for each in every period.

A card's slot follows from its uid. So a thousand cards are spread evenly from the first period on, whatever made them
due together (a new leader, a rollout of everything), and stay so.
"""

import hashlib
import heapq
import math
from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

JITTER: Final = 0.05
"""Share of a period by which a fetch may come early: so that it never keeps step with anything else of that period."""
FIRST_RETRY: Final = 5.0
"""Seconds before the first retry after a failure, doubled with each, up to the period or LAST_RETRY."""
LAST_RETRY: Final = 300.0
LONGEST_CALM: Final = 600.0
"""Seconds for which a card that never stays the same is left alone at most."""


class Schedule(Generic[K]):
    """Keys by the time they are due, in seconds of the caller's clock; one entry of the heap counts for each key."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        self._due: dict[K, tuple[float, int]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._due)

    def put(self, key: K, due: float) -> None:
        """Has a key come due then, instead of at the time it had."""
        self._count += 1
        self._due[key] = (due, self._count)
        heapq.heappush(self._heap, (due, self._count, key))
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [(*self._due[key], key) for key in self._due]
            heapq.heapify(self._heap)

    def hasten(self, key: K, due: float) -> None:
        """Has a key come due then, unless it does so earlier."""
        known = self._due.get(key)
        if known is None or due < known[0]:
            self.put(key, due)

    def remove(self, key: K) -> None:
        """Forgets a key."""
        self._due.pop(key, None)

    def next_due(self) -> float | None:
        """Returns when the first key comes due; None without one."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][:2]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> Iterator[K]:
        """Yields the keys that are due, and forgets each."""
        while (due := self.next_due()) is not None and due <= now:
            key = heapq.heappop(self._heap)[2]
            del self._due[key]
            yield key


def phase(uid: str) -> float:
    """Returns the place of an object within every period, between 0 and 1."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:8]) / 2**64


def next_slot(now: float, *, uid: str, period: float, jitter: float) -> float:
    """Returns when a card is fetched after ``now``: at its first slot that is at least half a period away.

    Args:
        now: Seconds.
        uid: Of the object.
        period: Seconds.
        jitter: Between 0 and 1, thrown by the caller.
    """
    return max(now, _slot(now + period / 2, uid, period) - JITTER * period * jitter)


def first_slot(now: float, *, uid: str, period: float) -> float:
    """Returns when a card that has been fetched before is fetched by a process that has just begun: within a period."""
    return _slot(now, uid, period)


def retry(now: float, *, failures: int, period: float, jitter: float) -> float:
    """Returns when a card is asked for again after so many failures in a row, counted from 1."""
    pause = min(FIRST_RETRY * 2.0 ** min(failures - 1, 10), LAST_RETRY, period)
    return now + pause * (1 - JITTER * jitter)


def calmed(changes: int, *, period: float) -> float:
    """Returns the seconds for which a card is left alone that was another at so many fetches in a row.

    A card with the time in it would be written at every fetch, for ever: nothing that changes so often is of use there.
    """
    return min(period * 2.0 ** min(changes - 1, 10), LONGEST_CALM) if changes > 1 else 0.0


def _slot(begin: float, uid: str, period: float) -> float:
    """Returns the first slot at or after a time."""
    offset = phase(uid) * period
    return offset + math.ceil((begin - offset) / period) * period
