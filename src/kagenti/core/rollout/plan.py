"""Facts and memory → what to do next about the bare and stale pods of one workload, and what status says of it.

One state machine, stepped whenever something has changed or a wait has ended. It asks for at most one thing at a time;
what becomes of that is told to the memory (``memory.examined``, ``memory.told``) before the next step.
"""

import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from kagenti.core.rollout.attempt import Done, Failed, Lost, Waiting, progress
from kagenti.core.rollout.choice import asked_to_evict, blocked_by, left_alone, wanted
from kagenti.core.rollout.facts import Facts, Pod
from kagenti.core.rollout.memory import (
    Eviction,
    Memory,
    Outcome,
    Report,
    Restart,
    Topic,
    gave_up,
    in_view_of,
    refused,
    spent,
    taken_up,
)
from kagenti_api.v1alpha1 import agentruntime

_TOPICS: Final[tuple[Topic, ...]] = ("bare", "stale")
_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Examine:
    """Read that pod whole and find out what its replacement would be (``prospect``); then step again at once."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class Evict:
    """Evict that pod, by name and UID."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class RestartWorkload:
    """Set the restartedAt annotation on the workload's template."""


Action = Examine | Evict | RestartWorkload | None


@dataclass(frozen=True, slots=True)
class Step:
    """What to do, what to keep, what to say; ``wake`` is when to step again although nothing has changed by then.

    ``reports`` has at most one entry per topic, none for a topic that nothing is to be done about.
    """

    action: Action
    memory: Memory
    reports: tuple[Report, ...] = ()
    wake: datetime.datetime | None = None


def step(facts: Facts, memory: Memory) -> Step:
    """Returns the next step of one workload's rollout; both arguments stay as they are."""
    case = _Case.of(facts, in_view_of(memory, facts))
    if case.memory.attempt is not None:
        found = progress(case.memory.attempt, facts, replaceable=case.replaceable)
        if isinstance(found, Waiting):
            return case.waits_for(found)
        case = case.after(found)
    given_up = case.memory.given_up
    if given_up is None:
        return _next(case)
    if not any(case.about(topic) for topic in _TOPICS):  # somebody has replaced them by hand
        return _next(_Case.of(facts, dataclasses.replace(taken_up(case.memory), relapses=0)))
    memory = case.memory
    if memory.again_at is None and given_up.reason == agentruntime.REPLACEMENT_STALE:  # an earlier leader's word
        memory = gave_up(memory, given_up, now=facts.now, pace=facts.pace)
    if memory.again_at is not None and facts.now >= memory.again_at:
        return _next(_Case.of(facts, taken_up(memory)))
    return Step(None, memory, (given_up,), facts.now + facts.pace.reconsider)


def _next(case: "_Case") -> Step:
    """Returns the step of a workload with no attempt under way."""
    facts, memory = case.facts, case.memory
    chosen = case.chosen()
    if chosen is None:
        return Step(None, memory, tuple(case.reports("")))
    if not facts.webhook.ready:
        return case.waits(f"the webhook: {facts.webhook.missing}", wake=facts.now + facts.pace.look_again)
    what = blocked_by(facts, _stale(facts) if case.restarts else case.replaceable)
    if what:
        return case.waits(what)
    if memory.not_before is not None and facts.now < memory.not_before:
        said = f"the last try was refused, the next one comes: {memory.obstacle}" if memory.obstacle else ""
        return Step(None, memory, tuple(case.reports(said)), memory.not_before)
    if facts.busy >= facts.pace.at_once:
        what = "its turn: as many other workloads as may be are having pods replaced"
        return case.waits(what, wake=facts.now + facts.pace.look_again)
    if chosen.uid not in memory.prospects:
        return case.does(Examine(chosen), memory)
    known = frozenset(pod.uid for pod in facts.pods)
    if case.restarts:
        return case.does(RestartWorkload(), dataclasses.replace(memory, attempt=Restart(known, facts.now)))
    topic: Topic = "bare" if chosen.state == "bare" else "stale"
    attempt = Eviction(chosen.name, chosen.uid, topic, known, facts.now)
    return case.does(Evict(chosen), dataclasses.replace(memory, attempt=attempt))


