"""What a pod is: found by the webhook's own decision and comparison, whatever the pod says of itself."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from kagenti.core import reconcile
from kagenti.core.installation import Installation
from kagenti.core.reconcile import Target
from kagenti.core.reconcile.judge import Judged
from tests.unit.core.admission import cluster
from tests.unit.core.reconcile.given import ENABLED, RECEIPT, Pod, World, conditions, runtime

JSON = Any  # a raw pod

REALM = {"identity": {"clientRegistration": {"keycloak": {"realm": "other"}}}}
AUDIENCE = {"identity": {"inbound": {"validation": {"audience": "https://weather.example"}}}}


def judged(world: World, raw: JSON) -> Judged:
    """The one pod of a workload."""
    plan = world.plan(Pod(raw))
    return plan.judged["uid-1"]


def changed(raw: JSON, change: Callable[[JSON], None]) -> JSON:
    """A copy with one change."""
    copied = copy.deepcopy(raw)
    change(copied)
    return copied


def sidecar(raw: JSON, name: str) -> JSON:
    """One of our containers."""
    return next(item for item in raw["spec"]["initContainers"] if item["name"] == name)


def test_a_pod_that_the_webhook_made_is_current() -> None:
    """Nothing differs."""
    world = World()
    assert judged(world, world.injected()).state == "current"


def test_the_pod_as_the_api_server_returns_it_is_current() -> None:
    """The service-account mount, an AlwaysPullImages and a name are not ours to complain about."""
    world = World()
    mount = {
        "name": "kube-api-access-x",
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
        "readOnly": True,
    }

    def admitted(raw: JSON) -> None:
        raw["metadata"]["name"] = "weather-7c9d8f-abcde"
        for container in [*raw["spec"]["initContainers"], *raw["spec"]["containers"]]:
            container["imagePullPolicy"] = "Always"
            container["volumeMounts"] = [*container.get("volumeMounts", []), mount]

    assert judged(world, changed(world.injected(), admitted)).state == "current"


def test_a_live_change_leaves_a_pod_current() -> None:
    """It reaches the running proxy by xDS; the receipt's live revision is a circumstance."""
    world = World()
    raw = world.injected()
    world.namespace = cluster.stored("team1", **AUDIENCE)
    assert judged(world, raw).state == "current"


def test_a_restart_change_makes_a_pod_stale_and_names_the_fields() -> None:
    """What the next pod would have otherwise."""
    world = World()
    raw = world.injected()
    world.namespace = cluster.stored("team1", **REALM)
    found = judged(world, raw)
    assert (found.state, found.fields) == (
        "stale",
        ("identity.clientRegistration.keycloak.realm", "identity.spiffe.jwtAudience"),
    )


def test_a_type_that_the_runtime_sets_later_makes_a_pod_stale() -> None:
    """The label of the next pod would differ."""
    world = World()
    raw = world.injected()
    world.runtime = runtime(type="tool")
    found = judged(world, raw)
    assert (found.state, found.fields) == ("stale", ("type",))


def test_another_version_of_kagenti_alone_makes_no_pod_stale() -> None:
    """An upgrade of ours is no change of anybody's settings."""
    old, new = World(), World()
    raw = changed(old.injected(), lambda pod: receipt(pod, version="0.0.9"))
    assert judged(new, raw).state == "current"


def with_authority(pem: str) -> World:
    """A world whose xDS server has that CA."""
    base = cluster.context()
    return World(context=replace(base, installation=replace(base.installation, xds_authority=pem)))


OLD, NEW = (f"-----BEGIN CERTIFICATE-----\n{what}\n-----END CERTIFICATE-----\n" for what in ("b2xk", "bmV3"))


def test_another_ca_of_the_xds_server_makes_pods_stale_and_not_tampered_with() -> None:
    """They were made right, and will not trust the server's next certificate."""
    found = judged(with_authority(NEW), with_authority(OLD).injected())
    assert (found.state, found.fields) == ("stale", ("xdsAuthority",))


def test_a_ca_that_somebody_put_into_a_pod_is_tampering() -> None:
    """The receipt has the hash of the file as it was written."""
    world = with_authority(OLD)
    files = "config.kagenti.io/envoy.yaml"

    def swapped(raw: JSON) -> None:
        raw["metadata"]["annotations"][files] = raw["metadata"]["annotations"][files].replace("b2xk", "ZXZpbA")

    assert judged(world, changed(world.injected(), swapped)).state == "tampered"


