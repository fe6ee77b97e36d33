"""The status of an AgentRuntime: every condition with every reason, the summary that follows, and when nothing is written."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from kagenti.core.reconcile import Rollout, Target, Undertaken
from kagenti.core.workload import WorkloadRef
from kagenti_api.v1alpha1 import agentruntime
from tests.unit.core.admission import cluster
from tests.unit.core.reconcile.given import ENABLED, Pod, World, acked, conditions, message, runtime

JSON = Any  # a status

MANDATORY = {"policy": {"namespaces": [{"names": ["team1"], "injection": "Mandatory"}]}}
LOCKED = {"policy": {"locked": ["trace.sampling"]}, "trace": {"sampling": {"rate": 0.5}}}
BROKEN = {"trace": {"sampling": {"rate": 7}}}
FAR = {"identity": {"clientRegistration": {"keycloak": {"url": "https://far.example"}}}}


@dataclass
class Row:
    """One case: a world, its pods, and the condition that tells it from the good one."""

    why: str
    condition: str
    expected: tuple[str, str]
    phase: str
    world: World = field(default_factory=World)
    pods: tuple[str, ...] = ("injected",)
    says: str = ""
    rollout: Rollout = field(default_factory=Rollout)


def target(state: Any, **facts: Any) -> World:
    """A world whose target is known in that way."""
    return World(target=Target(state, **facts))


def other_target(kind: str, group: str = "v1") -> World:
    """A world whose AgentRuntime names another kind."""
    return World(runtime=cluster.stored("team1", "weather", targetRef=cluster.reference(kind, group=group)))


BY_WORKLOAD = replace(cluster.context("label"), by_workload=True)
RS = WorkloadRef("apps", "ReplicaSet", "team1", "weather")
LOSER = runtime("late", created="2026-11-02T00:00:00Z")
ROWS = [
    Row("a missing target is a quiet state", "TargetResolved", ("False", "NotFound"), "Pending", target("missing"), ()),
    Row("no such kind", "TargetResolved", ("False", "NotFound"), "Pending", target("missing", why="no kind Foo"), (), "Foo"),
    Row("no right", "TargetResolved", ("Unknown", "Forbidden"), "Degraded", target("forbidden", why="grant x"), says="grant x"),
    Row("not read yet", "TargetResolved", ("Unknown", "NotRead"), "Pending", target("unread", why="busy"), ()),
    Row("no pod template", "TargetResolved", ("False", "UnsupportedTarget"), "Error", target("found", has_template=False), ()),
    Row("a Secret", "TargetResolved", ("False", "UnsupportedTarget"), "Error", other_target("Secret"), ()),
    Row(
        "in the middle of a chain",
        "TargetResolved",
        ("False", "NotTopOwner"),
        "Error",
        World(
            runtime=cluster.stored("team1", "weather", targetRef=cluster.reference("ReplicaSet")),
            target=Target("found", owned_by=cluster.DEPLOYMENT),
        ),
        (),
        "Deployment team1/weather",
    ),
    Row(
        "an older AgentRuntime has the target",
        "TargetResolved",
        ("False", "Conflict"),
        "Error",
        World(runtime=LOSER, rivals=(LOSER, runtime())),
        says="AgentRuntime team1/weather",
    ),
    Row("unreadable", "ConfigResolved", ("False", "ConfigInvalid"), "Error", World(runtime=runtime(**BROKEN)), ()),
    Row(
        "an unreadable layer above",
        "ConfigResolved",
        ("False", "ConfigInvalid"),
        "Error",
        World(namespace=cluster.stored("team1", **BROKEN)),
        (),
        "AgentRuntimeConfig team1/default",
    ),
    Row("layers that contradict", "ConfigResolved", ("False", "ConfigInvalid"), "Error", World(runtime=runtime(**FAR)), ()),
    Row(
        "a lock",
        "ConfigResolved",
        ("False", "LockViolation"),
        "Degraded",
        World(cluster=cluster.stored("", **LOCKED), runtime=runtime(trace={"sampling": {"rate": 1.0}})),
        says="trace.sampling",
    ),
    Row(
        "a cluster-only field",
        "ConfigResolved",
        ("False", "Unauthorised"),
        "Degraded",
        World(runtime=runtime(injection={"imageRegistry": "evil.example"})),
        says="imageRegistry",
    ),
    Row("bare", "PodsInjected", ("False", "BarePods"), "Degraded", pods=("injected", "bare"), says="1 of 2"),
    Row("withheld", "PodsInjected", ("False", "EvictionWithheld"), "Degraded", pods=("denied",), says="InvalidLabel"),
    Row(
        "given up",
        "PodsInjected",
        ("False", "ReplacementBare"),
        "Degraded",
        pods=("bare",),
        rollout=Rollout(bare=Undertaken("ReplacementBare", "came up bare again")),
        says="came up bare again",
    ),
    Row(
        "an eviction is refused",
        "PodsInjected",
        ("False", "BarePods"),
        "Degraded",
        pods=("bare", "injected"),
        rollout=Rollout(bare=Undertaken("BarePods", "a budget leaves no room")),
        says="1 of 2 pods (weather-1) have no sidecars: a budget leaves no room",
    ),
    Row("another mesh", "PodsInjected", ("False", "ForeignSidecars"), "Degraded", pods=("foreign",)),
    Row("tampered", "PodsInjected", ("False", "TamperedPods"), "Degraded", pods=("injected", "tampered")),
    Row("hostNetwork", "PodsInjected", ("False", "UnsupportedPod"), "Degraded", pods=("host",)),
    Row("opted out", "PodsInjected", ("False", "OptOut"), "Degraded", pods=("opted out",)),
    Row("not enrolled", "PodsInjected", ("False", "NotEnrolled"), "Degraded", World(labels={}), ("bare",), "kubectl label"),
    Row(
        "not enrolled, before any pod",
        "PodsInjected",
        ("False", "NotEnrolled"),
        "Degraded",
        World(labels={}),
        (),
        "kubectl label",
    ),
    Row(
        "label missing",
        "PodsInjected",
        ("False", "LabelMissing"),
        "Degraded",
        World(context=cluster.context("label")),
        ("unlabelled",),
    ),
    Row(
        "label missing on the template",
        "PodsInjected",
        ("False", "LabelMissing"),
        "Degraded",
        World(context=cluster.context("label")),
        (),
    ),
    Row("label on the workload, which its pods do not see", "PodsInjected", ("False", "LabelMissing"), "Degraded",
        World(context=cluster.context("label"), target=Target("found", own_labels=cluster.ENABLED)), (), "to the pod template"),
    Row("label on the workload, which the webhook reads", "PodsInjected", ("Unknown", "NoPods"), "Pending",
        World(context=BY_WORKLOAD, target=Target("found", own_labels=cluster.ENABLED)), ()),
    Row("label nowhere, with target workloads", "PodsInjected", ("False", "LabelMissing"), "Degraded",
        World(context=BY_WORKLOAD), (), "to the workload or to its pod template"),
    Row("injection off", "PodsInjected", ("False", "InjectionDisabled"), "Degraded",
        World(runtime=runtime(injection={"enabled": False})), ("bare",)),
    Row("no pod yet", "PodsInjected", ("Unknown", "NoPods"), "Pending", pods=()),
    Row("no pod wanted", "PodsInjected", ("True", "NoPods"), "Pending", target("found", idle=True), ()),
    Row("weak", "PodsInjected", ("True", "InterceptionNotEnforced"), "Active", pods=("weak",), says="root"),
    Row("not registered", "IdentityReady", ("False", "NotRegistered"), "Pending", pods=("starting",), says="weather-1"),
    Row("identity off", "IdentityReady", ("True", "IdentityDisabled"), "Active",
        World(runtime=runtime(identity={"enabled": False}))),
    Row("all is well", "Ready", ("True", "AsDesired"), "Active", says="the pod carries"),
]  # fmt: skip


def make(world: World, sort: str, number: int) -> Pod:
    """A pod of that sort."""
    uid = f"uid-{number}"
    match sort:
        case "bare":
            return Pod(cluster.pod(), uid)
        case "unlabelled":
            return Pod(cluster.pod(), uid)
        case "denied":
            return Pod(cluster.pod(labels={"kagenti.io/inject": "yes"}), uid)
        case "opted out":
            return Pod(cluster.pod(labels={"kagenti.io/inject": "disabled"}), uid)
        case "foreign":
            return Pod(
                cluster.pod(labels=ENABLED, initContainers=[{"name": "istio-init", "image": "istio/proxyv2"}]), uid
            )
        case "host":
            return Pod(cluster.pod(hostNetwork=True), uid)
        case "weak":
            return Pod(world.injected(cluster.pod(labels=ENABLED, securityContext={"runAsUser": 0})), uid)
        case "starting":
            return Pod(world.injected(), uid, ready=False)
        case "tampered":
            raw = world.injected()
            raw["metadata"]["annotations"]["config.kagenti.io/envoy.yaml"] = "{}"
            return Pod(raw, uid)
    return Pod(world.injected(), uid)


@pytest.mark.parametrize("row", ROWS, ids=[row.why for row in ROWS])
def test_every_state_has_its_condition_and_its_phase(row: Row) -> None:
    """Each row is one thing that can be the matter, with every proxy acknowledged."""
    good = World()
    pods = [make(row.world if row.condition == "IdentityReady" else good, sort, n) for n, sort in enumerate(row.pods)]
    plan = row.world.plan(*pods, rollout=row.rollout)
    assert plan.status is not None
    if "config" in plan.status:
        entries = acked(plan, len(pods))
        plan = row.world.plan(*pods, rollout=row.rollout, status={"propagation": entries})
    assert plan.status is not None
    assert conditions(plan)[row.condition] == row.expected
    assert plan.status["phase"] == row.phase
    assert row.says in message(plan, row.condition)
    summary = conditions(plan)["Ready"]
    assert (summary[0] == "True") == (row.phase == "Active")


def test_every_reason_of_the_api_is_seen() -> None:
    """A reason without a row above is not tested; those of ConfigPropagated are the xDS server's."""
    seen = {row.expected[1] for row in ROWS}
    constants = {value for name, value in vars(agentruntime).items() if name.isupper() and isinstance(value, str)}
    types = set(agentruntime.CONDITIONS)
    elsewhere = {"Rejected", "Pending", "NoReplica"}  # ConfigPropagated
    below = {"Found", "Resolved", "Injected", "Registered", "StalePods", "ProxyNotReady"}  # tested by their own names
    assert constants - types - seen - elsewhere - below - set(OF_STALE) - {"Evict", "None"} == set()


