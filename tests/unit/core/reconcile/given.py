"""A workload in memory for reconcile tests: pods as the webhook made them, and what is around them."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from kagenti.core import reconcile
from kagenti.core.admission.evaluate import Context, evaluate
from kagenti.core.layers import LayerCache, Stored
from kagenti.core.reconcile import Plan, RuntimeFacts, Surroundings, Target, Tools
from kagenti.core.trigger import Coverage, coverage_of
from kagenti.core.workload import Subject
from tests.json_patch import applied
from tests.unit.core.admission import cluster as base

JSON = Any  # a raw pod, a status

ENABLED = base.ENABLED
OURS = ("spiffe-helper", "kagenti-client-registration", "envoy-proxy")
RECEIPT = "kagenti.io/injected"


@dataclass(frozen=True)
class Pod:
    """One pod as the operator keeps it."""

    raw: JSON
    uid: str = "uid-1"
    running: bool = True
    ready: bool = True

    @property
    def name(self) -> str:
        return str(self.raw["metadata"].get("name", "weather-1"))

    @property
    def packed(self) -> bytes:
        return orjson.dumps(self.raw)

    @property
    def sidecars(self) -> Mapping[str, bool]:
        found = self.raw["spec"].get("initContainers") or ()
        return {item["name"]: self.ready for item in found if item["name"] in OURS}

    def manifest(self) -> JSON:
        return self.raw


_versions = itertools.count(1)


def runtime(name: str = "weather", *, created: str = "2026-11-01T00:00:00Z", **spec: JSON) -> Stored:
    """An AgentRuntime for the Deployment weather."""
    made = base.stored("team1", name, created=created, **{"targetRef": base.reference(), **spec})
    return replace(made, resource_version=str(next(_versions)))  # parsed layers are remembered by version


@dataclass
class World:
    """The layers above a workload and its namespace."""

    cluster: Stored | None = None
    namespace: Stored | None = None
    runtime: Stored = field(default_factory=runtime)
    rivals: Sequence[Stored] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: base.ENROLLED)
    context: Context = field(default_factory=base.context)
    layers: LayerCache = field(default_factory=base.layers)
    target: Target = field(default_factory=lambda: Target("found"))

    def coverage(self) -> Coverage:
        """As the operator computes it."""
        return coverage_of("team1", labels=self.labels, selector="kagenti.io/enrolled=true")

    def injected(self, pod: JSON = None) -> JSON:
        """A pod as this world's webhook would have admitted it."""
        raw = pod if pod is not None else base.pod(labels=ENABLED)
        sources = self.layers.gather(cluster=self.cluster, namespace=self.namespace, runtimes=(self.runtime,))
        made = evaluate(
            Subject(base.DEPLOYMENT, raw),
            sources=sources,
            context=self.context,
            namespace_labels=self.labels,
            now=base.NOW,
        )
        assert made.decision.injects, made.decision
        return applied(raw, made.patch)

    def facts(self, *pods: Pod, status: JSON = None, **changes: Any) -> RuntimeFacts:
        """The facts of this world with these pods."""
        around = Surroundings(self.cluster, self.namespace, self.labels, self.coverage())
        facts = RuntimeFacts(
            stored=self.runtime,
            generation=3,
            status=status or {},
            around=around,
            rivals=self.rivals or (self.runtime,),
            target=self.target,
            pods=pods,
        )
        return replace(facts, **changes)

    def plan(self, *pods: Pod, status: JSON = None, **changes: Any) -> Plan:
        """What follows."""
        return reconcile.plan_runtime(self.facts(*pods, status=status, **changes), self.tools())

    def tools(self) -> Tools:
        """A process that remembers nothing."""
        return Tools(self.layers, self.context, base.NOW)


def conditions(plan: Plan) -> dict[str, tuple[str, str]]:
    """Status and reason by type."""
    assert plan.status is not None
    return {found["type"]: (found["status"], found["reason"]) for found in plan.status["conditions"]}


def message(plan: Plan, type_: str) -> str:
    """The message of a condition."""
    assert plan.status is not None
    return next(str(found["message"]) for found in plan.status["conditions"] if found["type"] == type_)


def acked(plan: Plan, count: int) -> list[JSON]:
    """The entry of an xDS replica that has every proxy at the revision in force."""
    assert plan.status is not None
    revision = plan.status["config"]["liveRevision"]
    return [{"replica": "xds-0", "acked": count, "rejected": 0, "pending": 0, "disconnected": 0, "revision": revision}]
