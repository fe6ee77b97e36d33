"""The rollout step by step: what is done in which state of the cluster, and what status says of it."""

# ruff: noqa: E501  # a table reads by line
import dataclasses
import datetime
from dataclasses import dataclass
from typing import Any

import pytest

from kagenti.core import rollout
from kagenti.core.rollout import Evict, Examine, Facts, Memory, Outcome, Policy, RestartWorkload, Webhook
from kagenti.core.workload import OwnerReference
from tests.unit.core.rollout.given import (
    DENIED,
    GOOD,
    NOW,
    controller,
    evicting,
    examined,
    facts,
    pod,
)

A, B, C = pod("weather-a"), pod("weather-b"), pod("weather-c")
NEW = pod("weather-n", "current")
LATER = datetime.timedelta(hours=1)
RESTART = Policy(stale="Restart", may_restart=True)
STALE = pod("weather-s", "stale")


def owned_by(kind: str, group: str = "apps/v1") -> OwnerReference:
    """A controller reference of that kind."""
    return OwnerReference(group, kind, "x", "u")


def ordinal(number: int, **more: Any) -> rollout.Pod:
    """A pod of a StatefulSet."""
    return pod(f"weather-{number}", owner=owned_by("StatefulSet"), **more)


@dataclass(frozen=True)
class Row:
    """Facts and memory, and the action and reasons that must come of them."""

    why: str
    facts: Facts
    memory: Memory = rollout.NOTHING
    action: Any = None
    says: str = ""
    message: str = ""


OLD = pod("weather-z", created=NOW - LATER)
UNREADY = pod("weather-u", ready=False)

CHOICES = [
    Row("nothing to do", facts(pod(state="current"))),
    Row("what nobody asked for is reported by others", facts(A, policy=Policy(bare="None"))),
    Row(
        "opted out, foreign and tampered pods are not ours to replace",
        facts(*(pod(s, s) for s in ("optedOut", "foreign", "tampered", "left"))),
    ),
    Row("first its replacement is looked at", facts(A), action=Examine(A), says="BarePods"),
    Row("then it goes", facts(A), examined(GOOD, A), Evict(A), "BarePods"),
    Row("the one that has waited longest goes first", facts(A, OLD), action=Examine(OLD), says="BarePods"),
    Row("one that serves nobody goes before", facts(OLD, UNREADY), action=Examine(UNREADY), says="BarePods"),
    Row(
        "the highest ordinal of a StatefulSet first",
        facts(ordinal(2), ordinal(10), controller=controller(desired=2, order="ordinal")),
        action=Examine(ordinal(10)),
        says="BarePods",
    ),
    Row(
        "bare before stale",
        facts(pod("weather-1", "stale"), A, policy=Policy(stale="Evict")),
        action=Examine(A),
        says="BarePods StalePods",
    ),
    Row(
        "stale where the policy asks",
        facts(STALE, policy=Policy(stale="Evict")),
        examined(GOOD, STALE),
        Evict(STALE),
        "StalePods",
    ),
    Row("stale is reported only by default", facts(STALE)),
]

LEFT_ALONE = [
    Row("a standalone pod", facts(pod(owner=None)), says="EvictionWithheld", message="nothing would create it anew"),
    Row("a mirror pod", facts(pod(mirror=True)), says="EvictionWithheld", message="its kubelet made it from a file"),
    Row("a static pod by its owner", facts(pod(owner=owned_by("Node", "v1"))), says="EvictionWithheld", message="its kubelet made it"),
    Row("a Job's pod", facts(pod(owner=owned_by("Job", "batch/v1"))), says="EvictionWithheld", message="pods of a Job are work under way"),
    Row("a custom controller's", facts(pod(owner=owned_by("TaskRun", "tekton.dev/v1"))), says="EvictionWithheld", message="not known whether a TaskRun"),
    Row("a template waits for deletions", facts(A, controller=controller(desired=1, held_back="a newer template waits")), says="EvictionWithheld", message="a newer template waits"),
    Row("its replacement would be denied", facts(A), examined(DENIED, A), says="EvictionWithheld", message="pod weather-a is left alone: its replacement would be denied (ProxyUid"),
    Row("that is known without a look", facts(pod(withheld="its replacement would be denied")), says="EvictionWithheld", message="pod weather-a is left alone: its replacement would be denied"),
    Row("the next one is looked at instead", facts(A, B), examined(DENIED, A), Examine(B), "BarePods"),
]  # fmt: skip