# What a rollout says of stale pods: they have sidecars, so that PodsInjected stays True.
OF_STALE = ("EvictionWithheld", "NotReplaced", "ReplacementStale", "RestartNotAllowed", "RestartNotSupported")


@pytest.mark.parametrize("reason", OF_STALE)
def test_what_is_undertaken_for_stale_pods_is_said_and_keeps_ready_false(reason: str) -> None:
    """Whatever is the matter with their replacement, they are not as desired."""
    world = World()
    pod = Pod(world.injected())
    world.namespace = cluster.stored("team1", identity={"clientRegistration": {"keycloak": {"realm": "other"}}})
    plan = world.plan(pod, rollout=Rollout(stale=Undertaken(reason, "why")))
    assert conditions(plan)["PodsInjected"] == ("True", reason)
    assert conditions(plan)["Ready"] == ("False", reason)
    assert message(plan, "PodsInjected").endswith("why")


def test_stale_pods_are_injected_and_not_as_desired() -> None:
    """They run with sidecars, but not with those that are asked for."""
    world = World()
    pod = Pod(world.injected())
    world.namespace = cluster.stored("team1", identity={"clientRegistration": {"keycloak": {"realm": "other"}}})
    plan = world.plan(pod)
    assert conditions(plan)["PodsInjected"] == ("True", "StalePods")
    assert conditions(plan)["Ready"] == ("False", "StalePods")
    assert plan.status is not None
    assert plan.status["pods"] == {
        "total": 1, "injected": 1, "current": 0, "stale": 1, "bare": 0, "optedOut": 0, "foreign": 0, "tampered": 0,
    }  # fmt: skip
    assert "identity.clientRegistration.keycloak.realm" in plan.status["config"]["restartFields"]
    assert plan.status["configuredPods"] == 0


