"""A burst is free, what never stops is slowed down, and a pause is forgiven."""

import pytest

from kagenti.xds.pace import BURST, RATE, Pace


def test_a_burst_is_free_and_then_there_is_a_rate() -> None:
    pace, now, waited = Pace(), 1000.0, 0.0
    for _ in range(int(BURST)):
        assert pace.delay(now) == 0
    for _ in range(100):
        delay = pace.delay(now)
        now, waited = now + delay, waited + delay
    assert waited == pytest.approx(100 / RATE)


def test_a_client_at_rest_has_its_burst_again() -> None:
    pace = Pace()
    for _ in range(int(BURST)):
        pace.delay(1000.0)
    assert pace.delay(1000.0) > 0
    assert pace.delay(1000.0 + BURST / RATE) == 0
