"""What the reconciler has found of a workload, as the driver sees it; and what the driver says, as the reconciler sees it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from kagenti.core import rollout, settings
from kagenti.core.admission.desk import Desk
from kagenti.core.admission.evaluate import Context
from kagenti.core.installation import Installation
from kagenti.core.layers import LayerCache
from kagenti.core.reconcile import Event, Judged, Plan, Rollout, RuntimeFacts, Surroundings, Target, Undertaken
from kagenti.core.rollout import Evict, Outcome, Policy, Prospect, Report, Webhook
from kagenti.core.store import Apply, Delete
from kagenti.core.workload import WorkloadRef
from kagenti.kube import SettledCatalogue, StoredObject
from kagenti.operator.driver import Seen
from kagenti.operator.pods import OBSERVED_PODS, ObservedPod
from kagenti.operator.rollouts import Rollouts
from kagenti.operator.targets import Known
from tests.unit.core.admission import cluster
from tests.unit.core.rollout.given import controller, pod

JSON = Any  # a raw object

TARGET = cluster.DEPLOYMENT
FACTS = Target("found")


class Client:
    """A disruptor and a webhook that nobody asks here."""

    scope = "scope"

    async def __call__(self) -> Webhook:
        """Is ready."""
        return Webhook(ready=True)

    async def read_pod(self, namespace: str, name: str) -> JSON | None:
        """Reads nothing."""
        raise AssertionError(name)

    async def evict(self, namespace: str, name: str, uid: str) -> Outcome:
        """Evicts nothing."""
        raise AssertionError(name)

    async def restart(self, target: WorkloadRef, **_: Any) -> Outcome:
        """Restarts nothing."""
        raise AssertionError(target)


def runtime(name: str = "weather", *, generation: int = 1, status: JSON = None, **spec: JSON) -> StoredObject:
    """An AgentRuntime of the Deployment, as the cache holds it."""
    return StoredObject(
        kind="AgentRuntime",
        namespace="team1",
        name=name,
        uid=f"uid-{name}",
        resource_version=str(generation),
        creation_timestamp="2026-11-01T00:00:00Z",
        generation=generation,
        target=TARGET,
        spec=orjson.dumps({"targetRef": cluster.reference(), **spec}),
        status=orjson.dumps(status or {}),
    )


@dataclass
class World:
    """One namespace with one AgentRuntime; remembers what was marked, told and observed."""

    pods: Sequence[ObservedPod] = ()
    may_restart: bool = False
    by_workload: bool = False
    marked: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.catalogue = SettledCatalogue()
        context = Context("both", Installation(), settings.Resolver(), by_workload=self.by_workload)
        self.rollouts = Rollouts(
            Client(),
            Client(),
            desk=Desk(self.catalogue, LayerCache(), context),
            catalogue=self.catalogue,
            population=self,  # type: ignore[arg-type]  # answers ``of``
            targets=self,  # type: ignore[arg-type]  # answers ``controller``
            writer=self,  # type: ignore[arg-type]  # takes ``tell``
            mark=lambda stored: self.marked.append(stored.name),
            may_restart=self.may_restart,
            logger=logging.getLogger("test"),
        )
        self.rollouts.driver.observe = self.seen.append  # type: ignore[method-assign]  # the driver has tests of its own

    def of(self, workload: WorkloadRef) -> Sequence[ObservedPod]:
        """The pods."""
        return self.pods if workload == TARGET else ()

    def controller(self, target: WorkloadRef) -> Known:
        """What is known of the target."""
        return Known("uid-target", controller(desired=1))

    def tell(self, stored: StoredObject, events: Sequence[Event]) -> None:
        """Takes events."""
        self.events.extend(events)

    def apply(self, stored: StoredObject) -> None:
        """Has an AgentRuntime stored."""
        self.catalogue.stores["AgentRuntime"].apply(Apply(stored))

    def consider(self, stored: StoredObject, *, status: JSON = None, states: JSON = None, **around: Any) -> Seen:
        """Has an AgentRuntime considered; returns what the driver sees."""
        surroundings = Surroundings(
            cluster=around.get("cluster"),
            namespace=around.get("namespace"),
            namespace_labels=around.get("labels", cluster.ENROLLED),
            coverage=self.rollouts.desk.coverage("team1"),
        )
        rivals = around.get("rivals", (stored,))
        facts = RuntimeFacts(stored, stored.generation, status or {}, surroundings, rivals, FACTS)
        judged = {uid: Judged(state, "", "") for uid, state in (states or {}).items()}
        self.rollouts.consider(stored, facts, Plan(None, judged=judged))
        return self.seen[-1]


def observed(name: str, **more: JSON) -> ObservedPod:
    """A pod of the ReplicaSet as the operator keeps it."""
    raw = cluster.pod()
    raw["metadata"] |= {"name": name, "namespace": "team1", "uid": name, "creationTimestamp": "2026-11-26T12:00:00Z"}
    raw["metadata"] |= more.pop("metadata", {})
    raw["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], **more}
    return OBSERVED_PODS.decode(orjson.dumps(raw))


def test_pods_are_seen_with_what_was_found_of_them() -> None:
    """Those that end or have ended too, though nobody has judged them."""
    gone = observed("c", metadata={"deletionTimestamp": "2026-11-26T12:00:01Z"})
    ended, bare = observed("b", phase="Failed", conditions=[]), observed("a")
    seen = World((bare, ended, gone)).consider(runtime(), states={"a": "bare"})
    assert [(found.name, found.state, found.ready) for found in seen.pods] == [
        ("a", "bare", True),
        ("b", "left", False),
        ("c", "left", True),
    ]
    assert [found.live for found in seen.pods] == [True, False, False]
    assert seen.pods[0].owner is not None
    assert seen.uid == "uid-target"


def test_what_is_known_against_a_replacement_is_seen() -> None:
    """It need not be found out again, pod by pod."""
    world = World((observed("a"),))
    judged = {"a": Judged("bare", "ProxyUid", "", withheld="its replacement would be denied")}
    stored = runtime()
    around = Surroundings(None, None, cluster.ENROLLED, world.rollouts.desk.coverage("team1"))
    world.rollouts.consider(stored, RuntimeFacts(stored, 1, {}, around, (stored,), FACTS), Plan(None, judged=judged))
    assert world.seen[-1].pods[0].withheld == "its replacement would be denied"


def test_a_mirror_pod_is_seen_as_one() -> None:
    """A kubelet's own, without a controller."""
    metadata = {"ownerReferences": None, "annotations": {"kubernetes.io/config.mirror": "hash"}}
    seen = World((observed("a", metadata=metadata),)).consider(runtime(), states={"a": "bare"})
    assert seen.pods[0].mirror