WAITS = [
    Row(
        "the webhook is not ready",
        facts(A, webhook=Webhook(ready=False, missing="no endpoint is ready")),
        examined(GOOD, A),
        None,
        "BarePods",
        "waiting for the webhook: no endpoint is ready",
    ),
    Row(
        "a pod of the workload is ending",
        facts(A, pod("weather-b", "current", deleting=True), controller=controller(desired=1)),
        says="BarePods",
        message="waiting for pod weather-b to end",
    ),
    Row(
        "a pod that stays is not Ready",
        facts(A, pod("weather-b", "current", ready=False)),
        says="BarePods",
        message="waiting for pod weather-b to be Ready",
    ),
    Row(
        "pods are missing",
        facts(A, controller=controller(desired=2)),
        says="BarePods",
        message="waiting for its controller to create",
    ),
    Row(
        "its own roll-out is under way",
        facts(A, controller=controller(desired=1, rolling=True)),
        says="BarePods",
        message="waiting for the roll-out of its own controller",
    ),
    Row("enough other workloads are at it", facts(A, busy=10), says="BarePods", message="waiting for its turn"),
    Row(
        "a finished pod is no pod",
        facts(A, pod("weather-b", "current", ready=False, finished=True)),
        action=Examine(A),
        says="BarePods",
    ),
]

RESTARTS = [
    Row("a stale pod stands for all", facts(STALE, policy=RESTART), action=Examine(STALE), says="StalePods"),
    Row("then the workload is restarted", facts(STALE, policy=RESTART), examined(GOOD, STALE), RestartWorkload(), "StalePods"),
    Row("which takes bare ones along", facts(STALE, A, policy=RESTART), examined(GOOD, STALE), RestartWorkload(), "BarePods StalePods"),
    Row("a stale pod that is not Ready is cured by it", facts(dataclasses.replace(STALE, ready=False), policy=RESTART), examined(GOOD, STALE), RestartWorkload(), "StalePods"),
    Row("not allowed here", facts(STALE, policy=Policy(stale="Restart")), says="RestartNotAllowed", message="set operator.allowRestart"),
    Row("not allowed, but bare pods go", facts(STALE, A, policy=Policy(stale="Restart")), examined(GOOD, A), Evict(A), "BarePods RestartNotAllowed"),
    Row("a kind that does not roll itself", facts(STALE, policy=RESTART, controller=controller(desired=1, no_restart="its updateStrategy is OnDelete")), says="RestartNotSupported", message="its updateStrategy is OnDelete"),
    Row("new pods would be denied", facts(STALE, policy=RESTART), examined(DENIED, STALE), says="EvictionWithheld", message="would be denied"),
    Row("never while the webhook is not ready", facts(STALE, policy=RESTART, webhook=Webhook(ready=False, missing="gone")), examined(GOOD, STALE), says="StalePods", message="waiting for the webhook"),
]  # fmt: skip


def reasons(step: rollout.Step) -> str:
    """The reasons of a step's reports."""
    return " ".join(report.reason for report in step.reports)


@pytest.mark.parametrize("row", [*CHOICES, *LEFT_ALONE, *WAITS, *RESTARTS], ids=lambda row: row.why)
def test_step(row: Row) -> None:
    """Each row: the action, the reasons, and a part of the first message."""
    step = rollout.step(row.facts, row.memory)
    assert (step.action, reasons(step)) == (row.action, row.says), row.why
    assert row.message in (step.reports[0].message if step.reports else "")