def test_who_else_changed_a_pod_is_named_beside_what_was_changed() -> None:
    """A webhook behind ours that is called again has the last word: people are told whose it may be."""
    world = World()

    def stripped(raw: JSON) -> None:
        raw["metadata"]["annotations"]["vault.hashicorp.com/agent-inject-status"] = "injected"
        del sidecar(raw, "envoy-proxy")["restartPolicy"]

    found = judged(world, changed(world.injected(), stripped))
    assert found.state == "tampered"
    assert "spec.initContainers.2 is not as its receipt says; Vault Agent changed this pod too" in found.message


def receipt(raw: JSON, **changes: JSON) -> None:
    """Rewrites parts of a pod's receipt."""
    annotations = raw["metadata"]["annotations"]
    content = {**orjson.loads(annotations[RECEIPT]), **changes}
    annotations[RECEIPT] = orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode()


def setting(raw: JSON, path: str, value: JSON) -> None:
    """Gives the receipt another value of a setting."""
    recorded = orjson.loads(raw["metadata"]["annotations"][RECEIPT])["settings"]
    receipt(raw, settings={**recorded, path: value})


def appended(raw: JSON, member: str) -> None:
    """Gives the receipt one more member."""
    annotations = raw["metadata"]["annotations"]
    annotations[RECEIPT] = f"{annotations[RECEIPT][:-1]}, {member}}}"


def no_envoy(raw: JSON) -> None:
    """Takes a sidecar away."""
    raw["spec"]["initContainers"].remove(sidecar(raw, "envoy-proxy"))


TAMPERED: list[tuple[str, Callable[[JSON], None]]] = [
    ("another image", lambda raw: sidecar(raw, "envoy-proxy").update(image="evil/envoy:1")),
    ("another command", lambda raw: sidecar(raw, "proxy-init").update(command=["true"])),
    ("a file rewritten", lambda raw: raw["metadata"]["annotations"].update({"config.kagenti.io/envoy.yaml": "{}"})),
    ("a sidecar gone", no_envoy),
    ("a number that no receipt has", lambda raw: appended(raw, '"odd": 18446744073709551616')),
    ("a thousand brackets", lambda raw: appended(raw, '"odd": ' + "[" * 900 + "1.0" + "]" * 900)),
    ("containers of another form", lambda raw: receipt(raw, containers=1)),
    ("a setting of another form", lambda raw: setting(raw, "identity.inbound.port", "x")),
    ("settings of another form", lambda raw: setting(raw, "trace.exporters", {"8080": [None]})),
    ("the receipt is no JSON", lambda raw: raw["metadata"]["annotations"].update({RECEIPT: "yes"})),
    ("a receipt with other settings", lambda raw: receipt(raw, settings={"identity.spiffe.trustDomain": "evil"})),
    ("our volume is another", lambda raw: raw["spec"]["volumes"][-1].update(emptyDir={})),
]


@pytest.mark.parametrize(("what", "change"), TAMPERED, ids=[what for what, _ in TAMPERED])
def test_a_pod_whose_sidecars_differ_from_its_receipt_is_tampered_with(
    what: str, change: Callable[[JSON], None]
) -> None:
    """Whatever was changed after admission."""
    world = World()
    found = judged(world, changed(world.injected(), change))
    assert found.state == "tampered", what
    assert "receipt" in found.message


@pytest.mark.parametrize(("what", "change"), TAMPERED[:4], ids=[what for what, _ in TAMPERED[:4]])
def test_tampering_shows_on_a_stale_pod_too(what: str, change: Callable[[JSON], None]) -> None:
    """It is held against what it was built from, not against what would be built now."""
    world = World()
    raw = changed(world.injected(), change)
    world.namespace = cluster.stored("team1", **REALM)
    assert judged(world, raw).state == "tampered", what


def istio(raw: JSON) -> None:
    """Another mesh's sidecar."""
    raw["spec"]["containers"].append({"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.29"})


def with_label(value: str) -> JSON:
    """A pod with that inject label."""
    return cluster.pod(labels={"kagenti.io/inject": value})


WITHOUT: list[tuple[str, JSON, str, str, bool]] = [
    ("label", with_label("enabled"), "bare", "Label", False),
    ("AgentRuntime", cluster.pod(), "bare", "AgentRuntime", False),
    ("opted out", with_label("disabled"), "optedOut", "OptOut", False),
    ("wrong label", with_label("yes"), "bare", "InvalidLabel", True),
    ("another mesh", changed(with_label("enabled"), istio), "foreign", "ForeignInterceptor", False),
    ("hostNetwork by AgentRuntime", cluster.pod(hostNetwork=True), "left", "UnsupportedPod", False),
    ("hostNetwork by label", cluster.pod(labels=ENABLED, hostNetwork=True), "bare", "UnsupportedPod", True),
    (
        "our names",
        cluster.pod(initContainers=[{"name": "envoy-proxy", "image": "x"}]),
        "foreign",
        "ReservedName",
        False,
    ),
]


