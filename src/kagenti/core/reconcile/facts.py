"""What reconcile is told of the world: gathered by the operator from its caches, by tests from literals."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kagenti.core.admission.evaluate import Context
from kagenti.core.layers import LayerCache, Stored
from kagenti.core.trigger import Coverage, OwnerProof
from kagenti.core.workload import WorkloadRef

JSON = Any  # a status, or a raw pod


@dataclass(frozen=True, slots=True)
class Target:
    """What is known of the object that a targetRef names.

    ``state``: found; missing; forbidden, where our role may not read its kind; unread, while nobody could read it yet.
    ``why`` completes forbidden, missing (no such kind) and unread. ``owned_by`` is its own controller, ``has_template``
    whether it holds a pod template, ``inject_label`` that template's label. ``idle``: it wants no pod now (no replicas,
    suspended, a CronJob between two runs).
    """

    state: Literal["found", "missing", "forbidden", "unread"]
    why: str = ""
    owned_by: WorkloadRef | None = None
    has_template: bool = True
    inject_label: str | None = None
    idle: bool = False


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod that has not ended: raw ``metadata`` and ``spec``, and which of our containers are ready, by name.

    ``running`` says whether its phase is Running.
    """

    name: str
    uid: str
    manifest: Mapping[str, JSON]
    running: bool = True
    ready: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rollout:
    """What was undertaken for the bare and stale pods of a workload; ``core.rollout`` fills it in.

    ``withheld`` says why nothing is done, or is done no more; empty where nothing stands in the way.
    """

    withheld: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is the same for every AgentRuntime of a namespace."""

    cluster: Stored | None
    namespace: Stored | None
    namespace_labels: Mapping[str, str]
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class RuntimeFacts:
    """Everything that the status of one AgentRuntime follows from.

    ``rivals`` are all AgentRuntimes of the same target, itself among them. ``pods`` are those of the target that have
    neither ended nor are on their way out. ``status`` is the object's as it is.
    """

    stored: Stored
    generation: int
    status: Mapping[str, JSON]
    around: Surroundings
    rivals: Sequence[Stored]
    target: Target
    pods: Sequence[Pod] = ()
    proof: OwnerProof | None = None
    rollout: Rollout = Rollout()


@dataclass(frozen=True, slots=True)
class Usage:
    """Whom a config reaches: workloads with an AgentRuntime or with injected pods, and the namespaces that hold them."""

    namespaces: int
    workloads: int


@dataclass(frozen=True, slots=True)
class Tools:
    """What every plan of one process needs besides facts: parsed layers, the context of evaluations, the clock (aware)."""

    layers: LayerCache
    context: Context
    now: datetime.datetime

    @property
    def time(self) -> str:
        """The clock as status has it."""
        return self.now.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
