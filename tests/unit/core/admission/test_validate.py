"""Writes of our own kinds: what is denied, what is said, and that an outage of ours lets everything through."""

# ruff: noqa: E501  # a table reads by line
from typing import Any

import pytest

from kagenti.core.admission import targets, validate
from kagenti.core.admission.respond import Answer
from kagenti.core.admission.targets import TargetFacts
from kagenti.core.workload import WorkloadRef
from tests.unit.core.admission.cluster import (
    DEPLOYMENT,
    Cluster,
    context,
    layers,
    ours,
    reference,
    request,
    stored,
    workload,
)

JSON = Any  # a manifest

TARGET = {"targetRef": reference()}
FIRST = stored("team1", "first", **TARGET)
LOCKED = {"team1": stored("team1", policy={"locked": ["trace.sampling"]}, trace={"sampling": {"rate": 0.25}})}
RATE = {"trace": {"sampling": {"rate": 1.0}}}
IMAGE = {"components": {"envoyProxy": {"image": "evil/envoy:1"}}}
PORT = {"identity": {"outbound": {"trafficInterception": {"proxyPort": 15200}}}}
CLASH = {"identity": {"outbound": {"trafficInterception": {"inboundProxyPort": 15200}}}}
FOUND = TargetFacts("found", pods=3)
MANDATORY = {"namespaces": [{"names": ["team1", "not-made-yet"], "injection": "Mandatory"}]}
BY_SELECTOR = {
    "namespaces": [{"selector": {"matchExpressions": [{"key": "t", "operator": "Exists"}]}, "injection": "Mandatory"}]
}


def answer(
    new: JSON, cluster: Cluster, *, old: JSON = None, mode: str = "both", target: TargetFacts = targets.UNKNOWN
) -> Answer:
    shown = new if new is not None else old
    asked = request(new, old=old, namespace=shown["metadata"].get("namespace", ""))
    return validate.validate(asked, validate.Desk(cluster, layers(), context(mode)), target=target)


def runtime(name: str = "weather", **spec: JSON) -> JSON:
    return ours("AgentRuntime", name, **TARGET, **spec)


def config(**spec: JSON) -> JSON:
    return ours("AgentRuntimeConfig", "default", **spec)


def cluster_config(**spec: JSON) -> JSON:
    return ours("AgentRuntimeClusterConfig", "default", namespace="", **spec)


FEDERATED: JSON = {"spiffe": {"enabled": False}, "clientRegistration": {"authType": "federated-jwt"}}


@pytest.mark.parametrize(
    ("why", "manifest", "cluster", "reason", "says"),
    [
        ("a second one for a target", runtime("second"), Cluster(agent_runtimes=[FIRST]), "Conflict", ["AgentRuntime team1/first", "Deployment team1/weather"]),
        ("a locked setting", runtime(**RATE), Cluster(configs=LOCKED), "LockViolation", ["trace.sampling.rate", "AgentRuntimeConfig team1/default"]),
        ("a setting of the cluster's", runtime(**IMAGE), Cluster(), "Unauthorised", ["components.envoyProxy.image", "policy.delegated"]),
        ("a value of the wrong type", runtime(trace=[]), Cluster(), "ConfigInvalid", ["spec.trace"]),
        ("a target without pods", ours("AgentRuntime", "a", targetRef=reference("Secret", group="v1")), Cluster(), "UnsupportedTarget", ["Secret"]),
        ("a config's setting of the cluster's", config(**IMAGE), Cluster(), "Unauthorised", ["components.envoyProxy.image"]),
        ("a config against the cluster's lock", config(**RATE), Cluster(cluster=stored("", policy={"locked": ["trace"]})), "LockViolation", ["AgentRuntimeClusterConfig default"]),
        ("Mandatory by a selector that never matches", cluster_config(policy={"namespaces": [{"selector": {"matchExpressions": [{"key": "t", "operator": "In"}]}, "injection": "Mandatory"}]}), Cluster(), "ConfigInvalid", ["spec.policy.namespaces[0].selector.matchExpressions[0]", "need values"]),
        ("a lock on nothing", config(policy={"locked": ["no.such.path"]}), Cluster(), "ConfigInvalid", ["no.such.path"]),
    ],
)  # fmt: skip
def test_denied(why: str, manifest: JSON, cluster: Cluster, reason: str, says: list[str]) -> None:
    """The message names the field, the other object and the object itself."""
    given = answer(manifest, cluster)
    assert (given.allowed, given.reason) == (False, reason), why
    for word in says:
        assert word in given.message


