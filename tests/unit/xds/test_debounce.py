"""Bursts become one, nobody waits longer than the maximum, and who is in a hurry goes first."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from kagenti.xds.debounce import Debounce
from tests.unit.xds.waiting import eventually


class Bench:
    """A debounce with a clock that is turned by hand."""

    def __init__(self) -> None:
        self.time = 0.0
        self.due: Debounce[str] = Debounce(quiet=2.0, most=5.0, now=lambda: self.time)

    def wait(self) -> float | None:
        return self.due._wait()


def test_each_change_puts_it_off_but_not_for_ever() -> None:
    """Two seconds after the last, five after the first."""
    bench = Bench()
    assert bench.wait() is None
    waits = []
    for moment in (0.0, 1.0, 2.0, 3.0, 4.5):
        bench.time = moment
        bench.due.mark(str(moment))
        waits.append(bench.wait())
    assert waits == [2.0, 2.0, 2.0, 2.0, 0.5]


async def test_a_burst_is_taken_together_and_in_order() -> None:
    """Each item once, first marked first."""
    bench = Bench()
    for item in "abcab":
        bench.due.mark(item)
    bench.time = 2.0
    assert [await bench.due.next() for _ in range(3)] == ["a", "b", "c"]
    assert len(bench.due) == 0


async def test_a_change_during_the_work_comes_again() -> None:
    """What was taken and is marked again is due again; what is still in the queue is not queued twice."""
    bench = Bench()
    bench.due.mark("a")
    bench.due.mark("b")
    bench.time = 2.0
    assert await bench.due.next() == "a"
    bench.due.mark("a")
    bench.due.mark("b")
    assert await bench.due.next() == "b"
    assert ("a" in bench.due, "b" in bench.due) == (True, False)


async def test_hurry_overtakes() -> None:
    """A new stream does not wait behind a fleet."""
    bench = Bench()
    bench.due.mark("fleet")
    bench.due.hurry("new")
    assert await bench.due.next() == "new"
    assert "fleet" in bench.due
    bench.due.hurry("fleet")
    assert (await bench.due.next(), len(bench.due)) == ("fleet", 0)


async def test_waiting_ends_when_something_comes() -> None:
    """Real time: a taker that sleeps is woken, by a mark after its pause and by a hurry at once."""
    due: Debounce[str] = Debounce(quiet=0.001, most=0.01)
    taker = asyncio.create_task(due.next())
    await asyncio.sleep(0)
    due.mark("a")
    assert await asyncio.wait_for(taker, 5) == "a"
    slow: Debounce[str] = Debounce(quiet=600, most=600)
    slow.mark("later")
    taker = asyncio.create_task(slow.next())
    await asyncio.sleep(0)
    slow.hurry("now")
    assert await asyncio.wait_for(taker, 5) == "now"
    await eventually(lambda: "later" in slow)


@given(st.lists(st.tuples(st.sampled_from(("mark", "hurry", "next", "turn")), st.sampled_from("abc")), max_size=40))
def test_nothing_is_lost(steps: list[tuple[str, str]]) -> None:
    """Whatever the order: in the end every item that was asked for after it was last taken is there, exactly once."""

    async def run() -> None:
        bench, wanted = Bench(), set[str]()
        for step, item in steps:
            if step == "turn":
                bench.time += 2.5
            elif step == "next" and wanted:
                bench.time += 10
                wanted.discard(await bench.due.next())
            elif step in ("mark", "hurry"):
                getattr(bench.due, step)(item)
                wanted.add(item)
        assert len(bench.due) == len(wanted)
        bench.time += 10
        assert {await bench.due.next() for _ in range(len(wanted))} == wanted

    asyncio.run(run())


async def test_a_storm_of_urgent_items_holds_nothing_up() -> None:
    """What is due is served in turn with them, or a storm of connects would stop every change."""
    bench = Bench()
    bench.due.mark("change")
    bench.due.mark("another")
    bench.time = 2.0
    for number in range(4):
        bench.due.hurry(f"new {number}")
    assert [await bench.due.next() for _ in range(6)] == ["new 0", "change", "new 1", "another", "new 2", "new 3"]
