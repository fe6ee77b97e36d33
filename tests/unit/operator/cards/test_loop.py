"""The loop over all cards: what it writes and when, whom it asks how often, and what it survives."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kagenti import errors
from kagenti.core.cards import Revision
from kagenti.operator.cards.loop import PER_NAMESPACE, QUIET_AFTER_FETCH, SETTLE
from tests.unit.core.cards.given import pod
from tests.unit.operator.cards.bench import CARD, Bench


@asynccontextmanager
async def _running(*, cards: int = 1, pods: int = 1) -> AsyncIterator[Bench]:
    bench = Bench()
    for number in range(cards):
        bench.put("weather" if number == 0 else f"weather-{number}", listed=True)
    bench.listed()
    for number in range(pods):
        bench.pod(pod(f"pod-{number}", minute=number))
    async with _run(bench):
        yield bench


@asynccontextmanager
async def _run(bench: Bench) -> AsyncIterator[None]:
    task = asyncio.create_task(bench.loop.run())
    try:
        await bench.settle()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class TestWrites:
    """A card that does not change costs nothing."""

    async def test_a_new_card_is_fetched_at_once(self) -> None:
        """And its status is whole."""
        async with _running() as bench:
            assert bench.synced() == ("True", "SyncSuccess")
            assert bench.status()["card"] == {"name": "Weather"}
            assert len(bench.writes) == 1

    async def test_an_unchanged_card_is_written_for_its_time_only(self) -> None:
        """An hour of rounds every 30 s: 120 questions, and a write every ten minutes."""
        async with _running() as bench:
            await bench.turn(3600)
            assert 118 <= len(bench.asked) <= 122
            assert 5 <= len(bench.writes) - 1 <= 6

    async def test_etag_and_spelling_make_no_change(self) -> None:
        """304, then the same card in other words."""
        async with _running() as bench:
            bench.etags["pod-0"] = "v1"
            await bench.turn(90)
            assert bench.known[-1] == ("http://10.1.0.1/card", "v1")
            bench.etags["pod-0"] = "v2"
            bench.answers["pod-0"] = b'{ "name" : "\\u0057eather" }'
            await bench.turn(60)
            assert len(bench.writes) == 1

    async def test_an_agent_that_signs_at_every_request(self) -> None:
        """Its newest signature is kept, but not at every request; its pods agree."""
        async with _running(pods=2) as bench:
            for number in range(40):
                bench.answers["pod-1"] = b'{"name": "Weather", "signatures": [{"signature": "%d"}]}' % number
                await bench.turn(30)
            assert len(bench.writes) <= 4
            assert bench.status()["card"]["signatures"][0]["signature"] > "1"
            assert bench.status()["conditions"][1]["reason"] == "CardsEqual"

    async def test_a_card_with_the_time_in_it(self) -> None:
        """Another at every fetch: it is fetched ever more seldom, and as usual again once it stays the same."""
        async with _running() as bench:
            for number in range(120):
                bench.answers["pod-0"] = b'{"name": "Weather", "now": %d}' % number
                await bench.turn(30)
            assert len(bench.writes) <= 12
            await bench.turn(1300)
            before = len(bench.asked)
            await bench.turn(300)
            assert 9 <= len(bench.asked) - before <= 11

    async def test_a_developer_who_tries_again_and_again(self) -> None:
        """New pods with new cards are rollouts: each is there within seconds."""
        async with _running() as bench:
            for number in range(20):
                bench.no_pod(f"pod-{number}")
                bench.answers[f"pod-{number + 1}"] = b'{"name": "Weather", "try": %d}' % number
                bench.pod(pod(f"pod-{number + 1}"))
                await bench.turn(30)
                assert bench.status()["card"]["try"] == number

    async def test_another_card_is_written(self) -> None:
        """Within its period."""
        async with _running() as bench:
            bench.answers["pod-0"] = b'{"name": "Weather", "version": "2"}'
            await bench.turn(46)
            assert bench.status()["card"]["version"] == "2"
            assert len(bench.writes) == 2

    async def test_a_late_echo_is_no_reason_to_write_twice(self) -> None:
        """The watch is behind: what was written counts."""
        async with _running() as bench:
            bench.echo = False
            bench.answers["pod-0"] = b'{"name": "Other"}'
            await bench.turn(120)
            assert len(bench.writes) == 2

    async def test_a_status_that_somebody_removed_is_made_anew(self) -> None:
        """Though nothing is sent again when the etag holds."""
        async with _running() as bench:
            bench.etags["pod-0"] = "v1"
            await bench.turn(60)
            bench.put(status={})
            await bench.turn(60)
            assert bench.status()["card"] == {"name": "Weather"}

    async def test_a_failed_write_is_tried_again(self) -> None:
        """The API server was away."""
        async with _running() as bench:
            bench.write_error = errors.Unreachable("away")
            bench.answers["pod-0"] = b'{"name": "Other"}'
            await bench.turn(46)
            bench.write_error = None
            await bench.turn(6)
            assert bench.status()["card"] == {"name": "Other"}
            assert bench.loop.writes["failed"] >= 1

    async def test_a_card_deleted_meanwhile_is_no_trouble(self) -> None:
        """Its status is written to nobody."""
        async with _running() as bench:
            bench.write_error = errors.NotFound("gone")
            bench.answers["pod-0"] = b'{"name": "Other"}'
            await bench.turn(46)
            bench.delete()
            await bench.turn(60)
            assert (bench.loop.states(), bench.loop.writes["gone"]) == ({}, 1)


class TestChanges:
    """What happens to cards and pods is looked at soon, but no faster than it is worth."""

    async def test_pods_that_come_late(self) -> None:
        """First none, then one that is not ready, then a ready one: seconds, not periods."""
        async with _running(pods=0) as bench:
            assert bench.synced() == ("False", "NoPods")
            bench.pod(pod("a", ready=False))
            await bench.turn(1.1)
            assert bench.synced() == ("False", "NoReadyPod")
            bench.pod(pod("a"))
            await bench.turn(1.1)
            assert bench.synced() == ("True", "SyncSuccess")

    async def test_the_source_goes_and_another_takes_over(self) -> None:
        """The newest ready pod wins; without any the card is kept."""
        async with _running(pods=2) as bench:
            assert bench.status()["source"]["pod"] == "pod-1"
            bench.no_pod("pod-1")
            await bench.turn(QUIET_AFTER_FETCH + SETTLE)
            assert (bench.status()["source"]["pod"], bench.status()["matchedPods"]) == ("pod-0", 1)
            bench.no_pod("pod-0")
            await bench.turn(QUIET_AFTER_FETCH + SETTLE)
            assert bench.synced() == ("False", "NoPods")
            assert bench.status()["card"] == {"name": "Weather"}

    async def test_pods_that_change_all_the_time_do_not_make_storms(self) -> None:
        """A label that somebody toggles a hundred times: one question in five seconds."""
        async with _running() as bench:
            before = len(bench.asked)
            for number in range(100):
                bench.pod(pod("pod-0", labels={"app": "weather", "n": str(number)}))
                await bench.turn(0.2)
            assert 2 <= len(bench.asked) - before <= 5

    async def test_a_changed_spec_is_looked_at_at_once(self) -> None:
        """Whatever its period; the old selector's pods are forgotten."""
        async with _running() as bench:
            bench.put(spec={"selector": {"matchLabels": {"app": "other"}}, "syncPeriod": "24h"}, generation=2)
            await bench.turn(0.1)
            assert bench.synced() == ("False", "NoPods")
            assert bench.status()["observedGeneration"] == 2

    async def test_a_recreated_card_starts_anew(self) -> None:
        """Another uid of the same name remembers nothing."""
        async with _running() as bench:
            bench.delete()
            bench.put(uid="another")
            await bench.turn(0.1)
            assert bench.synced() == ("True", "SyncSuccess")

    async def test_a_change_during_a_round_is_not_lost(self) -> None:
        """It is looked at afterwards."""
        async with _running() as bench:
            bench.hold = asyncio.Event()
            await bench.turn(46)
            bench.no_pod("pod-0")
            bench.hold.set()
            bench.hold = None
            await bench.turn(QUIET_AFTER_FETCH + SETTLE)
            assert bench.synced() == ("False", "NoPods")

    async def test_host_network(self) -> None:
        """Such a pod is never asked."""
        async with _running(pods=0) as bench:
            bench.pod(pod("a", host_network=True))
            await bench.turn(31)
            assert bench.synced() == ("False", "HostNetwork")
            assert bench.asked == []