@pytest.mark.parametrize(
    ("why", "manifest", "cluster", "mode", "target", "says"),
    [
        ("pods predate it", runtime(), Cluster(), "both", FOUND, "3 running pods predate this"),
        ("one pod predates it", runtime(rollout={"bare": "None"}), Cluster(), "both", TargetFacts("found", pods=1), "1 running pod predates this without its settings: they stay"),
        ("no pod predates it", runtime(), Cluster(), "both", TargetFacts("found", pods=0), "no running pod predates this"),
        ("more than a page of pods", runtime(), Cluster(), "both", TargetFacts("found", pods=500, more=True), "500+ running pods"),
        ("pods not counted", runtime(), Cluster(), "both", TargetFacts("found"), "unknown"),
        ("nothing known", runtime(), Cluster(), "both", targets.UNKNOWN, "unknown"),
        ("no target yet", runtime(), Cluster(), "both", TargetFacts("missing"), "AgentRuntime team1/weather targets Deployment team1/weather, which does not exist yet"),
        ("not the top owner", ours("AgentRuntime", "a", targetRef=reference("ReplicaSet")), Cluster(), "both", TargetFacts("found", pods=0, owned_by=DEPLOYMENT), "NotTopOwner"),
        ("not enrolled", runtime(), Cluster(labels={"team1": {}}), "both", FOUND, "kagenti.io/enrolled=true"),
        ("break-glass", runtime(), Cluster(labels={"team1": {"kagenti.io/break-glass": ""}}), "both", FOUND, "BreakGlass"),
        ("mode label", runtime(), Cluster(), "label", FOUND, "LabelMissing"),
        ("an inconsistent result", runtime(**PORT), Cluster(configs={"team1": stored("team1", **CLASH)}), "both", FOUND, "ConfigInvalid: its pods will be denied"),
        ("a config breaks an AgentRuntime", config(**CLASH), Cluster(agent_runtimes=[stored("team1", "weather", **TARGET, **PORT)]), "both", FOUND, "breaks the settings of 1 AgentRuntime"),
        ("a cluster config breaks one", cluster_config(**CLASH), Cluster(agent_runtimes=[stored("team1", "weather", **TARGET, **PORT)]), "both", FOUND, "1 AgentRuntime"),
        ("a config that breaks labelled pods", config(identity={"outbound": {"trafficInterception": {"proxyPort": 15200, "inboundProxyPort": 15200}}}), Cluster(), "both", FOUND, "triggered pods will be denied"),
        ("a lock that overrules", config(policy={"locked": ["trace"]}), Cluster(agent_runtimes=[stored("team1", "weather", **TARGET, **RATE)]), "both", FOUND, "values of 1 AgentRuntime lose their effect"),
        ("Mandatory in mode label", config(policy={"injection": "Mandatory"}), Cluster(), "label", FOUND, "PolicyUnenforced"),
        ("the cluster's Mandatory in mode label", cluster_config(policy=MANDATORY), Cluster(), "label", FOUND, "PolicyUnenforced: trigger mode is label"),
        ("the cluster's Mandatory, not enrolled", cluster_config(policy=MANDATORY), Cluster(labels={"team1": {}}), "both", FOUND, "PolicyUnenforced: namespace team1 is not enrolled; enrol it: kubectl label namespace team1 kagenti.io/enrolled=true"),
        ("the cluster's Mandatory, misspelt", cluster_config(policy={"namespaces": [{"names": ["team1", "taem2"], "injection": "Mandatory"}]}), Cluster(), "both", FOUND, "NoSuchNamespace: policy.namespaces[0].names: no namespace is named 'taem2'"),
        ("the cluster's Mandatory by selector, several not enrolled", cluster_config(policy=BY_SELECTOR), Cluster(labels={"team3": {"t": ""}, "team2": {"t": ""}, "team1": {}}), "both", FOUND, "namespace team2 is not enrolled; enrol it: kubectl label namespace team2 kagenti.io/enrolled=true; so are 1 more"),
        ("an identity that is shared", runtime(), Cluster(), "both", TargetFacts("found", service_account="default"), "SharedIdentity: Deployment team1/weather"),
        ("a config whose clients no token names", config(identity=FEDERATED), Cluster(), "both", FOUND, "FederatedClient: identity.clientRegistration.authType is 'federated-jwt'"),
        ("an AgentRuntime whose client no token names", runtime(identity=FEDERATED), Cluster(), "both", FOUND, "identity.clientRegistration.idpAlias is not set"),
        ("Mandatory, not enrolled", config(policy={"injection": "Mandatory"}), Cluster(labels={"team1": {}}), "both", FOUND, "PolicyUnenforced"),
    ],
)  # fmt: skip
def test_accepted_with_a_warning(
    why: str, manifest: JSON, cluster: Cluster, mode: str, target: TargetFacts, says: str
) -> None:
    """What people should know before they go on."""
    given = answer(manifest, cluster, mode=mode, target=target)
    assert given.allowed, given.message
    assert any(says in warning for warning in given.warnings), (why, given.warnings)


