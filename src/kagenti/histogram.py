"""A histogram of seconds: plain numbers on the hot path, Prometheus buckets when somebody scrapes."""

import bisect
from collections.abc import Sequence


class Histogram:
    """Observations in seconds by upper bound; ``bounds`` are ascending, infinity is added."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Adds one observation."""
        self.counts[bisect.bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Returns the cumulative counts as Prometheus wants them, by upper bound."""
        rows: list[tuple[str, float]] = []
        running = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            running += count
            rows.append((bound, running))
        return rows