GONE = facts(B, controller=controller(desired=2))
UNDER_WAY = [
    Row("accepted, not seen yet", facts(A, B), message="waiting for the eviction of pod weather-a"),
    Row("the pod is ending", facts(dataclasses.replace(A, deleting=True), B), message="waiting for pod weather-a to end"),
    Row("the pod is gone", GONE, message="waiting for a replacement of pod weather-a"),
    Row("its replacement is not Ready", facts(B, dataclasses.replace(NEW, ready=False)), message="waiting for pod weather-n to be Ready"),
    Row("its replacement is Ready: the next one", facts(B, NEW), action=Examine(B)),
    Row("a StatefulSet's replacement has the same name", facts(B, pod("weather-a", "current", uid="new")), action=Examine(B)),
    Row("scaled down meanwhile: nothing is missing", facts(B), action=Examine(B)),
    Row("it ended as Failed: over", facts(dataclasses.replace(A, finished=True), B, NEW), action=Examine(B)),
]  # fmt: skip


@pytest.mark.parametrize("row", UNDER_WAY, ids=lambda row: row.why)
def test_while_an_eviction_is_under_way(row: Row) -> None:
    """A was evicted, B is bare too: B has to wait until A's replacement is Ready."""
    step = rollout.step(row.facts, evicting(A, B))
    assert step.action == row.action
    assert row.message in step.reports[0].message


def test_an_eviction_without_effect_is_tried_again_later() -> None:
    """An answer that was lost may have been a refusal."""
    told = rollout.told(evicting(A), Outcome("Unknown", "no answer"), now=NOW, pace=rollout.PACE)
    deadline = NOW + rollout.PACE.accepted_within
    assert rollout.step(facts(A), told).wake == deadline
    step = rollout.step(facts(A, now=deadline), told)
    assert step.action is None
    assert step.wake == deadline + rollout.PACE.first_retry
    assert rollout.step(facts(A, now=step.wake), step.memory).action == Examine(A)


def test_a_replacement_that_comes_up_bare_again_ends_the_attempt() -> None:
    """No second pod is lost to a webhook that is not called, whatever the cause."""
    step = rollout.step(facts(B, pod("weather-n", "bare")), evicting(A, B))
    assert (step.action, reasons(step)) == (None, "ReplacementBare")
    assert "weather-n" in step.reports[0].message
    again = rollout.step(facts(B, pod("weather-n", "bare"), now=NOW + LATER), step.memory)
    assert (again.action, again.reports) == (None, step.reports)


def test_what_was_given_up_is_taken_up_under_other_circumstances() -> None:
    """Somebody has mended what decides, or tries to."""
    given_up = rollout.step(facts(B, pod("weather-n")), evicting(A, B)).memory
    assert rollout.step(facts(B, circumstances="two"), given_up).action == Examine(B)


def test_what_was_given_up_is_over_with_the_last_such_pod() -> None:
    """Somebody has replaced them by hand."""
    given_up = rollout.step(facts(B, pod("weather-n")), evicting(A, B)).memory
    step = rollout.step(facts(NEW), given_up)
    assert (step.action, step.reports, step.memory.given_up) == (None, (), None)


def test_a_new_leader_finds_in_the_condition_what_was_given_up() -> None:
    """It evicts nothing that its predecessor would not."""
    report = rollout.step(facts(B, pod("weather-n")), evicting(A, B)).reports[0]
    memory = rollout.recalled(report.reason, report.message, "one")
    step = rollout.step(facts(B), memory)
    assert (step.action, step.reports) == (None, (report,))


@pytest.mark.parametrize("reason", ["BarePods", "NotReplaced", "EvictionWithheld"])
def test_other_conditions_stop_no_new_leader(reason: str) -> None:
    """What is waited for is seen in the cluster again; only what was given up has to be remembered."""
    assert rollout.recalled(reason, "some words", "one") == rollout.NOTHING


