"""A cluster that replaces pods late, answers at random and is seen late, with a rollout driven as the shell drives it.

Chance comes from one seed; time is a counter of seconds. ``Trouble`` says how bad the times are.
"""

import dataclasses
import datetime
import random
from dataclasses import dataclass, field
from typing import Any

from kagenti.core import rollout
from kagenti.core.rollout import Evict, Examine, Facts, Memory, Outcome, Pod, Policy, Prospect, Webhook
from kagenti.core.workload import OwnerReference
from tests.unit.core.rollout.given import DENIED, DEPLOYMENT, GOOD, NOW, REPLICA_SET, controller

JOB = OwnerReference("batch/v1", "Job", "x", "u")


@dataclass(frozen=True)
class Trouble:
    """``injects``: the webhook is called for new pods. ``lag``: how many seconds old what we see may be."""

    injects: bool = True
    refuses: bool = False
    flaps: bool = False
    scales: bool = False
    forgets: bool = False
    lag: int = 0


@dataclass
class Simulation:
    """One workload; ``deniable`` and ``working`` name pods that must not be evicted."""

    seed: int
    size: int
    trouble: Trouble
    seconds: int = 0
    evicted: list[str] = field(default_factory=list)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # a simulation
        self.pods: dict[str, Pod] = {}
        for _ in range(self.size):
            self._create(self.chance.choice(["bare", "bare", "current"]), ready=True)
        self.deniable = {uid for uid in self.pods if self.chance.random() < 0.2}
        self.working = {uid for uid in self.pods if self.chance.random() < 0.1}
        for uid in self.working:
            self.pods[uid] = dataclasses.replace(self.pods[uid], owner=JOB)
        self.desired, self.ready = self.size, True
        self.memory: Memory = rollout.NOTHING
        self.outstanding: set[str] = set()
        self.seen = [(tuple(self.pods.values()), self.desired)]

    @property
    def due(self) -> set[str]:
        """Bare pods that may be evicted."""
        return {uid for uid, pod in self.pods.items() if pod.state == "bare"} - self.deniable - self.working

    def run(self, seconds: int) -> None:
        """Lets time pass; all that is asked for in one second is done in it."""
        for _ in range(seconds):
            self.seconds += 1
            self._world()
            self._whole_again()
            self.seen.append((tuple(self.pods.values()), self.desired))
            if self.trouble.forgets and self.chance.random() < 0.4:
                self.memory = rollout.NOTHING
            for _ in range(self.size * 2):
                if not self._act():
                    break

    def _act(self) -> bool:
        """Does what one step asks for; returns whether to step again at once."""
        step = rollout.step(self._facts(), self.memory)
        self.memory = step.memory
        match step.action:
            case Examine(pod):
                self.memory = rollout.examined(self.memory, pod, self._prospect(pod))
                return True
            case Evict(pod):
                self._evict(pod)
        return False

    def _facts(self) -> Facts:
        age = self.chance.randint(0, self.trouble.lag)
        self.seen = self.seen[-1 - age :]  # what was seen once is never unseen
        pods, desired = self.seen[0]
        return Facts(
            target=DEPLOYMENT,
            pods=pods,
            controller=controller(desired=desired),
            policy=Policy(),
            webhook=Webhook(ready=self.ready, missing="" if self.ready else "it flaps"),
            circumstances="one",
            now=self._now(),
        )

    def _now(self) -> datetime.datetime:
        return NOW + datetime.timedelta(seconds=self.seconds)

    def _prospect(self, pod: Pod) -> Prospect:
        return DENIED if pod.uid in self.deniable else GOOD

    def _evict(self, pod: Pod) -> None:
        assert self.ready, "evicted while the webhook was not ready"
        assert pod.uid not in self.deniable | self.working, "evicted a pod that is to be left alone"
        answer: Any = self.chance.choice(["Accepted", "Refused", "Conflict", "Unknown"])
        if not self.trouble.refuses:
            answer = "Accepted"
        if pod.uid not in self.pods or self.pods[pod.uid].deleting:
            answer = "Gone"
        if answer == "Accepted" or (answer == "Unknown" and self.chance.random() < 0.5):
            self.evicted.append(pod.uid)
            self.outstanding.add(pod.uid)
            self.most_at_once = max(self.most_at_once, len(self.outstanding))
            self.pods[pod.uid] = dataclasses.replace(pod, deleting=True, ready=False)
        self.memory = rollout.told(self.memory, Outcome(answer, "said"), now=self._now(), pace=rollout.PACE)

    def _world(self) -> None:
        """The controller, the kubelets and the user, each late."""
        for uid, pod in list(self.pods.items()):
            if pod.deleting and self.chance.random() < 0.3:
                del self.pods[uid]
            elif not pod.deleting and not pod.ready and self.chance.random() < 0.3:
                self.pods[uid] = dataclasses.replace(pod, ready=True)
        live = [uid for uid, pod in self.pods.items() if pod.live]
        if len(live) < self.desired and self.chance.random() < 0.5:
            self._create("current" if self.trouble.injects else "bare", ready=False)
        if self.trouble.scales and self.chance.random() < 0.03:
            self.desired = self.chance.randint(1, self.size + 1)
        if len(live) > self.desired:
            victim = self.chance.choice(live)
            self.pods[victim] = dataclasses.replace(self.pods[victim], deleting=True, ready=False)
        if self.trouble.flaps and self.chance.random() < 0.2:
            self.ready = not self.ready

    def _create(self, state: Any, *, ready: bool) -> None:
        uid = f"{self.seconds:05d}-{len(self.pods)}-{self.chance.randrange(10**6)}"
        created = NOW + datetime.timedelta(seconds=self.seconds)
        self.pods[uid] = Pod(f"weather-{uid}", uid, state, created, REPLICA_SET, ready=ready)

    def _whole_again(self) -> None:
        live = [pod for pod in self.pods.values() if pod.live]
        if len(live) >= self.desired and all(pod.ready for pod in live):
            self.outstanding = {uid for uid in self.outstanding if uid in self.pods}