class TestFailures:
    """Synced is False with a reason, the card is kept, and the agent is asked more patiently."""

    async def test_reason_and_recovery(self) -> None:
        """5, 10, 20 s, then the period; one write for all of them, one when it is over."""
        async with _running() as bench:
            bench.answers["pod-0"] = "Timeout"
            await bench.turn(46)
            assert bench.synced() == ("False", "Timeout")
            begun = len(bench.asked)
            await bench.turn(600)
            pauses = [
                round(b - a) for (a, _), (b, _) in zip(bench.asked[begun - 1 :], bench.asked[begun:], strict=False)
            ]
            assert pauses[-3:] == [30, 30, 30]
            assert len(bench.writes) == 2
            bench.answers["pod-0"] = CARD
            await bench.turn(31)
            assert bench.synced() == ("True", "SyncSuccess")
            assert [reason for _, reason in bench.told] == ["SyncSuccess", "Timeout", "SyncSuccess"]

    async def test_what_is_no_card(self) -> None:
        """Judged by core, said in its words."""
        async with _running() as bench:
            for body, reason in ((b"<html>", "NotJson"), (b"\xff", "NotUtf8"), (b"{}", "NotACard")):
                bench.answers["pod-0"] = body
                await bench.turn(46)
                assert bench.synced() == ("False", reason)
            assert bench.status()["card"] == {"name": "Weather"}

    async def test_a_defect_concerns_one_card(self) -> None:
        """It is logged as ours; the others go on."""
        async with _running(cards=2, pods=0) as bench:
            bench.put("weather-1", spec={"selector": {"matchLabels": {"app": "other"}}})
            bench.pod(pod("a"))
            bench.pod(pod("b", labels={"app": "other"}))
            bench.answers["b"] = "defect"
            await bench.turn(40)
            assert bench.synced() == ("True", "SyncSuccess")
            assert bench.loop.outcomes["Defect"] >= 1
            assert "a defect" in bench.log.getvalue()

    async def test_owners_that_cannot_be_read_write_nothing(self) -> None:
        """A pod is not taken for a workload of its own meanwhile."""
        async with _running(pods=0) as bench:
            bench.owner_error = errors.Forbidden("no right")
            bench.pod(pod("a"))
            await bench.turn(20)
            assert bench.synced() == ("False", "NoPods")
            bench.owner_error = None
            await bench.turn(6)
            assert bench.synced() == ("True", "SyncSuccess")


