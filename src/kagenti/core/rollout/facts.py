"""What a rollout is decided from: the pods of one workload, its controller, the policy, the webhook, the room left."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from kagenti.core.rollout.controller import Controller
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti_api.v1alpha1 import agentruntime

JSON = Any  # a part of a raw AgentRuntime

PodState = Literal["current", "stale", "bare", "optedOut", "foreign", "tampered", "left"]
"""What a pod is, as status counts it; ``left``: neither injected nor meant to be."""

BarePolicy = Literal["Evict", "None"]
StalePolicy = Literal["None", "Evict", "Restart"]


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of the workload.

    ``owner`` is its own controller reference, not the top of its chain; None for a standalone pod. ``mirror`` says that
    a kubelet made it from a file (annotation ``kubernetes.io/config.mirror``). ``finished`` pods have ended for good.
    ``withheld`` is why its replacement would be no better, as far as that is known already; empty otherwise.
    """

    name: str
    uid: str
    state: PodState
    created: datetime.datetime
    owner: OwnerReference | None = None
    ready: bool = False
    deleting: bool = False
    finished: bool = False
    mirror: bool = False
    withheld: str = ""

    @property
    def live(self) -> bool:
        """Whether it counts as one of the workload's pods now."""
        return not self.deleting and not self.finished


@dataclass(frozen=True, slots=True)
class Policy:
    """``rollout`` of the AgentRuntime in force, and whether this installation may restart workloads at all."""

    bare: BarePolicy = agentruntime.ROLLOUT_BARE
    stale: StalePolicy = agentruntime.ROLLOUT_STALE
    may_restart: bool = False


_BARE: Final[Mapping[str, BarePolicy]] = {"Evict": "Evict", "None": "None"}
_STALE: Final[Mapping[str, StalePolicy]] = {"None": "None", "Evict": "Evict", "Restart": "Restart"}


def policy_of(spec: Mapping[str, JSON], *, may_restart: bool) -> Policy:
    """Returns the policy of an AgentRuntime's raw spec; what is absent, or no value of the API, is the default."""
    found = spec.get("rollout")
    asked = found if isinstance(found, Mapping) else {}
    return Policy(
        # Absent is not "None", though Python spells it so.
        bare=_BARE.get(str(asked.get("bare", "")), agentruntime.ROLLOUT_BARE),
        stale=_STALE.get(str(asked.get("stale", "")), agentruntime.ROLLOUT_STALE),
        may_restart=may_restart,
    )


@dataclass(frozen=True, slots=True)
class Webhook:
    """Whether a pod created now would meet a webhook that answers, and what is missing otherwise, as one clause."""

    ready: bool
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast pods are replaced, and when waiting ends.

    ``at_once`` workloads of the whole cluster have a pod in replacement at a time. An eviction that was accepted shows
    within ``accepted_within``, and the controller makes the replacement within ``recreated_within`` of the pod's end. A
    replacement that takes longer than ``stalled_after`` holds up its own workload only. A refused eviction is tried
    again after ``first_retry``, doubled each time up to ``last_retry``. What no watch tells is looked at again every
    ``look_again``, and every ``reconsider`` where the rollout was given up. One that was given up because a replacement
    came up stale is taken up again after ``first_skew``, doubled each time up to ``last_skew``: replicas of the webhook
    and the operator learn of a new version or a new CA at different times.
    """

    at_once: int = 10
    accepted_within: datetime.timedelta = datetime.timedelta(seconds=30)
    recreated_within: datetime.timedelta = datetime.timedelta(minutes=5)
    stalled_after: datetime.timedelta = datetime.timedelta(minutes=10)
    first_retry: datetime.timedelta = datetime.timedelta(seconds=5)
    last_retry: datetime.timedelta = datetime.timedelta(minutes=5)
    look_again: datetime.timedelta = datetime.timedelta(seconds=5)
    reconsider: datetime.timedelta = datetime.timedelta(minutes=1)
    first_skew: datetime.timedelta = datetime.timedelta(minutes=10)
    last_skew: datetime.timedelta = datetime.timedelta(hours=24)


PACE: Final = Pace()


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that one step is decided from.

    Args:
        target: The workload.
        pods: Its pods, of every state, finished and ending ones too.
        controller: What its manifest says of how its pods come and go.
        policy: What the AgentRuntime asks for.
        webhook: Whether a replacement would be seen by the webhook.
        circumstances: A hash of all that a decision about its pods hangs on. What was withheld or given up is taken up
            again when it changes.
        busy: Number of other workloads that have a replacement under way.
        now: The clock, aware.
    """

    target: WorkloadRef
    pods: tuple[Pod, ...]
    controller: Controller
    policy: Policy
    webhook: Webhook
    circumstances: str
    now: datetime.datetime
    busy: int = 0
    pace: Pace = field(default=PACE)

    @property
    def live(self) -> tuple[Pod, ...]:
        """The pods that count now."""
        return tuple(pod for pod in self.pods if pod.live)
