"""What is known of a card → its status where that is worth a write, and the events to tell.

The last good card stays through every failure. An unchanged status is written again only for ``lastSyncTime``, and that
seldom: a write of every card at every fetch would be most of what the API server does (spec 06).
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kagenti.core.cards.document import Card, unsigned
from kagenti.core.cards.pods import AgentPod, Choice, Matched, named
from kagenti.core.reconcile import Condition, Event, Plan
from kagenti.core.reconcile.conditions import as_written, find, observed_in
from kagenti_api.v1alpha1.agentcard import (
    A2A,
    CARDS_DIFFER,
    CARDS_EQUAL,
    CONSISTENT,
    MULTIPLE_WORKLOADS,
    NO_PODS,
    NO_READY_POD,
    NOT_COMPARED,
    SYNC_SUCCESS,
    SYNCED,
)

JSON = Any  # statuses and conditions, as received and as written

COARSE: Final = 600.0
"""Seconds that ``lastSyncTime`` may be behind while nothing else changes."""

_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_KEPT: Final = ("protocol", "lastSyncTime", "card", "source", "cardHash")
_COMPARED: Final = ("observedGeneration", "protocol", "source", "matchedPods", "matchedWorkloads")
_QUIET: Final = (NO_PODS, NO_READY_POD)  # states that come and go with every rollout
_ADVICE: Final[Mapping[str, str]] = {
    "NotFound": "does the agent serve its card there? See spec.endpoint",
    "Redirect": "serve the card at that very path, or name its path in spec.endpoint.path",
    "BadStatus": "see the agent's log",
    "Encoded": "serve the card without Content-Encoding where it is asked for with Accept-Encoding: identity",
    "TooLarge": "make the card smaller",
    "TooComplex": "make the card simpler",
    "Timeout": "see the agent's log, and NetworkPolicies between the operator and the pod",
    "Tls": "does the agent speak TLS on that port? See spec.endpoint.scheme",
    "Unreachable": "does the agent listen on that port? See spec.endpoint.port, and NetworkPolicies",
    "BadAnswer": "does the agent speak HTTP on that port? See spec.endpoint",
    "ForbiddenAddress": "the operator's --pod-networks say which addresses pods have",
    "NotUtf8": "serve the card as UTF-8",
    "NotJson": "serve the card as JSON",
    "NotACard": "serve an A2A agent card",
    "Defect": "this is a defect of kagenti; see the operator's log",
}


@dataclass(frozen=True, slots=True)
class Fetched:
    """A good answer of the chosen pod: the hash of its card, and the card itself unless status has it already."""

    url: str
    hash: str
    card: Card | None


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there is none: a reason, and one sentence that quotes nothing of what the agent sent."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Round:
    """What one round found: the pods, the choice, its outcome, and the hashes of the fellows' cards without signatures."""

    matched: Matched
    choice: Choice
    outcome: Fetched | Failed
    hashes: Mapping[str, str]


def failure(pod: AgentPod, url: str, code: str, message: str) -> Failed:
    """Returns why a pod's card is not used; ``code`` and ``message`` are those of a Refused."""
    return Failed(code, f"the card of Pod {pod.name} at {url} is not used: {message}; {_ADVICE[code]}")


def synced_of(found: Round, *, kept: bool) -> Condition:
    """Returns the condition Synced; ``kept`` says whether the object has a card already."""
    if isinstance(found.outcome, Failed):
        message = found.outcome.message + ("; the last good card is kept" if kept else "")
        return Condition(SYNCED, "False", found.outcome.reason, message)
    owners = found.matched.owners
    if len(owners) == 1 or found.choice.pod is None:
        return Condition(SYNCED, "True", SYNC_SUCCESS, "Agent card successfully fetched")
    winner = named([found.matched.workloads[found.choice.pod.uid]])
    message = (
        f"spec.selector matches pods of {len(owners)} workloads ({named(owners)}); the card is that of {winner}, "
        "which has the newest ready pod; narrow the selector to choose"
    )
    return Condition(SYNCED, "True", MULTIPLE_WORKLOADS, message)


