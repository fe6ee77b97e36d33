"""The driver: steps what is due, tells what is new, and lets one sick workload hold up nobody."""

import asyncio
import datetime
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from kagenti import errors
from kagenti.core.rollout import Evict, Outcome, Pod, Policy, Prospect, Report, RestartWorkload, Webhook
from kagenti.core.workload import WorkloadRef
from kagenti.operator.driver import Driver, Seen
from tests.unit.core.rollout.given import DENIED, GOOD, NOW, controller, pod

JSON = Any  # a raw pod

A = pod("weather-a")
RESTART = Policy(stale="Restart", may_restart=True)


def workload(name: str) -> WorkloadRef:
    """A Deployment."""
    return WorkloadRef("apps", "Deployment", "team1", name)


class Readiness:
    """A webhook that is ready unless a test says otherwise."""

    def __init__(self) -> None:
        self.scope: str | None = "scope"
        self.answer = Webhook(ready=True)
        self.asked = 0

    async def __call__(self) -> Webhook:
        """Answers."""
        self.asked += 1
        return self.answer


class World:
    """The API server and the clock; remembers what was asked for, and answers with the next outcome, or accepts."""

    def __init__(self) -> None:
        self.now = NOW
        self.readiness = Readiness()
        self.deeds: list[str] = []
        self.told: list[str] = []
        self.outcomes: list[Outcome] = []
        self.prospect: Prospect | Exception = GOOD
        self.missing: set[str] = set()
        self.driver = Driver(
            self,
            self.examine,
            self.readiness,
            told=lambda target: self.told.append(target.name),
            acted=self.acted,
            logger=logging.getLogger("test"),
            clock=lambda: self.now,
        )

    def acted(self, target: WorkloadRef, action: Evict | RestartWorkload) -> None:
        """Tells people."""
        self.deeds.append(f"tell {target.name}")

    async def examine(self, target: WorkloadRef, raw: JSON) -> Prospect:
        """Says what the replacement would be."""
        if isinstance(self.prospect, Exception):
            raise self.prospect
        return self.prospect

    async def read_pod(self, namespace: str, name: str) -> JSON | None:
        """Reads a pod."""
        self.deeds.append(f"read {name}")
        return None if name in self.missing else {"metadata": {"name": name, "uid": name}}

    async def evict(self, namespace: str, name: str, uid: str) -> Outcome:
        """Evicts a pod."""
        self.deeds.append(f"evict {name}")
        return self.outcomes.pop(0) if self.outcomes else Outcome("Accepted")

    async def restart(self, target: WorkloadRef, *, uid: str, now: datetime.datetime) -> Outcome:
        """Restarts a workload."""
        self.deeds.append(f"restart {target.name} {uid}")
        return Outcome("Accepted", generation=2)

    def observe(self, *pods: Pod, name: str = "weather", **more: Any) -> None:
        """Shows these pods of a workload."""
        values: dict[str, Any] = {
            "target": workload(name),
            "uid": f"uid-{name}",
            "pods": pods,
            "controller": controller(desired=len(pods)),
            "policy": Policy(),
            "circumstances": "one",
            **more,
        }
        self.driver.observe(Seen(**values))

    async def until(self, condition: Callable[[], object]) -> None:
        """Waits until it holds; fails after 5 s."""
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)

    async def settled(self) -> None:
        """Waits until nothing is due; a hundred turns of the loop are more than one pass takes."""
        for _ in range(100):
            await asyncio.sleep(0)

    def reasons(self, name: str = "weather") -> list[str]:
        """The reasons of a workload's reports."""
        return [report.reason for report in self.reports(name)]

    def reports(self, name: str = "weather") -> tuple[Report, ...]:
        """The reports on a workload; none before its first step."""
        return self.driver.reports(workload(name)) or ()


@asynccontextmanager
async def running() -> AsyncIterator[World]:
    """A running driver; fails when its task has died."""
    world = World()
    task = asyncio.create_task(world.driver.run())
    try:
        yield world
        assert not task.done(), f"the driver ended: {task}"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_bare_pod_is_looked_at_then_evicted_and_said() -> None:
    """Once, however often the same is observed."""
    async with running() as world:
        world.observe(A)
        await world.until(lambda: len(world.deeds) == 3)
        world.observe(A)
        await world.settled()
        assert world.deeds == ["read weather-a", "evict weather-a", "tell weather"]
        assert (world.told, world.reasons()) == (["weather", "weather"], ["BarePods"])
        assert world.driver.under_way() == 1


async def test_a_pod_whose_replacement_would_be_denied_stays() -> None:
    """Nothing but a read is sent."""
    async with running() as world:
        world.prospect = DENIED
        world.observe(A)
        await world.until(lambda: world.reasons() == ["EvictionWithheld"])
        assert world.deeds == ["read weather-a"]


