"""What reconcile is told of the world: gathered by the operator from its caches, by tests from literals."""

import datetime
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from kagenti.core.admission.evaluate import Context
from kagenti.core.layers import LayerCache, Stored
from kagenti.core.reconcile.verdicts import Verdicts
from kagenti.core.trigger import Coverage, OwnerProof
from kagenti.core.workload import WorkloadRef

JSON = Any  # a status, or a raw pod


@dataclass(frozen=True, slots=True)
class Target:
    """What is known of the object that a targetRef names.

    ``state``: found; missing; forbidden, where our role may not read its kind; unread, while nobody could read it yet.
    ``why`` completes forbidden, missing (no such kind) and unread. ``owned_by`` is its own controller, ``has_template``
    whether it holds a pod template, ``inject_label`` that template's label. ``own_labels`` are those of ours on its own
    metadata, which count with target workloads. ``idle``: it wants no pod now (no replicas, suspended, a CronJob between two
    runs).
    """

    state: Literal["found", "missing", "forbidden", "unread"]
    why: str = ""
    owned_by: WorkloadRef | None = None
    has_template: bool = True
    inject_label: str | None = None
    own_labels: Mapping[str, str] = field(default_factory=dict)
    idle: bool = False


class Pod(Protocol):
    """One pod that has not ended; ``manifest`` unpacks it, which costs more than all the rest of a look at it."""

    @property
    def name(self) -> str:
        """Name."""

    @property
    def uid(self) -> str:
        """UID."""

    @property
    def packed(self) -> Hashable:
        """Equal for two versions of the pod only where their manifests are."""

    @property
    def running(self) -> bool:
        """Whether its phase is Running."""

    @property
    def sidecars(self) -> Mapping[str, bool]:
        """Our native sidecars in its spec, and whether each is ready."""

    def manifest(self) -> Mapping[str, JSON]:
        """Returns raw ``metadata`` and ``spec``."""


@dataclass(frozen=True, slots=True)
class Undertaken:
    """What is being done about pods, or why nothing is: a reason of PodsInjected, and one sentence for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """What was undertaken for the bare and the stale pods of a workload; ``core.rollout`` decides it. None: nothing."""

    bare: Undertaken | None = None
    stale: Undertaken | None = None


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
    """What every plan of one process needs besides facts: parsed layers, the context of evaluations, the clock (aware).

    ``verdicts`` remembers what was found of pods.
    """

    layers: LayerCache
    context: Context
    now: datetime.datetime
    verdicts: Verdicts = field(default_factory=Verdicts)

    @property
    def time(self) -> str:
        """The clock as status has it."""
        return self.now.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