def test_a_stale_replacement_ends_the_attempt_too() -> None:
    """Otherwise two versions of the webhook would have pods evicted for ever."""
    stale = Policy(stale="Evict")
    begun = rollout.step(facts(STALE, policy=stale), examined(GOOD, STALE)).memory
    step = rollout.step(facts(pod("weather-n", "stale"), policy=stale), begun)
    assert (step.action, reasons(step)) == (None, "ReplacementStale")


def test_what_came_up_stale_is_taken_up_again_ever_later() -> None:
    """Replicas of the webhook learn of a new CA or version later than the operator, but they do."""
    policy, now, memory = Policy(stale="Evict"), NOW, rollout.recalled("ReplacementStale", "said before", "one")
    waits = []
    for number in range(4):
        old = pod(f"weather-{number}", "stale")
        step = rollout.step(facts(old, policy=policy, now=now), memory)
        assert (step.action, reasons(step)) == (None, "ReplacementStale")
        assert step.memory.again_at is not None
        waits.append((step.memory.again_at - now).total_seconds() / 60)
        now = step.memory.again_at
        step = rollout.step(facts(old, policy=policy, now=now), step.memory)
        assert step.action == Examine(old)
        evicted = rollout.step(facts(old, policy=policy, now=now), rollout.examined(step.memory, old, GOOD))
        assert evicted.action == Evict(old)
        memory = evicted.memory
    assert waits == [10, 20, 40, 80]
    done = rollout.step(facts(NEW, policy=policy, now=now), memory)
    assert done.memory.relapses == 0


def test_a_pod_that_nobody_replaces_is_said_and_no_other_goes() -> None:
    """A quota, or another webhook; it goes on by itself once the pod is there."""
    seen = rollout.step(GONE, evicting(A, B)).memory
    late = dataclasses.replace(GONE, now=NOW + LATER)
    step = rollout.step(late, seen)
    assert (step.action, reasons(step)) == (None, "NotReplaced")
    mended = facts(B, NEW, now=NOW + LATER)
    assert rollout.step(mended, step.memory).action == Examine(B)


def test_where_nothing_says_how_many_pods_there_should_be_that_is_the_end() -> None:
    """The next one would not come back either."""
    unknown = controller(desired=None)
    seen = rollout.step(facts(B, controller=unknown), evicting(A, B)).memory
    step = rollout.step(facts(B, controller=unknown, now=NOW + LATER), seen)
    assert (step.action, reasons(step)) == (None, "NotReplaced")
    assert step.memory.given_up is not None


