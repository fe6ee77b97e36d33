"""Drives the rollout of every workload: one memory each, stepped when something changes or a wait ends, one at a time.

Whoever reconciles an AgentRuntime says what it saw (``observe``) and is told when there is something new to say of it.
Only the leader may run this. Decides nothing: that is ``core.rollout``.
"""

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from kagenti import errors
from kagenti.core import rollout
from kagenti.core.rollout import (
    Controller,
    Evict,
    Examine,
    Facts,
    Memory,
    Outcome,
    Pace,
    Pod,
    Policy,
    Prospect,
    Report,
    RestartWorkload,
    Webhook,
)
from kagenti.core.workload import WorkloadRef
from kagenti_api.v1alpha1 import agentruntime

JSON = Any  # a raw pod

_STEPS: Final = 2_000  # of one workload in one go: it may have that many pods that are to be left alone
_AGAIN: Final = datetime.timedelta(seconds=30)  # after a defect


@dataclass(frozen=True, slots=True)
class Seen:
    """What the last look at a workload's AgentRuntime found.

    ``uid`` is the workload's own, empty where it could not be read. ``circumstances`` is a hash of the objects of ours
    and the namespace's labels. ``condition`` is reason and message of PodsInjected, which say what was given up before.
    """

    target: WorkloadRef
    uid: str
    pods: tuple[Pod, ...]
    controller: Controller
    policy: Policy
    circumstances: str
    condition: tuple[str, str] = ("", "")


class Disruptor(Protocol):
    """Carries out what a step asks for."""

    async def read_pod(self, namespace: str, name: str) -> JSON | None:
        """Returns a pod, raw and whole; None where there is none. Raises ClusterError."""

    async def evict(self, namespace: str, name: str, uid: str) -> Outcome:
        """Evicts that very pod."""

    async def restart(self, target: WorkloadRef, *, uid: str, now: datetime.datetime) -> Outcome:
        """Restarts that very workload."""


class Readiness(Protocol):
    """Whether a new pod would be injected."""

    @property
    def scope(self) -> str | None:
        """A hash of what the webhook is called for; None while unknown."""

    async def __call__(self) -> Webhook:
        """Asks."""


Examiner = Callable[[WorkloadRef, JSON], Awaitable[Prospect]]
"""Finds out what the replacement of a raw pod of a workload would be; raises ClusterError."""