def test_pods_that_are_not_as_desired_are_named() -> None:
    """The first few, in order: whoever reads it may have twenty, of which some were replaced already."""
    world = World()
    pods = [Pod(world.injected(named(f"weather-{n}")), f"uid-{n}") for n in range(7)]
    keycloak = {"clientRegistration": {"keycloak": {"realm": "other"}}}
    world.namespace = cluster.stored("team1", identity=keycloak)
    plan = world.plan(*reversed(pods), Pod(world.injected(named("weather-new")), "uid-new"))
    said = message(plan, "PodsInjected")
    assert said.startswith("7 of 8 pods (weather-0, weather-1, weather-2, weather-3, weather-4, …) have older restart")
    assert "identity.clientRegistration.keycloak.realm" in said
    assert plan.status is not None
    assert plan.status["message"] == said


def named(name: str) -> JSON:
    """A labelled pod of that name."""
    made = cluster.pod(labels=ENABLED)
    made["metadata"]["name"] = name
    return made


PROPAGATION = [
    ("nobody reports", [], ("False", "NoReplica"), "Degraded"),
    ("another revision", [{"replica": "a", "acked": 1, "revision": "old"}], ("False", "Pending"), "Pending"),
]


@pytest.mark.parametrize(("why", "entries", "summary", "phase"), PROPAGATION, ids=[row[0] for row in PROPAGATION])
def test_readiness_follows_the_replicas_entries(why: str, entries: JSON, summary: JSON, phase: str) -> None:
    """By the function that writes ConfigPropagated, against the revision in force now."""
    world = World()
    plan = world.plan(Pod(world.injected()), status={"propagation": entries})
    assert plan.status is not None
    assert (conditions(plan)["Ready"], plan.status["phase"]) == (summary, phase), why


