"""Status: what the design shows, the last good card through every failure, and no write without news."""

import datetime
from typing import Any

import pytest
from ruamel.yaml import YAML

from kagenti.core import cards
from kagenti.core.cards import Failed, Fetched, Round
from kagenti.core.cards.status import _ADVICE
from kagenti.core.workload import WorkloadRef
from kagenti_api.v1alpha1 import AgentCard
from kagenti_api.v1alpha1.agentcard import FETCH_FAILURES
from tests.unit.core.cards.given import NOW, URL, WEATHER, matched, pod, went
from tests.unit.test_architecture import ROOT

JSON = Any  # statuses

CARD = cards.read(b'{"name": "Weather", "version": "2.1.0"}')
POD = pod("weather-a")
GOOD = went(POD, outcome=Fetched(URL, CARD.hash, CARD), hashes={POD.uid: CARD.hash})


def _status(found: Round, *, observed: JSON, generation: int, now: datetime.datetime) -> JSON:
    """The status that is written."""
    status = cards.plan_card(found, observed=observed, generation=generation, now=now).status
    assert status is not None
    return status


STATUS = _status(GOOD, observed={}, generation=3, now=NOW)
LATER = NOW + datetime.timedelta(seconds=90)


def _conditions(status: JSON) -> dict[str, tuple[str, str]]:
    return {found["type"]: (found["status"], found["reason"]) for found in status["conditions"]}


def test_a_fetched_card() -> None:
    """Every field of the design's example, and what else spec 01 asks for; the model takes it."""
    assert {
        "observedGeneration": 3,
        "protocol": "a2a",
        "lastSyncTime": "2026-11-26T12:00:00Z",
        "card": {"name": "Weather", "version": "2.1.0"},
        "cardHash": CARD.hash,
        "source": {"pod": "weather-a", "url": URL},
        "matchedPods": 1,
        "matchedWorkloads": 1,
        "conditions": [
            {
                "type": "Synced", "status": "True", "reason": "SyncSuccess", "message": "Agent card successfully fetched",
                "observedGeneration": 3, "lastTransitionTime": "2026-11-26T12:00:00Z",
            },
            {
                "type": "Consistent", "status": "True", "reason": "CardsEqual",
                "message": "the ready pods that were asked serve one card",
                "observedGeneration": 3, "lastTransitionTime": "2026-11-26T12:00:00Z",
            },
        ],
    } == STATUS  # fmt: skip
    design = YAML(typ="safe").load((ROOT / "tests/unit/data/crds/valid/design-agentcard.yaml").read_text())
    assert set(design["status"]) <= set(STATUS)
    assert {"type", "status", "reason", "message", "lastTransitionTime"} == set(design["status"]["conditions"][0])
    assert design["status"]["conditions"][0]["message"] == STATUS["conditions"][0]["message"]
    AgentCard.model_validate({**design, "status": STATUS})


@pytest.mark.parametrize("code", FETCH_FAILURES)
def test_failures_keep_the_last_good_card(code: str) -> None:
    """Synced is False with the reason; card, hash, source and time are those of the last success. Every code has advice."""
    failed = cards.failure(POD, URL, code, "it went wrong")
    status = _status(went(POD, outcome=failed), observed=STATUS, generation=3, now=LATER)
    assert {key: status[key] for key in ("card", "cardHash", "source", "lastSyncTime", "protocol")} == {
        key: STATUS[key] for key in ("card", "cardHash", "source", "lastSyncTime", "protocol")
    }
    assert _conditions(status) == {"Synced": ("False", code), "Consistent": ("Unknown", "NotCompared")}
    message = status["conditions"][0]["message"]
    assert message.startswith(f"the card of Pod weather-a at {URL} is not used: it went wrong; ")
    assert message.endswith("; the last good card is kept")
    assert status["conditions"][0]["lastTransitionTime"] == "2026-11-26T12:01:30Z"


def test_advice_is_given_for_codes_that_there_are() -> None:
    """And for no others."""
    assert set(_ADVICE) == set(FETCH_FAILURES)


def test_a_failure_before_any_success_has_no_card() -> None:
    """Nothing is kept, and nothing is said to be."""
    status = _status(went(outcome=Failed("NoPods", "no pod")), observed={}, generation=1, now=NOW)
    assert set(status) == {"observedGeneration", "matchedPods", "matchedWorkloads", "conditions"}
    assert status["conditions"][0]["message"] == "no pod"