@pytest.mark.parametrize(("what", "raw", "state", "reason", "withheld"), WITHOUT, ids=[what for what, *_ in WITHOUT])
def test_a_pod_without_receipt_is_what_the_webhook_would_decide(
    what: str, raw: JSON, state: str, reason: str, withheld: bool
) -> None:
    """Bare where it would be injected or denied; the denial is why its replacement would be no better."""
    found = judged(World(), raw)
    assert (found.state, found.reason, bool(found.withheld)) == (state, reason, withheld), what


def test_the_managed_label_alone_makes_no_pod_injected() -> None:
    """Presence proves nothing: without a receipt it is bare."""
    raw = cluster.pod(labels={**ENABLED, "kagenti.io/managed": "true"})
    assert judged(World(), raw).state == "bare"


def test_a_pod_of_a_namespace_that_is_not_enrolled_is_left_alone_uncalled() -> None:
    """The webhook was never asked."""
    found = judged(World(labels={}), cluster.pod())
    assert (found.state, found.called, found.reason) == ("left", False, "NotEnrolled")


OPEN = {**cluster.ENROLLED, "kagenti.io/break-glass": "INC-1"}


@pytest.mark.parametrize(("what", "raw", "state", "reason", "_"), WITHOUT, ids=[what for what, *_ in WITHOUT])
def test_a_pod_that_came_through_the_emergency_door_is_what_it_is_without(
    what: str, raw: JSON, state: str, reason: str, _: bool
) -> None:
    """Also where it would be denied: a layer that denies every pod is why the door was opened. A bare one stays."""
    found = judged(World(labels=OPEN), raw)
    left_open = state in ("bare", "left")
    assert (found.state, found.reason) == (state, "BreakGlass" if left_open else reason), what
    assert ("remove it when the emergency is over" in found.withheld) == (state == "bare")


def test_an_injected_pod_is_what_it_is_while_the_emergency_door_is_open() -> None:
    """Current, or stale by its settings: the door is for the next pods."""
    world = World()
    raw = world.injected()
    world.labels = OPEN
    assert judged(world, raw).state == "current"
    world.namespace = cluster.stored("team1", **REALM)
    assert judged(world, raw).fields == ("identity.clientRegistration.keycloak.realm", "identity.spiffe.jwtAudience")


def test_behind_the_emergency_door_of_a_namespace_that_is_not_enrolled_nothing_is_missing() -> None:
    """A webhook that is called would not have been called for an AgentRuntime there."""
    found = judged(World(labels={"kagenti.io/break-glass": "INC-1"}), cluster.pod())
    assert (found.state, found.reason, found.withheld) == ("left", "BreakGlass", "")


def test_pods_behind_the_emergency_door_are_counted_bare() -> None:
    """And the condition says why they are, rather than that somebody will replace them."""
    world = World(labels={**cluster.ENROLLED, "kagenti.io/break-glass": "INC-1"})
    plan = world.plan(Pod(with_label("enabled")))
    assert plan.status is not None
    assert (plan.status["pods"]["total"], plan.status["pods"]["bare"]) == (1, 1)
    assert conditions(plan)["PodsInjected"] == ("False", "BreakGlass")


def test_weak_interception_is_noted_on_an_injected_pod() -> None:
    """A root container with SETUID could act as Envoy's user."""
    world = World()
    raw = world.injected(cluster.pod(labels=ENABLED, securityContext={"runAsUser": 0}))
    assert "root" in judged(world, raw).weak


def test_a_verdict_is_asked_for_once_while_nothing_changes() -> None:
    """The same pod under the same layers; another layer, or another pod, is looked at again."""
    world = World()
    pod = Pod(world.injected())
    tools = world.tools()
    first = reconcile.plan_runtime(world.facts(pod), tools).judged
    again = reconcile.plan_runtime(world.facts(pod), tools).judged
    assert first["uid-1"] is again["uid-1"]
    world.namespace = cluster.stored("team1", **REALM)
    later = reconcile.plan_runtime(world.facts(pod), tools).judged
    assert later["uid-1"].state == "stale"


