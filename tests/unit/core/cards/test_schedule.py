"""When cards are fetched: by the heap, spread evenly, with nobody's time lost."""

import statistics
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti.core.cards import Schedule, calmed, first_slot, next_slot, retry


def test_keys_come_due_in_order_and_once() -> None:
    """A key is due at its last time only."""
    schedule: Schedule[str] = Schedule()
    for key, due in (("a", 3.0), ("b", 1.0), ("c", 2.0), ("a", 0.5)):
        schedule.put(key, due)
    assert (list(schedule.take(0.4)), schedule.next_due()) == ([], 0.5)
    assert list(schedule.take(2.0)) == ["a", "b", "c"]
    assert (schedule.next_due(), len(schedule)) == (None, 0)


def test_hastening_never_delays() -> None:
    """A change brings a card forward, or nothing."""
    schedule: Schedule[str] = Schedule()
    schedule.put("a", 2.0)
    schedule.hasten("a", 3.0)
    assert schedule.next_due() == 2.0
    schedule.hasten("a", 1.0)
    schedule.hasten("b", 1.5)
    assert list(schedule.take(9)) == ["a", "b"]


def test_removed_keys_do_not_come_due() -> None:
    """Deleted objects."""
    schedule: Schedule[str] = Schedule()
    schedule.put("a", 1.0)
    schedule.remove("a")
    schedule.remove("unknown")
    assert (list(schedule.take(2)), schedule.next_due()) == ([], None)


def test_the_heap_does_not_grow_with_changes() -> None:
    """Entries that no longer count are swept."""
    schedule: Schedule[int] = Schedule()
    for turn in range(10_000):
        schedule.put(turn % 10, 10_000.0 - turn)
    assert len(schedule._heap) < 100
    assert sorted(schedule.take(20_000)) == list(range(10))


@given(now=st.floats(0, 1e7), period=st.floats(5, 86_400), jitter=st.floats(0, 1), uid=st.uuids().map(str))
def test_slots(now: float, period: float, jitter: float, uid: str) -> None:
    """The next is half a period to one and a half away (less the jitter), the first of a new process within one."""
    ahead = next_slot(now, uid=uid, period=period, jitter=jitter) - now
    assert 0.44 * period <= ahead <= 1.51 * period
    assert -0.01 <= first_slot(now, uid=uid, period=period) - now <= 1.01 * period


def test_a_thousand_cards_that_came_at_once_are_spread() -> None:
    """All due now, and from the next period on as even as chance allows: 33 a second, never 70."""
    schedule: Schedule[str] = Schedule()
    for n in range(1000):
        schedule.put(f"uid-{n}", 0.0)
    starts: list[float] = []
    while (now := schedule.next_due() or 0.0) < 140:
        for uid in list(schedule.take(now)):
            starts.append(now)
            schedule.put(uid, next_slot(now, uid=uid, period=30, jitter=(len(starts) * 0.37) % 1))
    seconds = Counter(int(start) for start in starts if 45 < start < 135)
    assert max(seconds.values()) < 70
    assert statistics.pstdev(seconds.values()) < 10


@pytest.mark.parametrize(
    ("failures", "period", "pause"),
    [(1, 30, 5), (2, 30, 10), (3, 30, 20), (4, 30, 30), (99, 30, 30), (1, 5, 5), (7, 86_400, 300), (2000, 86_400, 300)],
)
def test_retries_grow_up_to_the_period(failures: int, period: float, pause: float) -> None:
    """And a card that is fetched once a day is not without one until tomorrow."""
    assert retry(100, failures=failures, period=period, jitter=0) == 100 + pause
    assert retry(100, failures=failures, period=period, jitter=1) == pytest.approx(100 + pause * 0.95)


@pytest.mark.parametrize(
    ("changes", "period", "pause"),
    [(0, 30, 0), (1, 30, 0), (2, 30, 60), (3, 30, 120), (9, 30, 600), (5000, 5, 600), (2, 86_400, 600)],
)
def test_restless_cards_are_left_alone(changes: int, period: float, pause: float) -> None:
    """One change is news, one at every fetch is noise."""
    assert calmed(changes, period=period) == pause