@pytest.mark.parametrize("may_restart", [True, False])
def test_the_policy_is_the_agent_runtimes_and_the_installations(may_restart: bool) -> None:  # a case
    """Asked for in the one, allowed by the other."""
    seen = World(may_restart=may_restart).consider(runtime(rollout={"stale": "Restart"}))
    assert seen.policy == Policy(stale="Restart", may_restart=may_restart)


def test_the_agent_runtime_in_force_alone_decides() -> None:
    """The younger of two is not asked."""
    world, older = World(), runtime("older")
    world.consider(older, rivals=(older,))
    world.consider(runtime("weather"), rivals=(older, runtime("weather")))
    assert len(world.seen) == 1


CHANGES: list[tuple[str, bool, StoredObject, dict[str, Any]]] = [
    ("nothing", False, runtime(), {}),
    ("status", False, runtime(status={"phase": "Active"}), {}),
    ("its spec", True, runtime(generation=2, type="agent"), {}),
    ("the namespace's config", True, runtime(), {"namespace": cluster.stored("team1", type="agent")}),
    ("the cluster's config", True, runtime(), {"cluster": cluster.stored("", type="agent")}),
    ("the namespace's labels", True, runtime(), {"labels": {**cluster.ENROLLED, "team": "one"}}),
]


@pytest.mark.parametrize(("what", "changes", "stored", "around"), CHANGES, ids=[row[0] for row in CHANGES])
def test_circumstances_change_with_what_decides(
    what: str,
    changes: bool,  # a table
    stored: StoredObject,
    around: dict[str, Any],
) -> None:
    """What was given up is taken up again when one of these changes, and not otherwise."""
    world = World()
    before = world.consider(runtime()).circumstances
    assert (world.consider(stored, **around).circumstances != before) is changes, what