REFUSALS: list[tuple[str, Outcome, int, str]] = [
    ("a budget says no, and when to come back", Outcome("Refused", "violates the budget", 10), 10, "violates the budget"),
    ("a budget says no", Outcome("Refused", "violates the budget"), 5, "violates the budget"),
    ("an absurd Retry-After is bounded", Outcome("Refused", "busy", 1e6), 300, "busy"),
    ("the right is missing", Outcome("Forbidden", "may not"), 300, "may not"),
    ("gone meanwhile", Outcome("Gone"), 5, "being replaced"),
    ("changed meanwhile", Outcome("Conflict"), 5, "being replaced"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "outcome", "seconds", "message"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_refusals_are_waited_out(why: str, outcome: Outcome, seconds: int, message: str) -> None:
    """The pod stays, status says why, and its replacement is looked at anew before the next try."""
    told = rollout.told(evicting(A), outcome, now=NOW, pace=rollout.PACE)
    step = rollout.step(facts(A), told)
    assert (step.action, step.wake) == (None, NOW + datetime.timedelta(seconds=seconds)), why
    assert message in step.reports[0].message
    assert rollout.step(facts(A, now=step.wake), step.memory).action == Examine(A)


def test_refusals_in_a_row_are_waited_out_longer_and_longer() -> None:
    """Doubled up to the last; an acceptance begins anew."""
    memory, waits = evicting(A), []
    for _ in range(9):
        memory = rollout.told(memory, Outcome("Refused"), now=NOW, pace=rollout.PACE)
        assert memory.not_before is not None
        waits.append(int((memory.not_before - NOW).total_seconds()))
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert rollout.told(memory, Outcome("Accepted"), now=NOW, pace=rollout.PACE).refusals == 0


def test_a_replacement_that_never_gets_ready_holds_up_its_own_workload_only() -> None:
    """Ten sick workloads must not stop the cluster."""
    memory = evicting(A, B)
    assert memory.occupies(NOW, rollout.PACE)
    assert not memory.occupies(NOW + LATER, rollout.PACE)
    assert rollout.step(facts(B, dataclasses.replace(NEW, ready=False), now=NOW + LATER), memory).action is None


def restarted() -> Memory:
    """The memory after a restart of one stale pod's workload, which became generation 2."""
    begun = rollout.step(facts(STALE, policy=RESTART), examined(GOOD, STALE)).memory
    return rollout.told(begun, Outcome("Accepted", generation=2), now=NOW, pace=rollout.PACE)


AFTER = controller(desired=1, observed=2)
AFTER_RESTART = [
    Row("not seen yet", facts(STALE, policy=RESTART), says="StalePods", message="its controller to see the restart"),
    Row("rolling", facts(STALE, policy=RESTART, controller=dataclasses.replace(AFTER, rolling=True)), says="StalePods", message="the roll-out of its own controller"),
    Row("over", facts(NEW, policy=RESTART, controller=AFTER)),
    Row("over, and nothing changed", facts(STALE, policy=RESTART, controller=AFTER), says="NotReplaced", message="pod weather-s is the one from before"),
    Row("the new ones are stale again", facts(pod("weather-n", "stale"), policy=RESTART, controller=AFTER), says="ReplacementStale"),
    Row("the new ones are bare", facts(pod("weather-n", "bare"), STALE, policy=RESTART, controller=AFTER), says="ReplacementBare"),
]  # fmt: skip


@pytest.mark.parametrize("row", AFTER_RESTART, ids=lambda row: row.why)
def test_after_a_restart(row: Row) -> None:
    """A workload is restarted once; what does not help is given up."""
    step = rollout.step(row.facts, restarted())
    assert step.action is None
    assert row.says in reasons(step).split() or not row.says
    assert any(row.message in report.message for report in step.reports) or not row.message


def test_a_restart_without_an_answer_is_tried_again_later() -> None:
    """It may have been carried out, or refused in words that were lost."""
    begun = rollout.step(facts(STALE, policy=RESTART), examined(GOOD, STALE)).memory
    memory = rollout.told(begun, Outcome("Unknown", "no answer"), now=NOW, pace=rollout.PACE)
    deadline = NOW + rollout.PACE.accepted_within
    assert rollout.step(facts(STALE, policy=RESTART), memory).wake == deadline
    step = rollout.step(facts(STALE, policy=RESTART, now=deadline), memory)
    assert (step.action, reasons(step)) == (None, "StalePods")
    assert "no answer" in step.reports[0].message
    assert rollout.step(facts(STALE, policy=RESTART, now=step.wake), step.memory).action == Examine(STALE)


POLICIES: list[tuple[str, Any, Policy]] = [
    ("absent", {}, Policy("Evict", "None")),
    ("null", {"rollout": None}, Policy("Evict", "None")),
    ("given", {"rollout": {"bare": "None", "stale": "Restart"}}, Policy("None", "Restart")),
    ("half given", {"rollout": {"stale": "Evict"}}, Policy("Evict", "Evict")),
    ("no values of the API", {"rollout": {"bare": "Restart", "stale": ["Evict"]}}, Policy("Evict", "None")),
]


@pytest.mark.parametrize(("why", "spec", "expected"), POLICIES, ids=[row[0] for row in POLICIES])
def test_policy_of_an_agent_runtime(why: str, spec: Any, expected: Policy) -> None:
    """Defaults as the API states them; whether a restart is allowed is the installation's word."""
    assert rollout.policy_of(spec, may_restart=False) == expected, why
    assert rollout.policy_of(spec, may_restart=True).may_restart