@pytest.mark.parametrize(
    ("policy", "labels"),
    [
        (MANDATORY, {"team1": {"kagenti.io/enrolled": "true"}, "team2": {}}),
        (BY_SELECTOR, {"team1": {}}),
        ({"namespaces": [{"names": ["team1"], "injection": "Optional"}]}, {"team1": {}}),
    ],
)
def test_a_policy_that_is_enforced_is_not_warned_about(policy: JSON, labels: JSON) -> None:
    """Namespaces that it is not about, and policies that are not Mandatory, do not matter."""
    warnings = answer(cluster_config(policy=policy), Cluster(labels=labels)).warnings
    assert [said for said in warnings if not said.startswith("NoSuchNamespace: ")] == []


@pytest.mark.parametrize(
    ("account", "spec"),
    [("weather", {}), ("", {}), ("default", {"identity": {"spiffe": {"enabled": False}}}), ("default", {"identity": {"enabled": False}})],
)  # fmt: skip
def test_an_identity_of_ones_own_is_not_warned_about(account: str, spec: JSON) -> None:
    """Another account, an unknown one, or no SPIFFE identity."""
    given = answer(runtime(**spec), Cluster(), target=TargetFacts("found", pods=0, service_account=account))
    assert not any("SharedIdentity" in warning for warning in given.warnings)


@pytest.mark.parametrize(("host", "warned"), [("tool.team1", False), ("tool.team9", True)])
def test_name_dot_namespace_is_inside_where_the_namespace_is_known(host: str, warned: bool) -> None:
    """The namespaces that this process has seen tell a neighbour from a server on the internet."""
    rule = {"match": {"host": host}, "target": {"audience": "a"}, "upstream": {"tls": "Off"}}
    manifest = runtime(identity={"outbound": {"tokenExchange": {"destinationRules": [rule]}}})
    assert any("in clear" in warning for warning in answer(manifest, Cluster()).warnings) is warned


PER_POD = {"identity": {"clientRegistration": {"keycloak": {"clientNameTemplate": "{{.Namespace}}/{{.PodName}}"}}}}


@pytest.mark.parametrize(
    ("manifest", "cluster", "warned"),
    [
        (runtime(**PER_POD), Cluster(), True),
        (config(**PER_POD), Cluster(), True),
        (cluster_config(**PER_POD), Cluster(), True),
        (runtime(), Cluster(configs={"team1": stored("team1", **PER_POD)}), False),
    ],
)
def test_one_client_per_pod_is_told_to_who_asks_for_it(manifest: JSON, cluster: Cluster, warned: bool) -> None:
    """Controllers create the pods: a warning on those alone reaches nobody."""
    assert any(warning.startswith("ClientPerPod: ") for warning in answer(manifest, cluster).warnings) is warned


@pytest.mark.parametrize(
    ("mode", "cluster", "says"),
    [
        ("cr", Cluster(agent_runtimes=[FIRST]), "come up without sidecars"),
        ("both", Cluster(), "those without come up without sidecars"),
        ("label", Cluster(), "settings of the layers above"),
        ("both", Cluster(agent_runtimes=[FIRST, stored("team1", "heir", **TARGET)]), "AgentRuntime team1/heir targets"),
        ("cr", Cluster(configs={"team1": stored("team1", policy={"injection": "Mandatory"})}), "still injected"),
    ],
)
def test_a_deletion_says_what_future_pods_will_be(mode: str, cluster: Cluster, says: str) -> None:
    """The answer to a delete speaks of the next pods."""
    given = answer(None, cluster, old=runtime("first"), mode=mode)
    assert given.allowed
    assert any(says in warning for warning in given.warnings), given.warnings


def test_a_config_that_goes_says_so_and_whom_it_breaks() -> None:
    """An AgentRuntime that was consistent thanks to it."""
    saved = {"identity": {"outbound": {"trafficInterception": {"inboundProxyPort": 15201}}}}
    cluster = Cluster(
        cluster=stored("", **CLASH),
        configs={"team1": stored("team1", **saved)},
        agent_runtimes=[stored("team1", "weather", **TARGET, **PORT)],
    )
    given = answer(None, cluster, old=config(**saved))
    assert given.allowed
    assert any("go back to the layers that remain" in warning for warning in given.warnings)
    assert any("1 AgentRuntime" in warning for warning in given.warnings)