def said(reason: str, message: str) -> JSON:
    """A status with that word of PodsInjected."""
    return {"conditions": [{"type": "PodsInjected", "status": "False", "reason": reason, "message": message}]}


BEFORE: list[tuple[str, JSON, Undertaken | None]] = [
    ("nothing yet", {}, None),
    ("no word of a rollout", said("BarePods", "2 of 2 pods have no sidecars: waiting for x"), None),
    ("given up", said("ReplacementBare", "replacement x: bare"), Undertaken("ReplacementBare", "replacement x: bare")),
    ("withheld", said("EvictionWithheld", "2 of 2 pods: pod a is left alone: why"), Undertaken("EvictionWithheld", "pod a is left alone: why")),  # noqa: E501  # a table reads by line
]  # fmt: skip


@pytest.mark.parametrize(("why", "status", "expected"), BEFORE, ids=[row[0] for row in BEFORE])
def test_before_our_first_step_the_condition_stands(why: str, status: JSON, expected: Undertaken | None) -> None:
    """A new leader takes nothing back that it does not know better."""
    assert World().rollouts.undertaken(runtime(status=status)) == Rollout(bare=expected, stale=expected), why


def test_after_it_the_driver_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each topic by itself."""
    world = World()
    reports = (Report("bare", "BarePods", "one by one"), Report("stale", "RestartNotAllowed", "set it"))
    monkeypatch.setattr(world.rollouts.driver, "reports", lambda _: reports)
    found = world.rollouts.undertaken(runtime(status=said("ReplacementBare", "old")))
    assert found == Rollout(bare=Undertaken("BarePods", "one by one"), stale=Undertaken("RestartNotAllowed", "set it"))


async def test_the_replacement_is_judged_by_the_layers_as_they_are_now() -> None:
    """The caches of this process, and the webhook's own function."""
    world = World()
    namespace = StoredObject("Namespace", "", "team1", "u", "1", "", labels=cluster.ENROLLED)
    world.catalogue.stores["Namespace"].apply(Apply(namespace))

    async def examine() -> Prospect:
        return await world.rollouts._examine(TARGET, cluster.pod())  # what the driver is given

    assert (await examine()).reason == "NoTrigger"
    world.apply(runtime())
    assert (await examine()).reason == "AgentRuntime"


async def test_with_target_workloads_no_replacement_is_better() -> None:
    """A new pod is as its template is, whatever the layers say."""
    world = World(by_workload=True)
    world.apply(runtime())
    found = await world.rollouts._examine(TARGET, cluster.pod())  # what the driver is given
    assert found == rollout.AS_ITS_TEMPLATE


def test_what_is_done_is_told_on_the_agent_runtime() -> None:
    """One event for each pod; what is new to say has the object looked at again."""
    world = World()
    world.apply(runtime())
    world.rollouts._acted(TARGET, Evict(pod()))  # what the driver is given
    world.rollouts._acted(TARGET, rollout.RestartWorkload())  # as above
    world.rollouts._told(TARGET)  # as above
    assert [event.reason for event in world.events] == ["Evicted", "Restarted"]
    assert world.marked == ["weather"]


def test_with_its_last_agent_runtime_a_workload_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """While another one is there, it is that one's."""
    world, forgotten = World(), []
    monkeypatch.setattr(world.rollouts.driver, "forget", forgotten.append)
    for name in ("weather", "other"):
        world.apply(runtime(name))
    world.catalogue.stores["AgentRuntime"].apply(Delete(runtime("weather")))
    assert forgotten == []
    world.catalogue.stores["AgentRuntime"].apply(Delete(runtime("other")))
    assert forgotten == [TARGET]
