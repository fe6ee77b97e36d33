"""How fast one client may talk: a burst for what a large push brings, then a rate that costs a replica little."""

from typing import Final

# A push of two thousand clusters that are refused as a batch is answered two thousand times (core/ads/delta.py).
BURST: Final = 2000.0
# At some 0.3 ms for a request and its reply (facts §5), a pod that never stops asking takes 6 % of a replica.
RATE: Final = 200.0


class Pace:
    """A token bucket for the requests of one stream; the clock is its caller's, in seconds."""

    __slots__ = ("_credit", "_since")

    def __init__(self) -> None:
        self._credit = BURST
        self._since = 0.0

    def delay(self, now: float) -> float:
        """Returns the seconds to wait before the next request is read; each call counts one."""
        self._credit = min(BURST, self._credit + (now - self._since) * RATE) - 1
        self._since = now
        return max(0.0, -self._credit / RATE)