def plan_card(found: Round, *, observed: Mapping[str, JSON], generation: int, now: datetime.datetime) -> Plan:
    """Returns the plan of one round.

    Args:
        found: What the round found.
        observed: The status that the object has; an empty object without one.
        generation: ``metadata.generation`` of the object.
        now: Aware.
    """
    before, time = observed_in(observed), now.strftime(_TIME)
    synced = synced_of(found, kept="card" in observed)
    written = as_written((synced, _consistent(found)), observed=before, generation=generation, now=time)
    status = {**_fields(found, observed, time), "observedGeneration": generation, "conditions": written}
    return Plan(status if _worth_writing(status, observed) else None, _events(synced, find(before, SYNCED)))


def _fields(found: Round, observed: Mapping[str, JSON], time: str) -> dict[str, JSON]:
    """Returns the status without its conditions: what was kept, and what was found."""
    status = {key: observed[key] for key in _KEPT if key in observed}
    status |= {"matchedPods": len(found.matched.pods), "matchedWorkloads": len(found.matched.owners)}
    if isinstance(found.outcome, Fetched) and found.choice.pod is not None:
        status |= {"protocol": A2A, "lastSyncTime": time, "cardHash": found.outcome.hash}
        status["source"] = {"pod": found.choice.pod.name, "url": found.outcome.url}
        if found.outcome.card is not None:
            status["card"] = found.outcome.card.document
    return status


def _worth_writing(status: Mapping[str, JSON], observed: Mapping[str, JSON]) -> bool:
    """Whether a status says something that the object does not say yet, or its ``lastSyncTime`` has become too old.

    New signatures of the same card come with the time: some agents sign at every request.
    """
    if any(status.get(key) != observed.get(key) for key in _COMPARED) or ("card" in status) != ("card" in observed):
        return True
    if status.get("cardHash") != observed.get("cardHash") and _content(status) != _content(observed):
        return True
    if _by_type(status) != _by_type(observed):
        return True
    return _behind(status.get("lastSyncTime"), observed.get("lastSyncTime")) >= COARSE


def _content(status: Mapping[str, JSON]) -> JSON:
    return unsigned(status.get("card") or {})


def _by_type(status: Mapping[str, JSON]) -> JSON:
    return {found.get("type"): found for found in observed_in(status)}


def _behind(new: JSON, old: JSON) -> float:
    try:
        times = [datetime.datetime.strptime(str(text), _TIME) for text in (new, old)]  # both in UTC
    except ValueError:
        return 0.0 if new == old else COARSE
    return abs((times[0] - times[1]).total_seconds())


def _consistent(found: Round) -> Condition:
    asked = [pod for pod in found.choice.fellows if pod.uid in found.hashes]
    if not asked:
        return Condition(CONSISTENT, "Unknown", NOT_COMPARED, "no card is known of a pod that is ready now")
    one = asked[0]
    other = next((pod for pod in asked if found.hashes[pod.uid] != found.hashes[one.uid]), None)
    if other is None:
        return Condition(CONSISTENT, "True", CARDS_EQUAL, "the ready pods that were asked serve one card")
    message = (
        f"Pod {one.name} and Pod {other.name} are ready, of the current revision, and serve different cards; "
        "the newest pod's is kept: serve one card, or give each agent an AgentCard of its own"
    )
    return Condition(CONSISTENT, "False", CARDS_DIFFER, message)


def _events(synced: Condition, before: Mapping[str, JSON]) -> tuple[Event, ...]:
    """Returns what people are told: a card that is fetched again or for the first time, and one that no longer is."""
    if (before.get("status"), before.get("reason")) == (synced.status, synced.reason) or synced.reason in _QUIET:
        return ()
    return (Event("Normal" if synced.status == "True" else "Warning", synced.reason, synced.message),)