def test_a_refused_configuration_degrades() -> None:
    """The line that Envoy gave is in the message."""
    world = World()
    pod = Pod(world.injected())
    entries = acked(world.plan(pod), 0)
    entries[0] |= {"rejected": 1, "lastError": "Listener inbound: no"}
    plan = world.plan(pod, status={"propagation": entries})
    assert conditions(plan)["Ready"] == ("False", "Rejected")
    assert "Listener inbound: no" in message(plan, "Ready")


def test_what_was_not_observed_is_left_out() -> None:
    """Without a pod nobody is registered and no proxy is ready or not ready."""
    plan = World().plan()
    assert plan.status is not None
    assert plan.status["identity"] == {"spiffeEnabled": True}


def test_nothing_is_written_when_the_object_has_it() -> None:
    """Fields and conditions of others do not count, nor does the order of conditions."""
    world = World()
    pod = Pod(world.injected())
    plan = world.plan(pod)
    assert plan.status is not None
    propagated = {"type": "ConfigPropagated", "status": "True", "reason": "Propagated", "message": ""}
    kept = {**plan.status, "propagation": [], "conditions": [propagated, *reversed(plan.status["conditions"])]}
    assert world.plan(pod, status=kept).status is None


def test_the_time_of_a_transition_stays_while_the_status_does() -> None:
    """Another message is no transition."""
    world = World()
    status = world.plan().status
    assert status is not None
    for found in status["conditions"]:
        found["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    later = world.plan(Pod(world.injected()), status=status).status
    assert later is not None
    times = {found["type"]: found["lastTransitionTime"] for found in later["conditions"]}
    assert times["TargetResolved"] == "2026-01-01T00:00:00Z"
    assert times["PodsInjected"] != "2026-01-01T00:00:00Z"


EVENTS = [
    ("a new object that is not ready yet is no news", (), None, []),
    ("a fault is told", ("tampered",), None, [("Warning", "TamperedPods")]),
    ("recovery is told", ("injected",), "TamperedPods", [("Normal", "AsDesired")]),
    ("the same again is not", ("tampered",), "TamperedPods", []),
]


@pytest.mark.parametrize(("why", "sorts", "before", "told"), EVENTS, ids=[row[0] for row in EVENTS])
def test_events_tell_changes_only(why: str, sorts: tuple[str, ...], before: str | None, told: JSON) -> None:
    """They are about the summary."""
    world = World()
    pods = [make(world, sort, number) for number, sort in enumerate(sorts)]
    status: JSON = {"propagation": acked(world.plan(*pods), len(pods))}
    if before:
        status["conditions"] = [{"type": "Ready", "status": "False", "reason": before, "message": ""}]
    plan = world.plan(*pods, status=status)
    assert [(event.type, event.reason) for event in plan.events] == told, why


def test_a_mandatory_policy_makes_no_difference_to_an_exempt_owner() -> None:
    """It is resolved as the webhook resolves it: under no locks of Mandatory."""
    exempt = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather"}
    entry = {**MANDATORY["policy"]["namespaces"][0], "exempt": [exempt]}
    off = runtime(identity={"enabled": False})
    bound = World(cluster=cluster.stored("", **MANDATORY), runtime=off)
    free = World(cluster=cluster.stored("", policy={"namespaces": [entry]}), runtime=off)
    assert conditions(bound.plan())["ConfigResolved"] == ("False", "LockViolation")
    assert conditions(free.plan())["ConfigResolved"] == ("True", "Resolved")