class Driver:
    """The rollouts of one process.

    ``told`` is called for a target whose reports have changed, ``acted`` after each eviction or restart that was
    accepted; ``clock`` (aware) is the clock, for tests.
    """

    def __init__(
        self,
        disruptor: Disruptor,
        examine: Examiner,
        webhook: Readiness,
        *,
        told: Callable[[WorkloadRef], None],
        acted: Callable[[WorkloadRef, Evict | RestartWorkload], None],
        logger: logging.Logger,
        pace: Pace = rollout.PACE,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._disruptor, self._examine, self._webhook = disruptor, examine, webhook
        self._told, self._acted = told, acted
        self._logger, self._pace, self._clock = logger, pace, clock
        self._seen: dict[WorkloadRef, Seen] = {}
        self._memories: dict[WorkloadRef, Memory] = {}
        self._replacing: set[WorkloadRef] = set()
        self._reports: dict[WorkloadRef, tuple[Report, ...]] = {}
        self._due: dict[WorkloadRef, datetime.datetime] = {}
        self._wake = asyncio.Event()

    def observe(self, seen: Seen) -> None:
        """Takes what a look at a workload found; it is stepped soon, where anything has changed."""
        known = self._seen.get(seen.target)
        # The condition is what we say ourselves; it matters to the first look only.
        if known is not None and replace(known, condition=seen.condition) == seen:
            return
        self._seen[seen.target] = seen
        self._due[seen.target] = self._clock()
        self._wake.set()

    def forget(self, target: WorkloadRef) -> None:
        """Forgets a workload that no AgentRuntime is in force for any more."""
        for known in (self._seen, self._memories, self._reports, self._due):
            known.pop(target, None)
        self._replacing.discard(target)

    def reports(self, target: WorkloadRef) -> tuple[Report, ...] | None:
        """Returns what status is to say of a workload's bare and stale pods; None before its first step."""
        return self._reports.get(target)

    def under_way(self) -> int:
        """Returns the number of workloads that have a replacement under way."""
        return self._busy(self._clock())

    def _busy(self, now: datetime.datetime, *, besides: WorkloadRef | None = None) -> int:
        memories = (self._memories[target] for target in self._replacing if target != besides)
        return sum(memory.occupies(now, self._pace) for memory in memories)

    async def run(self) -> None:
        """Steps workloads as they fall due, until cancelled."""
        while True:
            self._wake.clear()
            now = self._clock()
            ready = sorted((at, str(target), target) for target, at in self._due.items() if at <= now)
            for _, _, target in ready:
                self._due.pop(target, None)
                await self._guarded(target)
                await asyncio.sleep(0)  # most have nothing to wait for, and others share this loop
            if not ready:
                await self._pause(now)

    async def _pause(self, now: datetime.datetime) -> None:
        """Waits until the next one falls due, or something is observed."""
        soonest = min(self._due.values(), default=None)
        seconds = None if soonest is None else max((soonest - now).total_seconds(), 0)
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _guarded(self, target: WorkloadRef) -> None:
        """Steps one workload; a defect holds up that one, not the others."""
        try:
            await self._advance(target)
        except Exception:
            self._logger.exception("rollout failed", extra={"fields": {"workload": str(target)}})
            self._due.setdefault(target, self._clock() + _AGAIN)

    async def _advance(self, target: WorkloadRef) -> None:
        """Steps one workload until it has to wait."""
        seen = self._seen.get(target)
        if seen is None:
            return
        webhook = await self._asked(seen)
        if webhook is None:
            self._due.setdefault(target, self._clock() + self._pace.look_again)
            return
        for _ in range(_STEPS):
            if self._seen.get(target) != seen:
                return  # observed anew meanwhile, and due again; or forgotten
            facts = self._facts(seen, webhook)
            memory = self._memories.get(target) or self._first(seen, facts)
            step = rollout.step(facts, memory)
            self._keep(target, step.memory)
            self._say(seen, step.reports)
            if step.action is None:
                if step.wake is not None:
                    self._due.setdefault(target, step.wake)
                return
            after = await self._carry_out(seen, step.action, step.memory)
            if target in self._seen:  # it may have been forgotten meanwhile
                self._keep(target, after)
        self._due.setdefault(target, self._clock())

    async def _asked(self, seen: Seen) -> Webhook | None:
        """Asks after the webhook where something may have to be done.

        None while it is not known whom it is called for: what was given up under that cannot be told from the rest.
        """
        if seen.target not in self._memories and not any(rollout.concerns(pod, seen.policy) for pod in seen.pods):
            return Webhook(ready=False, missing="nobody has asked")
        webhook = await self._webhook()
        return webhook if self._webhook.scope is not None else None

    def _facts(self, seen: Seen, webhook: Webhook) -> Facts:
        now = self._clock()
        return Facts(
            target=seen.target,
            pods=seen.pods,
            controller=seen.controller,
            policy=seen.policy,
            webhook=webhook,
            circumstances=f"{seen.circumstances}/{self._webhook.scope}",
            now=now,
            busy=self._busy(now, besides=seen.target),
            pace=self._pace,
        )

    def _keep(self, target: WorkloadRef, memory: Memory) -> None:
        """Remembers what has to be: most workloads have no such pods, and are asked after no more."""
        (self._replacing.discard if memory.attempt is None else self._replacing.add)(target)
        if memory.empty:
            self._memories.pop(target, None)
        else:
            self._memories[target] = memory

    def _first(self, seen: Seen, facts: Facts) -> Memory:
        """Returns what is known at the beginning; an earlier leader's word counts before our own first one only."""
        if seen.target in self._reports:
            return rollout.NOTHING
        return rollout.recalled(*seen.condition, facts.circumstances)

    def _say(self, seen: Seen, reports: tuple[Report, ...]) -> None:
        """Tells what is new; our first word also where it takes back what an earlier leader has said."""
        known = self._reports.get(seen.target)
        self._reports[seen.target] = reports
        takes_back = known is None and seen.condition[0] in agentruntime.ROLLOUT_REASONS
        if takes_back or (known or ()) != reports:
            self._told(seen.target)

    async def _carry_out(self, seen: Seen, action: Examine | Evict | RestartWorkload, memory: Memory) -> Memory:
        """Returns the memory once it is known what became of an action."""
        namespace = seen.target.namespace
        if isinstance(action, Examine):
            return await self._examined(seen.target, action.pod, memory)
        if isinstance(action, Evict):
            outcome = await self._disruptor.evict(namespace, action.pod.name, action.pod.uid)
            self._note("evict", outcome, {"pod": f"{namespace}/{action.pod.name}", "workload": str(seen.target)})
        else:
            outcome = await self._disruptor.restart(seen.target, uid=seen.uid, now=self._clock())
            self._note("restart", outcome, {"workload": str(seen.target)})
        if outcome.answer == "Accepted":
            self._acted(seen.target, action)
        return rollout.told(memory, outcome, now=self._clock(), pace=self._pace)

    async def _examined(self, target: WorkloadRef, pod: Pod, memory: Memory) -> Memory:
        try:
            raw = await self._disruptor.read_pod(target.namespace, pod.name)
            if raw is None or (raw.get("metadata") or {}).get("uid") != pod.uid:
                return rollout.told(memory, Outcome("Gone"), now=self._clock(), pace=self._pace)
            return rollout.examined(memory, pod, await self._examine(target, raw))
        except errors.ClusterError as error:
            return rollout.told(memory, Outcome("Refused", str(error)), now=self._clock(), pace=self._pace)

    def _note(self, deed: str, outcome: Outcome, fields: Mapping[str, str]) -> None:
        told = {"fields": {"deed": deed, "answer": outcome.answer, **fields, "message": outcome.message}}
        level = logging.INFO if outcome.answer in ("Accepted", "Refused", "Gone", "Conflict") else logging.WARNING
        self._logger.log(level, "rollout", extra=told)