def test_a_pod_of_an_injected_template_is_current_without_a_trigger_of_its_own() -> None:
    """Target workloads: the label stands on the workload's own metadata, where its pods do not see it."""
    world = World(context=cluster.context("label"))
    raw = world.injected(cluster.pod(labels=ENABLED))
    del raw["metadata"]["labels"]["kagenti.io/inject"]
    assert world.plan(Pod(raw)).judged["uid-1"].state == "stale"
    world.context = replace(world.context, by_workload=True)
    assert world.plan(Pod(raw)).judged["uid-1"].state == "current"


def test_with_target_workloads_the_workload_s_own_label_makes_a_pod_bare() -> None:
    """Its template was never seen by the webhook; with target pods the label there means nothing."""
    world = World(context=cluster.context("label"), target=Target("found", own_labels=ENABLED))
    pod = Pod(cluster.pod())
    assert world.plan(pod).judged["uid-1"].state == "left"
    world.context = replace(world.context, by_workload=True)
    assert world.plan(pod).judged["uid-1"].state == "bare"


TYPED = {"kagenti.io/type": "agent"}
CHANGES = [
    ("a restart setting", REALM, {}, {}),
    ("a live setting alone", AUDIENCE, {}, {}),
    ("another CA alone", {}, {}, {"xds_authority": "-----BEGIN CERTIFICATE-----\nbmV4dA==\n-----END CERTIFICATE-----\n"}),
    ("a setting and another CA", REALM, {},
     {"xds_authority": "-----BEGIN CERTIFICATE-----\nbmV4dA==\n-----END CERTIFICATE-----\n"}),
    ("a setting and a type that the pod lacks", REALM, {"type": "tool"}, {}),
    ("a setting and the type that it has", REALM, {"type": "agent"}, {}),
    ("injection switched off", {"injection": {"enabled": False}}, {}, {}),
    ("layers that contradict each other", {"identity": {"outbound": {"trafficInterception": {"proxyPort": 15124}}}}, {}, {}),
    ("a new version", REALM, {}, {"version": "9.9"}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "spec", "own", "installed"), CHANGES, ids=[row[0] for row in CHANGES])
def test_a_pod_that_was_found_sound_is_told_the_same_with_less_work(
    why: str, spec: JSON, own: JSON, installed: JSON
) -> None:
    """State and fields are those of a process that looks at the pod for the first time."""
    installation = Installation(xds_authority="-----BEGIN CERTIFICATE-----\nZmlyc3Q=\n-----END CERTIFICATE-----\n")
    world = World(context=replace(cluster.context(), installation=installation))
    pod = Pod(world.injected(cluster.pod(labels={**ENABLED, **TYPED})))
    tools = world.tools()
    assert reconcile.plan_runtime(world.facts(pod), tools).judged["uid-1"].state == "current"
    world.namespace, world.runtime = cluster.stored("team1", **spec), runtime(**own)
    world.context = replace(world.context, installation=replace(installation, **installed))
    known = reconcile.plan_runtime(world.facts(pod), replace(tools, context=world.context)).judged["uid-1"]
    fresh = world.plan(pod).judged["uid-1"]
    assert (known.state, known.fields, known.trigger, known.called) == (
        fresh.state, fresh.fields, fresh.trigger, fresh.called
    ), why  # fmt: skip


def test_pods_that_restart_settings_alone_make_stale_cost_no_sidecars() -> None:
    """A change of a config concerns hundreds of workloads at once."""
    world = World()
    pod, tools = Pod(world.injected()), world.tools()
    assert reconcile.plan_runtime(world.facts(pod), tools).judged["uid-1"].state == "current"
    built = len(world.context.sidecars)
    world.namespace = cluster.stored("team1", **REALM)
    assert reconcile.plan_runtime(world.facts(pod), tools).judged["uid-1"].state == "stale"
    assert len(world.context.sidecars) == built


def test_a_pod_that_changed_after_it_was_found_sound_is_looked_at_anew() -> None:
    """Soundness is remembered of exactly that pod."""
    world = World()
    raw = world.injected()
    tools = world.tools()
    assert reconcile.plan_runtime(world.facts(Pod(raw)), tools).judged["uid-1"].state == "current"
    world.namespace = cluster.stored("team1", **REALM)
    broken = changed(raw, no_envoy)
    assert reconcile.plan_runtime(world.facts(Pod(broken)), tools).judged["uid-1"].state == "tampered"
    assert reconcile.plan_runtime(world.facts(Pod(raw)), tools).judged["uid-1"].state == "stale"
