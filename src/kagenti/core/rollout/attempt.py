"""How far an attempt has got: still under way, over, without effect, or to be given up and why."""

import dataclasses
import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from kagenti.core.rollout.choice import blocked_by
from kagenti.core.rollout.facts import Facts, Pod
from kagenti.core.rollout.memory import Eviction, Report, Restart, Topic
from kagenti_api.v1alpha1 import agentruntime


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not over; ``what`` is waited for, and ``wake`` is when to look again although nothing has changed by then.

    ``reason`` is set where the waiting itself is what status has to say.
    """

    attempt: Eviction | Restart
    what: str
    wake: datetime.datetime | None = None
    reason: str = ""

    @property
    def topic(self) -> Topic:
        """What the attempt is about."""
        return topic_of(self.attempt)


@dataclass(frozen=True, slots=True)
class Done:
    """The replacement is Ready and what it should be."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Nothing came of it: the pod is still there."""

    message: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It changed nothing for the better; the next one would not either."""

    report: Report


Progress = Waiting | Done | Lost | Failed


def progress(attempt: Eviction | Restart, facts: Facts, *, replaceable: Sequence[Pod]) -> Progress:
    """Returns how far an attempt has got; ``replaceable`` are the pods that may still be replaced."""
    made = [pod for pod in facts.live if pod.uid not in attempt.known]
    relapsed = _relapsed(topic_of(attempt), made)
    if relapsed is not None:
        return Failed(relapsed)
    if isinstance(attempt, Restart):
        return _restart(attempt, facts)
    return _eviction(attempt, facts, made, replaceable)


def topic_of(attempt: Eviction | Restart) -> Topic:
    """Returns what an attempt is about; only stale pods are restarted."""
    return attempt.topic if isinstance(attempt, Eviction) else "stale"


def _eviction(attempt: Eviction, facts: Facts, made: Sequence[Pod], replaceable: Sequence[Pod]) -> Progress:
    evicted = next((pod for pod in facts.pods if pod.uid == attempt.uid and not pod.finished), None)
    if evicted is not None and not evicted.deleting:
        deadline = attempt.began + facts.pace.accepted_within
        if facts.now >= deadline:
            return Lost(f"the eviction of pod {attempt.pod} had no effect")
        return Waiting(attempt, f"the eviction of pod {attempt.pod}", deadline)
    if evicted is not None:
        return Waiting(attempt, f"pod {attempt.pod} to end")
    attempt = dataclasses.replace(attempt, gone=attempt.gone or facts.now)
    desired = facts.controller.desired
    if not made and (desired is None or len(facts.live) < desired):
        return _unreplaced(attempt, facts)
    what = blocked_by(facts, replaceable)
    return Waiting(attempt, what) if what else Done()


def _unreplaced(attempt: Eviction, facts: Facts) -> Progress:
    """Waits for the replacement. Where nothing says how many pods there should be, that has an end: nobody may make it."""
    deadline = (attempt.gone or facts.now) + facts.pace.recreated_within
    if facts.now < deadline:
        return Waiting(attempt, f"a replacement of pod {attempt.pod}", deadline)
    message = (
        f"pod {attempt.pod} was evicted and not replaced; the events of its controller say why, often a quota or another "
        "webhook"
    )
    if facts.controller.desired is None:
        return Failed(Report(attempt.topic, agentruntime.NOT_REPLACED, message))
    return Waiting(attempt, message, reason=agentruntime.NOT_REPLACED)


def _restart(attempt: Restart, facts: Facts) -> Progress:
    if facts.controller.observed < attempt.generation:
        return Waiting(attempt, "its controller to see the restart")
    what = blocked_by(facts, ())
    if what:
        return Waiting(attempt, what)
    left = min((pod.name for pod in facts.live if pod.state == "stale" and pod.uid in attempt.known), default="")
    if not left:
        return Done()
    if attempt.generation:
        message = f"the workload was restarted, and pod {left} is the one from before; restart it by hand"
        return Failed(Report("stale", agentruntime.NOT_REPLACED, message))
    deadline = attempt.began + facts.pace.accepted_within
    if facts.now < deadline:
        return Waiting(attempt, "the restart of the workload", deadline)
    return Lost("the restart of the workload had no effect")


def _relapsed(topic: Topic, made: Sequence[Pod]) -> Report | None:
    """Returns the report on a new pod that is what its predecessor was; a bare one proves that nobody was called."""
    bare = min((pod.name for pod in made if pod.state == "bare"), default="")
    if bare:
        message = (
            f"replacement {bare} came up without sidecars although the webhook should have injected it: no more pods are "
            "evicted; compare the selectors and conditions of MutatingWebhookConfiguration kagenti-injector with the pod"
        )
        return Report("bare", agentruntime.REPLACEMENT_BARE, message)
    stale = min((pod.name for pod in made if pod.state == topic == "stale"), default="")
    if stale:
        message = (
            f"replacement {stale} came up with the older settings again: no more pods are replaced; see whether all "
            "replicas of the webhook run this version"
        )
        return Report(topic, agentruntime.REPLACEMENT_STALE, message)
    return None