class TestFellows:
    """Other pods are compared, with few questions."""

    async def test_each_is_asked_once_and_then_now_and_then(self) -> None:
        """Three pods: the chosen one each round, the others once, and one of them every tenth round."""
        async with _running(pods=3) as bench:
            await bench.turn(3600)
            counts = Counter(name for _, name in bench.asked)
            assert counts["pod-2"] >= 118
            assert 12 <= counts["pod-0"] + counts["pod-1"] <= 15
            assert abs(counts["pod-0"] - counts["pod-1"]) <= 1

    async def test_disagreement_is_seen_and_its_end_too(self) -> None:
        """A condition; the newest pod's card is the one that counts."""
        async with _running(pods=2) as bench:
            bench.answers["pod-0"] = b'{"name": "Older"}'
            await bench.turn(330)
            assert bench.status()["conditions"][1]["reason"] == "CardsDiffer"
            assert bench.status()["card"] == {"name": "Weather"}
            bench.answers["pod-0"] = CARD
            await bench.turn(330)
            assert bench.status()["conditions"][1]["reason"] == "CardsEqual"

    async def test_a_fellows_failure_is_its_own(self) -> None:
        """It is not chosen, so nothing is said."""
        async with _running(pods=2) as bench:
            bench.answers["pod-0"] = "Timeout"
            await bench.turn(330)
            assert (bench.synced()[0], bench.status()["conditions"][1]["status"]) == ("True", "True")

    async def test_the_current_revision_is_asked(self) -> None:
        """An old ReplicaSet's pod may be the newest."""
        async with _running(pods=0) as bench:
            bench.current_revision = Revision("rs-2")
            bench.pod(pod("new", minute=1, of="rs-2"))
            bench.pod(pod("old", minute=2, of="rs-1"))
            await bench.turn(2)
            assert bench.status()["source"]["pod"] == "new"


class TestManyCards:
    """One heap, shares of namespaces, and leaders that change."""

    async def test_a_new_leader_spreads_what_has_a_status(self) -> None:
        """A hundred cards: none at once, all within the period."""
        async with _running(cards=100) as bench:
            assert len(bench.asked) == 100
        bench.asked.clear()
        async with _run(bench):
            assert len(bench.asked) <= 5
            await bench.turn(30.1)
            assert len({when for when, _ in bench.asked}) > 90
        assert len(bench.writes) == 100

    async def test_hung_agents_hold_up_their_own_namespace(self) -> None:
        """Its rounds wait for a place, nobody else's."""
        async with _running(cards=50) as bench:
            bench.hold = asyncio.Event()
            bench.put("other", namespace="team2")
            bench.pod(pod("b", namespace="team2"))
            await bench.turn(60)
            assert bench.in_flight == {"team1": PER_NAMESPACE, "team2": 1}
            bench.hold.set()
            await bench.turn(60)
            assert bench.loop.figures()["running"] == 0

    async def test_nothing_is_said_before_the_caches_are_filled(self) -> None:
        """An empty cache is not an empty cluster."""
        bench = Bench()
        bench.ready = False
        bench.put(listed=True)
        bench.listed()
        async with _run(bench):
            await asyncio.sleep(0.06)
            assert bench.writes == []

    async def test_states_for_metrics(self) -> None:
        """By reason."""
        async with _running(cards=3) as bench:
            assert bench.loop.states() == {"SyncSuccess": 3}
            assert bench.loop.outcomes == {"SyncSuccess": 3}


@pytest.mark.parametrize("period", ["5s", "1m30s", "24h"])
async def test_periods(period: str) -> None:
    """As the spec says, whatever its spelling."""
    async with _running(pods=0) as bench:
        bench.put(spec={"syncPeriod": period}, generation=2)
        bench.pod(pod("a"))
        await bench.turn(10)
        before, seconds = len(bench.asked), {"5s": 5, "1m30s": 90, "24h": 86_400}[period]
        await bench.turn(seconds * 6)
        assert 5 <= len(bench.asked) - before <= 7
        assert json.loads(CARD) == bench.status()["card"]