def test_an_update_is_not_blamed_for_what_was_there() -> None:
    """The lock came later: other fields can still be changed, with a warning; a new violation is denied."""
    old = runtime(**RATE)
    told = answer(runtime(type="tool", **RATE), Cluster(configs=LOCKED), old=old)
    assert told.allowed
    assert any(warning.startswith("LockViolation") for warning in told.warnings)
    assert answer(runtime(**RATE), Cluster(configs=LOCKED), old=runtime()).reason == "LockViolation"


def test_metadata_and_status_are_not_held_up() -> None:
    """A finalizer must come off whatever the spec says."""
    broken = runtime(trace=[])
    assert answer(broken, Cluster(), old=broken).allowed
    leaving = {**broken, "metadata": {**broken["metadata"], "deletionTimestamp": "2026-11-24T12:00:00Z"}}
    assert answer(leaving, Cluster(), old=runtime()).allowed


def test_an_own_earlier_version_is_no_rival() -> None:
    """Created again while the cache still has the old one."""
    assert answer(runtime("first"), Cluster(agent_runtimes=[FIRST])).allowed


def test_an_unsynced_process_lets_everything_through_and_says_so() -> None:
    """It fails open: the merge ignores what would have been refused."""
    given = answer(runtime(**IMAGE), Cluster(is_synced=False))
    assert (given.allowed, given.reason) == (True, "NotChecked")
    assert given.warnings


def test_agent_cards_have_no_rules_across_objects() -> None:
    """Everything that one card can show is in its CRD."""
    assert answer(ours("AgentCard", "a", selector={}), Cluster()).reason == "Valid"


def test_needs_of_a_new_agentruntime_only() -> None:
    """One look at the target, on creation."""
    assert validate.needs(request(runtime())) == DEPLOYMENT
    assert validate.needs(request(runtime(type="tool"), old=runtime())) is None
    assert validate.needs(request(config())) is None


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
        ({"matchExpressions": [{"key": "k", "operator": "In", "values": ["x", "y"]}]}, "k in (x,y)"),
        ({"matchExpressions": [{"key": "k", "operator": "DoesNotExist"}]}, "!k"),
        ({"matchExpressions": [{"key": "k", "operator": "Odd"}]}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_selector_of_a_targets_pods(selector: JSON, expected: str | None) -> None:
    """In the query syntax of LIST."""
    manifest = workload("Deployment", **({"selector": selector} if selector is not None else {}))
    assert targets.pod_selector(manifest) == expected


def test_facts_of_a_target() -> None:
    """Pods that run or are about to, not those that end; the target's own controller."""
    pods = [
        {"status": {"phase": "Running"}},
        {"status": {"phase": "Pending"}},
        {"status": {"phase": "Succeeded"}},
        {"status": {"phase": "Running"}, "metadata": {"deletionTimestamp": "2026-11-24T12:00:00Z"}},
    ]
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather", "uid": "u", "controller": True}
    replica_set = {"metadata": {"namespace": "team1", "ownerReferences": [owner]}}
    assert targets.facts_of(replica_set, pods) == TargetFacts("found", pods=2, owned_by=DEPLOYMENT)
    assert targets.facts_of(replica_set, None).pods is None


@pytest.mark.parametrize(
    ("spec", "account"), [({}, "default"), ({"serviceAccountName": "own"}, "own"), ({"containers": None}, "")]
)
def test_the_service_account_of_a_target(spec: JSON, account: str) -> None:
    """Of its template; empty for what has none."""
    manifest = workload("Deployment")
    manifest["spec"]["template"]["spec"].update(spec)
    assert targets.facts_of(manifest, None).service_account == account


@pytest.mark.parametrize("target", [None, [], {"kind": "Deployment"}, {"apiVersion": 1, "kind": "a", "name": "b"}])
def test_a_target_that_cannot_be_read_is_none(target: JSON) -> None:
    """The CRD refuses these; here they must not crash."""
    assert targets.target_of({"spec": {"targetRef": target}}, "team1") is None
    assert answer(ours("AgentRuntime", "a", targetRef=target), Cluster()).uid == "uid-1"


def test_another_groups_deployment_is_another_target() -> None:
    """The version is dropped, the group is not."""
    other = ours("AgentRuntime", "a", targetRef=reference(group="example.com/v1"))
    assert targets.target_of(other, "team1") == WorkloadRef("example.com", "Deployment", "team1", "weather")
    assert answer(other, Cluster(agent_runtimes=[FIRST])).allowed