async def test_stale_pods_are_restarted_by_the_uid_of_their_workload() -> None:
    """Where that is asked for and allowed."""
    async with running() as world:
        world.observe(pod("weather-s", "stale"), policy=RESTART)
        await world.until(lambda: len(world.deeds) == 3)
        assert world.deeds == ["read weather-s", "restart weather uid-weather", "tell weather"]


async def test_a_workload_without_such_pods_costs_no_question() -> None:
    """A quiet cluster is asked nothing, however often its pods change."""
    async with running() as world:
        world.observe(pod(state="current"))
        await world.settled()
        world.observe(pod(state="current"), pod("weather-b", "stale", ready=False))
        await world.settled()
        assert (world.deeds, world.told, world.readiness.asked) == ([], [], 0)


async def test_nothing_is_done_before_it_is_known_whom_the_webhook_is_called_for() -> None:
    """It is asked again when the wait is over."""
    async with running() as world:
        world.readiness.scope = None
        world.observe(A)
        await world.settled()
        assert world.deeds == []
        world.readiness.scope = "scope"
        world.now += datetime.timedelta(seconds=5)
        world.observe(A, name="other")  # wakes the driver, whose clock does not run by itself
        await world.until(lambda: "evict weather-a" in world.deeds)


async def test_a_refusal_is_waited_out() -> None:
    """And the pod is looked at again before the next try."""
    async with running() as world:
        world.outcomes = [Outcome("Refused", "the budget", 10)]
        world.observe(A)
        await world.until(lambda: world.told.count("weather") == 2)
        assert "the budget" in world.reports()[0].message
        world.now += datetime.timedelta(seconds=10)
        world.observe(pod(state="current"), name="other")
        await world.until(lambda: len(world.deeds) == 5)
        assert world.deeds == ["read weather-a", "evict weather-a"] * 2 + ["tell weather"]


async def test_a_pod_that_is_gone_meanwhile_is_left_to_the_next_look() -> None:
    """No eviction is sent for a name that another pod may have by now."""
    async with running() as world:
        world.missing = {"weather-a"}
        world.observe(A)
        await world.settled()
        assert world.deeds == ["read weather-a"]


async def test_what_cannot_be_found_out_is_tried_again_later() -> None:
    """An API server that is away decides nothing."""
    async with running() as world:
        world.prospect = errors.Unreachable("no answer")
        world.observe(A)
        await world.until(lambda: "no answer" in str(world.reports()))
        assert world.deeds == ["read weather-a"]


async def test_no_more_workloads_at_once_than_the_pace_allows() -> None:
    """The eleventh waits for its turn."""
    async with running() as world:
        for number in range(11):
            world.observe(A, name=f"w{number:02}")
        await world.until(lambda: "its turn" in str(world.reports("w10")))
        assert world.deeds.count("evict weather-a") == world.driver.under_way() == 10


async def test_a_defect_holds_up_its_own_workload_only() -> None:
    """It is logged, and tried again after a while."""
    async with running() as world:
        world.prospect = RuntimeError("a defect")
        world.observe(A, name="sick")
        await world.until(lambda: world.deeds == ["read weather-a"])
        world.prospect = GOOD
        world.observe(A, name="well")
        await world.until(lambda: "evict weather-a" in world.deeds)
        assert world.reasons("well") == ["BarePods"]


async def test_what_was_given_up_before_stays_given_up() -> None:
    """The condition says so; the former leader's memory is gone."""
    async with running() as world:
        world.observe(A, condition=("ReplacementBare", "replacement weather-n came up without sidecars"))
        await world.until(lambda: world.reasons() == ["ReplacementBare"])
        assert world.deeds == []


async def test_what_an_earlier_leader_said_is_taken_back_where_it_holds_no_more() -> None:
    """Status is looked at again, though there is nothing to say now."""
    async with running() as world:
        world.observe(pod(state="current"), condition=("EvictionWithheld", "1 of 1 pods: why"))
        await world.until(lambda: world.told == ["weather"])
        assert world.reasons() == []


async def test_our_own_word_counts_more_than_the_condition() -> None:
    """Status is written late; what was given up and has been mended is not given up again."""
    given_up = ("ReplacementBare", "replacement weather-n came up without sidecars")
    async with running() as world:
        world.observe(A, condition=given_up)
        await world.until(lambda: world.reasons() == ["ReplacementBare"])
        world.observe(pod(state="current"), condition=given_up)
        await world.until(lambda: world.reasons() == [])
        world.observe(A, condition=given_up)
        await world.until(lambda: "evict weather-a" in world.deeds)


async def test_a_workload_that_is_forgotten_frees_its_place() -> None:
    """Its AgentRuntime is gone."""
    async with running() as world:
        world.observe(A)
        await world.until(lambda: world.driver.under_way() == 1)
        world.driver.forget(workload("weather"))
        assert (world.driver.under_way(), world.reasons()) == (0, [])