def test_an_unchanged_card_stays_as_the_api_server_has_it() -> None:
    """Numbers come back from it in another spelling: the hash decides."""
    observed = {**STATUS, "card": {"name": "Weather", "version": "2.1.0", "n": 1e20}}
    found = went(POD, outcome=Fetched(URL, CARD.hash, None), hashes={POD.uid: CARD.hash})
    assert cards.plan_card(found, observed=observed, generation=3, now=LATER).status is None
    assert _status(found, observed=observed, generation=4, now=LATER)["card"] == observed["card"]


def test_several_workloads() -> None:
    """True, and the reason says who won."""
    other = WorkloadRef("apps", "Deployment", "team1", "payroll")
    newest = pod("payroll-a", minute=9, of="rs-b")
    found = matched(POD, newest, workloads={POD.uid: WEATHER, newest.uid: other})
    hashes = {POD.uid: CARD.hash, newest.uid: CARD.hash}
    went_ = Round(found, cards.choose(found, {}), Fetched(URL, CARD.hash, CARD), hashes)
    status = _status(went_, observed={}, generation=1, now=NOW)
    assert _conditions(status) == {"Synced": ("True", "MultipleWorkloads"), "Consistent": ("True", "CardsEqual")}
    assert (status["matchedPods"], status["matchedWorkloads"]) == (2, 2)
    assert (
        "(Deployment payroll, Deployment weather); the card is that of Deployment payroll"
        in (status["conditions"][0]["message"])
    )


def test_pods_that_disagree() -> None:
    """A condition of its own: the card is synced all the same."""
    other = pod("weather-b", minute=1)
    hashes = {POD.uid: "another", other.uid: CARD.hash}
    found = went(POD, other, outcome=Fetched(URL, CARD.hash, CARD), hashes=hashes)
    status = _status(found, observed={}, generation=1, now=NOW)
    assert _conditions(status) == {"Synced": ("True", "SyncSuccess"), "Consistent": ("False", "CardsDiffer")}
    assert "Pod weather-b and Pod weather-a" in status["conditions"][1]["message"]


@pytest.mark.parametrize(
    ("seconds", "change", "writes", "reason"),
    [
        (0, {}, False, "nothing has changed"),
        (590, {}, False, "lastSyncTime is coarse"),
        (600, {}, True, "but not for ever"),
        (1, {"cardHash": "x", "card": {"name": "Weather"}}, True, "another card"),
        (1, {"cardHash": "x", "card": {**CARD.document, "signatures": [{"signature": "a"}]}}, False, "signed anew"),
        (600, {"cardHash": "x", "card": {**CARD.document, "signatures": [{"signature": "a"}]}}, True, "in time"),
        (1, {"matchedPods": 2}, True, "another number of pods"),
        (1, {"observedGeneration": 2}, True, "another spec"),
        (1, {"source": {"pod": "b", "url": URL}}, True, "another pod"),
        (1, {"conditions": []}, True, "somebody removed the conditions"),
        (1, {"lastSyncTime": "nonsense"}, True, "somebody wrote what is no time"),
    ],
)
def test_what_is_worth_a_write(seconds: int, change: JSON, writes: bool, reason: str) -> None:
    """The status of one more round, against what the object has."""
    now = NOW + datetime.timedelta(seconds=seconds)
    plan = cards.plan_card(GOOD, observed={**STATUS, **change}, generation=3, now=now)
    assert (plan.status is not None) is writes, reason


def test_a_removed_card_is_written_again() -> None:
    """Somebody with the right to do so took it out of status."""
    without = {key: value for key, value in STATUS.items() if key != "card"}
    assert _status(GOOD, observed=without, generation=3, now=NOW) == STATUS


def test_the_same_failure_is_said_once() -> None:
    """However long it lasts: lastSyncTime is that of the last success."""
    failed = cards.failure(POD, URL, "Timeout", "no answer")
    first = _status(went(POD, outcome=failed), observed=STATUS, generation=3, now=LATER)
    days_later = NOW + datetime.timedelta(days=9)
    again = cards.plan_card(went(POD, outcome=failed), observed=first, generation=3, now=days_later)
    assert (again.status, again.events) == (None, ())


def test_people_are_told_of_changes() -> None:
    """The first card, a failure, its end; not of pods that come and go, and of nothing twice."""
    told, observed = [], {}
    failed = cards.failure(POD, URL, "Timeout", "no answer")
    for outcome in (Failed("NoPods", "no pod"), GOOD.outcome, GOOD.outcome, failed, failed, GOOD.outcome):
        pods = () if isinstance(outcome, Failed) and outcome.reason == "NoPods" else (POD,)
        plan = cards.plan_card(went(*pods, outcome=outcome), observed=observed, generation=1, now=NOW)
        told += [(event.type, event.reason) for event in plan.events]
        observed = plan.status or observed
    assert told == [("Normal", "SyncSuccess"), ("Warning", "Timeout"), ("Normal", "SyncSuccess")]