@dataclass(frozen=True, slots=True)
class _Case:
    """One step's facts and memory, and what follows from both.

    ``asked`` are the pods that the policy asks to evict, ``replaceable`` those of them that nothing speaks against yet,
    in their order; ``restarts`` says that stale pods go by a restart of the workload, which takes bare ones along.
    """

    facts: Facts
    memory: Memory
    asked: tuple[Pod, ...]
    replaceable: tuple[Pod, ...]
    restarts: bool

    @classmethod
    def of(cls, facts: Facts, memory: Memory) -> "_Case":
        asked = wanted(facts)
        replaceable = tuple(pod for pod in asked if not _withheld(pod, facts, memory))
        return cls(facts, memory, asked, replaceable, _restarts(facts, memory))

    def after(self, found: Done | Lost | Failed) -> "_Case":
        """Returns the case once the attempt is over."""
        memory = dataclasses.replace(self.memory, attempt=None, prospects=spent(self.memory.prospects))
        if isinstance(found, Done):
            memory = dataclasses.replace(memory, relapses=0)
        if isinstance(found, Failed):
            memory = gave_up(memory, found.report, now=self.facts.now, pace=self.facts.pace)
        if isinstance(found, Lost):
            outcome = Outcome("Refused", memory.obstacle or found.message)
            memory = refused(memory, outcome, now=self.facts.now, pace=self.facts.pace)
        return _Case.of(self.facts, memory)

    def chosen(self) -> Pod | None:
        """Returns the pod whose replacement is next, or stands for all in a restart; None when there is none."""
        if self.restarts:
            return min(_stale(self.facts), key=lambda pod: pod.name)
        return self.replaceable[0] if self.replaceable else None

    def does(self, action: Action, memory: Memory) -> Step:
        return Step(action, memory, tuple(self.reports("")))

    def waits(self, what: str, *, wake: datetime.datetime | None = None) -> Step:
        return Step(None, self.memory, tuple(self.reports(f"waiting for {what}")), wake)

    def waits_for(self, found: Waiting) -> Step:
        """Returns the step of a workload whose attempt is under way."""
        case = dataclasses.replace(self, memory=dataclasses.replace(self.memory, attempt=found.attempt))
        if not found.reason:
            return case.waits(found.what, wake=found.wake)
        others = (report for report in self.reports("") if report.topic != found.topic)
        return Step(None, case.memory, (Report(found.topic, found.reason, found.what), *others), found.wake)

    def reports(self, waiting: str) -> Iterator[Report]:
        """Yields what is to be said of each topic about which the policy asks for something."""
        for topic in _TOPICS:
            found = self._report(topic, waiting)
            if found is not None:
                yield found

    def _report(self, topic: Topic, waiting: str) -> Report | None:
        about = self.about(topic)
        if not about:
            return None
        if topic == "stale" and self.facts.policy.stale == "Restart" and not self.restarts:
            return _no_restart(self.facts, self.memory)
        going = {pod.uid for pod in (about if self.restarts else self.replaceable)}
        left = [pod for pod in about if pod.uid not in going]
        if len(left) == len(about):
            return Report(topic, agentruntime.EVICTION_WITHHELD, _why_left(left, self.facts, self.memory))
        default = agentruntime.BARE_PODS if topic == "bare" else agentruntime.STALE_PODS
        return Report(topic, default, waiting or "pods are being replaced one by one")

    def about(self, topic: Topic) -> Sequence[Pod]:
        """Returns the pods of a topic about which the policy asks for something."""
        if topic == "stale" and self.facts.policy.stale == "Restart":
            return _stale(self.facts)
        return [pod for pod in self.asked if pod.state == topic]


def _stale(facts: Facts) -> tuple[Pod, ...]:
    return tuple(pod for pod in facts.live if pod.state == "stale")


def _restarts(facts: Facts, memory: Memory) -> bool:
    """Whether stale pods are to go by a restart, and one is possible."""
    policy, stale = facts.policy, _stale(facts)
    if policy.stale != "Restart" or not stale or not policy.may_restart or facts.controller.no_restart:
        return False
    return not any(uid in memory.prospects and not memory.prospects[uid].injected for uid in (pod.uid for pod in stale))


def _no_restart(facts: Facts, memory: Memory) -> Report:
    if not facts.policy.may_restart:
        message = (
            "rollout.stale is Restart, which this installation does not allow; use Evict, or set operator.allowRestart"
        )
        return Report("stale", agentruntime.RESTART_NOT_ALLOWED, message)
    if facts.controller.no_restart:
        message = f"rollout.stale is Restart, but a restart would not replace the pods: {facts.controller.no_restart}"
        return Report("stale", agentruntime.RESTART_NOT_SUPPORTED, message)
    return Report("stale", agentruntime.EVICTION_WITHHELD, _why_left(_stale(facts), facts, memory))


def _withheld(pod: Pod, facts: Facts, memory: Memory) -> str:
    """Returns why a pod is left alone, as one clause; empty where nothing is known to speak against its eviction."""
    why = left_alone(pod, facts.controller)
    found = memory.prospects.get(pod.uid)
    return why or ("" if found is None or found.injected else found.message)


def _why_left(pods: Sequence[Pod], facts: Facts, memory: Memory) -> str:
    """Returns why pods are left alone: each reason once, with the first pod that it holds for."""
    first: dict[str, str] = {}
    for pod in sorted(pods, key=lambda found: found.name):
        restart = pod.state == "stale" and not asked_to_evict(pod, facts.policy)
        found = memory.prospects.get(pod.uid)
        why = (found.message if found else "") if restart else _withheld(pod, facts, memory)
        if why:
            first.setdefault(why, pod.name)
    named = [f"pod {name} is left alone: {why}" for why, name in list(first.items())[:_MOST_NAMED]]
    return "; ".join(named)
