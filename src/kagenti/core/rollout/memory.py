"""What a rollout keeps between two steps: the attempt under way, what was learnt of pods, what was given up.

Losing it, with the process, costs at most one more eviction per workload: pace is read from the cluster (choice), and
what was given up stands in the AgentRuntime's condition (``recalled``).
"""

import dataclasses
import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kagenti.core.rollout.facts import Facts, Pace, Pod
from kagenti.core.rollout.prospect import Prospect
from kagenti_api.v1alpha1 import agentruntime

Topic = Literal["bare", "stale"]
"""What a rollout is about: pods without sidecars, or with older restart settings."""


@dataclass(frozen=True, slots=True)
class Report:
    """What status is to say of one topic: a reason of AgentRuntime's conditions, and one sentence for people."""

    topic: Topic
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Eviction:
    """A pod on its way out, until its replacement is Ready; ``known`` are the UIDs of all pods at its beginning."""

    pod: str
    uid: str
    topic: Topic
    known: frozenset[str]
    began: datetime.datetime
    gone: datetime.datetime | None = None


@dataclass(frozen=True, slots=True)
class Restart:
    """A restart of the whole workload; ``generation`` is that of the change, 0 as long as it is not known."""

    known: frozenset[str]
    began: datetime.datetime
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept of one workload.

    ``prospects`` hold what was found of a pod's replacement, by the pod's UID. ``not_before`` is set while a refusal is
    waited out, ``refusals`` in a row made it so, ``obstacle`` is the last one in the API server's words. ``relapses`` in
    a row came up stale again, ``again_at`` is when what was given up for them is taken up again.
    """

    circumstances: str = ""
    attempt: Eviction | Restart | None = None
    prospects: Mapping[str, Prospect] = field(default_factory=dict)
    given_up: Report | None = None
    refusals: int = 0
    not_before: datetime.datetime | None = None
    obstacle: str = ""
    relapses: int = 0
    again_at: datetime.datetime | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing of it would be missed."""
        return self.attempt is None and self.given_up is None and self.not_before is None and not self.prospects

    def occupies(self, now: datetime.datetime, pace: Pace) -> bool:
        """Whether it counts against ``pace.at_once``."""
        return self.attempt is not None and now < self.attempt.began + pace.stalled_after


NOTHING = Memory()
"""Nothing has happened yet."""

Answer = Literal["Accepted", "Refused", "Gone", "Conflict", "Forbidden", "Unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an eviction or a restart that was asked for.

    Unknown: no answer came, so that it may have been carried out. ``retry_after`` is in seconds, where the server said
    so. ``generation`` is that of the restarted workload.
    """

    answer: Answer
    message: str = ""
    retry_after: float | None = None
    generation: int = 0


def recalled(reason: str, message: str, circumstances: str) -> Memory:
    """Returns the memory of a leader that finds that condition: what its predecessor has given up, or nothing."""
    if reason not in agentruntime.GIVEN_UP:
        return NOTHING
    topic: Topic = "bare" if reason == agentruntime.REPLACEMENT_BARE else "stale"
    return Memory(circumstances, given_up=Report(topic, reason, message))


def examined(memory: Memory, pod: Pod, prospect: Prospect) -> Memory:
    """Returns the memory once it is known what the pod's replacement would be."""
    return dataclasses.replace(memory, prospects={**memory.prospects, pod.uid: prospect})


def told(memory: Memory, outcome: Outcome, *, now: datetime.datetime, pace: Pace) -> Memory:
    """Returns the memory once the API server has answered what a step asked for."""
    attempt = memory.attempt
    if outcome.answer == "Unknown":
        return dataclasses.replace(memory, obstacle=outcome.message)
    if outcome.answer == "Accepted":
        if isinstance(attempt, Restart):
            attempt = dataclasses.replace(attempt, generation=outcome.generation)
        return dataclasses.replace(memory, attempt=attempt, refusals=0, not_before=None, obstacle="")
    return refused(memory, outcome, now=now, pace=pace)


def refused(memory: Memory, outcome: Outcome, *, now: datetime.datetime, pace: Pace) -> Memory:
    """Returns the memory after an attempt that changed nothing: forgotten, and tried again later, from the start.

    A pod that is gone, or changed meanwhile, is no refusal: the cache only has to learn of it.
    """
    late = outcome.answer in ("Refused", "Forbidden")
    refusals = memory.refusals + 1 if late else memory.refusals
    pause = (
        pace.last_retry
        if outcome.answer == "Forbidden"
        else _doubled(pace.first_retry, refusals, pace.last_retry)
        if late
        else pace.first_retry
    )
    if outcome.retry_after is not None:
        pause = max(pause, min(datetime.timedelta(seconds=outcome.retry_after), pace.last_retry))
    return dataclasses.replace(
        memory,
        attempt=None,
        prospects=spent(memory.prospects),
        refusals=refusals,
        not_before=now + pause,
        obstacle=outcome.message if late else "",
    )


def gave_up(memory: Memory, report: Report, *, now: datetime.datetime, pace: Pace) -> Memory:
    """Returns the memory of a rollout that is given up: until something else decides, or for a while (stale)."""
    if report.reason != agentruntime.REPLACEMENT_STALE:
        return dataclasses.replace(memory, given_up=report)
    relapses = memory.relapses + 1
    again_at = now + _doubled(pace.first_skew, relapses, pace.last_skew)
    return dataclasses.replace(memory, given_up=report, relapses=relapses, again_at=again_at)


def taken_up(memory: Memory) -> Memory:
    """Returns the memory of a rollout that is given up no more."""
    return dataclasses.replace(memory, given_up=None, again_at=None)


def spent(prospects: Mapping[str, Prospect]) -> Mapping[str, Prospect]:
    """Returns the prospects without the good ones: those are acted on at once, or found anew."""
    return {uid: found for uid, found in prospects.items() if not found.injected}


def in_view_of(memory: Memory, facts: Facts) -> Memory:
    """Returns the memory as far as it still holds: an attempt under way does, what was learnt of pods may not."""
    if memory.circumstances != facts.circumstances:
        return Memory(facts.circumstances, attempt=memory.attempt)
    present = {pod.uid for pod in facts.pods}
    if memory.prospects.keys() <= present:
        return memory
    return dataclasses.replace(
        memory, prospects={uid: found for uid, found in memory.prospects.items() if uid in present}
    )


def _doubled(first: datetime.timedelta, times: int, last: datetime.timedelta) -> datetime.timedelta:
    factor: int = 2 ** min(times - 1, 16)  # 2 ** 16 times any first pause is beyond the last
    return min(first * factor, last)
