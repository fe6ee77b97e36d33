"""Who may set what: authority, delegation, locks and Mandatory inside the merge, each with what it leaves free."""

# ruff: noqa: E501  # a table reads by line
from typing import Any, Final

import pytest

from kagenti.core.settings import MANDATORY_LOCKS, OPTIONAL, Layer, NamespacePolicy, namespace_policy, resolve, selects
from kagenti.core.workload import WorkloadRef
from tests.unit.core.settings.given import CLUSTER, NAMESPACE, RULES, WORKLOAD, cluster, namespace, rule, workload

JSON = Any  # a value of the layered block
IMAGE: Final = "components.envoyProxy.image"
OTHER_IMAGE: Final = "components.spiffeHelper.image"
PULL_POLICY: Final = "components.envoyProxy.imagePullPolicy"
RATE: Final = "trace.sampling.rate"
ATTRIBUTES: Final = "trace.resourceAttributes"
ENABLED: Final = "injection.enabled"
EXCLUDED: Final = "identity.inbound.excludePorts"
BY_NAME: Final = [{"names": ["team1"], "injection": "Mandatory"}]


@pytest.mark.parametrize(
    ("reason", "layers", "path", "value", "findings"),
    [
        ("the cluster sets what is its own", (cluster({IMAGE: "a"}), None, None), IMAGE, "a", []),
        ("a namespace may not", (cluster({IMAGE: "a"}), namespace({IMAGE: "b"}), None), IMAGE, "a", [("Unauthorised", (NAMESPACE,))]),
        ("nor a workload", (cluster({IMAGE: "a"}), None, workload({IMAGE: "b"})), IMAGE, "a", [("Unauthorised", (WORKLOAD,))]),
        ("nor both", (cluster({IMAGE: "a"}), namespace({IMAGE: "b"}), workload({IMAGE: "c"})), IMAGE, "a", [("Unauthorised", (NAMESPACE,)), ("Unauthorised", (WORKLOAD,))]),
        ("also without a cluster config", (None, None, workload({IMAGE: "b"})), PULL_POLICY, "IfNotPresent", [("Unauthorised", (WORKLOAD,))]),
        ("delegated to a namespace", (cluster({IMAGE: "a"}, delegated=[IMAGE]), namespace({IMAGE: "b"}), None), IMAGE, "b", []),
        ("delegated to a workload", (cluster({IMAGE: "a"}, delegated=[IMAGE]), namespace({IMAGE: "b"}), workload({IMAGE: "c"})), IMAGE, "c", []),
        ("delegated by subtree", (cluster(delegated=["components"]), None, workload({IMAGE: "c"})), IMAGE, "c", []),
        ("another path is delegated", (cluster({IMAGE: "a"}, delegated=[OTHER_IMAGE]), None, workload({IMAGE: "c"})), IMAGE, "a", [("Unauthorised", (WORKLOAD,))]),
        ("a sibling is delegated", (cluster({IMAGE: "a"}, delegated=[PULL_POLICY]), None, workload({IMAGE: "c"})), IMAGE, "a", [("Unauthorised", (WORKLOAD,))]),
        ("delegated and locked: the lock wins", (cluster({IMAGE: "a"}, delegated=[IMAGE], locked=[IMAGE]), None, workload({IMAGE: "c"})), IMAGE, "a", [("LockViolation", (WORKLOAD, CLUSTER))]),
        ("delegated, then locked by the namespace", (cluster(delegated=[IMAGE]), namespace({IMAGE: "b"}, locked=[IMAGE]), workload({IMAGE: "c"})), IMAGE, "b", [("LockViolation", (WORKLOAD, NAMESPACE))]),
        ("a cluster lock binds a namespace", (cluster({RATE: 0.5}, locked=[RATE]), namespace({RATE: 1}), None), RATE, 0.5, [("LockViolation", (NAMESPACE, CLUSTER))]),
        ("a cluster lock binds a workload", (cluster({RATE: 0.5}, locked=["trace"]), None, workload({RATE: 1})), RATE, 0.5, [("LockViolation", (WORKLOAD, CLUSTER))]),
        ("a lock without a value pins the built-in one", (cluster(locked=[RATE]), None, workload({RATE: 1})), RATE, 0.1, [("LockViolation", (WORKLOAD, CLUSTER))]),
        ("a namespace lock pins the cluster's value", (cluster({RATE: 0.5}), namespace(locked=[RATE]), workload({RATE: 1})), RATE, 0.5, [("LockViolation", (WORKLOAD, NAMESPACE))]),
        ("a namespace lock does not bind the namespace", (None, namespace({RATE: 0.5}, locked=[RATE]), None), RATE, 0.5, []),
        ("the highest lock is named", (cluster(locked=[RATE]), namespace(locked=[RATE]), workload({RATE: 1})), RATE, 0.1, [("LockViolation", (WORKLOAD, CLUSTER))]),
        ("a lock of a neighbour with the same beginning", (cluster(locked=["trace.sampling.type"]), None, workload({RATE: 1})), RATE, 1, []),
        ("a lock on a map locks every key", (cluster({ATTRIBUTES: {"a": "1"}}, locked=[ATTRIBUTES]), None, workload({ATTRIBUTES: {"b": "2"}})), ATTRIBUTES, {"a": "1"}, [("LockViolation", (WORKLOAD, CLUSTER))]),
        ("a lock on the rules locks every rule", (cluster({RULES: [rule("a.example")]}, locked=[RULES]), None, workload({RULES: [rule("b.example")]})), RULES, [rule("a.example")], [("LockViolation", (WORKLOAD, CLUSTER))]),
    ],
)  # fmt: skip
def test_authority_and_locks(
    reason: str, layers: tuple[Layer | None, ...], path: str, value: JSON, findings: list[tuple[str, tuple[str, ...]]]
) -> None:
    """What has effect, and a finding for each value that has none, naming its object and who forbids it."""
    resolved = resolve(*layers)
    told = [(found.reason, found.objects) for found in resolved.findings]
    assert (resolved[path], told) == (value, findings), reason


@pytest.mark.parametrize(
    ("reason", "top", "config", "labels", "declared_by"),
    [
        ("nobody says so", cluster(), namespace(), {}, None),
        ("the namespace", None, namespace(injection="Mandatory"), {}, NAMESPACE),
        ("the cluster, by name", cluster(namespaces=BY_NAME), None, {}, CLUSTER),
        ("the cluster, by labels", cluster(namespaces=[{"selector": {"matchLabels": {"t": "a"}}, "injection": "Mandatory"}]), None, {"t": "a"}, CLUSTER),
        ("by other labels", cluster(namespaces=[{"selector": {"matchLabels": {"t": "a"}}, "injection": "Mandatory"}]), None, {"t": "b"}, None),
        ("an empty selector is every namespace", cluster(namespaces=[{"selector": {}, "injection": "Mandatory"}]), None, {}, CLUSTER),
        ("another namespace's name", cluster(namespaces=[{"names": ["team2"], "injection": "Mandatory"}]), None, {}, None),
        ("the stricter wins: the namespace cannot relax", cluster(namespaces=BY_NAME), namespace(injection="Optional"), {}, CLUSTER),
        ("the stricter wins: the cluster's Optional does not relax", cluster(namespaces=[{"names": ["team1"], "injection": "Optional"}]), namespace(injection="Mandatory"), {}, NAMESPACE),
        ("the stricter of two entries wins", cluster(namespaces=[{"names": ["team1"], "injection": "Optional"}, *BY_NAME]), None, {}, CLUSTER),
        ("both: the highest is named", cluster(namespaces=BY_NAME), namespace(injection="Mandatory"), {}, CLUSTER),
    ],
)  # fmt: skip
def test_who_declares_mandatory(
    reason: str, top: Layer | None, config: Layer | None, labels: dict[str, str], declared_by: str | None
) -> None:
    """The stricter of the two layers wins (spec 01)."""
    policy = namespace_policy(top, config, name="team1", labels=labels)
    assert (policy.mandatory, str(policy.declared_by) if policy.declared_by else None) == (
        declared_by is not None,
        declared_by,
    ), reason


RELAXED: Final = {ENABLED: False, EXCLUDED: [8081]}


@pytest.mark.parametrize(
    ("reason", "top", "config", "lower", "losers"),
    [
        ("the cluster's binds both below", cluster(namespaces=BY_NAME), namespace(RELAXED), workload(RELAXED), [NAMESPACE, WORKLOAD]),
        ("the namespace's binds the workload", None, namespace(injection="Mandatory"), workload(RELAXED), [WORKLOAD]),
        ("the namespace's does not bind itself", None, namespace({EXCLUDED: [8081]}, injection="Mandatory"), None, []),
        ("the cluster's does not bind itself", cluster({EXCLUDED: [8081]}, namespaces=BY_NAME), None, None, []),
        ("an Optional binds nobody", cluster(namespaces=[{"names": ["team1"], "injection": "Optional"}]), namespace(RELAXED), None, []),
    ],
)  # fmt: skip
def test_mandatory_makes_what_would_escape_it_ineffective(
    reason: str, top: Layer | None, config: Layer | None, lower: Layer | None, losers: list[str]
) -> None:
    """At the layer that declares it, with a finding for each value below."""
    policy = namespace_policy(top, config, name="team1", labels={})
    resolved = resolve(top, config, lower, policy=policy)
    told = [(found.objects[0], found.path) for found in resolved.findings]
    assert told == [(loser, path) for loser in losers for path in (ENABLED, EXCLUDED)], reason
    assert resolved[ENABLED] is True or not policy.mandatory


@pytest.mark.parametrize("path", MANDATORY_LOCKS)
def test_every_escape_is_locked(path: str) -> None:
    """Each path of the list, one by one; an exempt pod's settings are resolved without the policy."""
    top = cluster(namespaces=BY_NAME)
    policy = namespace_policy(top, None, name="team1", labels={})
    value: JSON = [9999] if path.endswith("Ports") else ["tool"] if path.endswith("types") else False
    lower = workload({path: value})
    assert resolve(top, None, lower, policy=policy)[path] != value
    assert resolve(top, None, lower, policy=OPTIONAL)[path] == value


EXEMPT: Final = [{"serviceAccount": "batch"}, {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly"}]


@pytest.mark.parametrize(
    ("owner", "account", "expected"),
    [
        (WorkloadRef("apps", "Deployment", "team1", "a"), "batch", True),
        (WorkloadRef("batch", "CronJob", "team1", "nightly"), "default", True),
        (WorkloadRef("batch", "CronJob", "team1", "other"), "default", False),
        (WorkloadRef("example.com", "CronJob", "team1", "nightly"), "default", False),
        (WorkloadRef("batch", "Job", "team1", "nightly"), "default", False),
        (WorkloadRef("apps", "Deployment", "team1", "batch"), "default", False),
    ],
)
def test_who_is_exempt(owner: WorkloadRef, account: str, expected: bool) -> None:
    """A top owner by group, kind and name, or a service account; only where the entry covers the namespace."""
    top = cluster(namespaces=[{**BY_NAME[0], "exempt": EXEMPT}])
    assert namespace_policy(top, None, name="team1", labels={}).is_exempt(owner, account) is expected
    assert not namespace_policy(top, None, name="team2", labels={}).is_exempt(owner, account)


def test_a_namespace_cannot_exempt() -> None:
    """Exemptions are the cluster's alone: in a namespace's config the words mean nothing."""
    config = namespace(injection="Mandatory", namespaces=[{"names": ["team1"], "exempt": EXEMPT}])
    assert namespace_policy(None, config, name="team1", labels={}) == NamespacePolicy(True, config.source)


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        ({}, {}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "1", "b": ""}, True),
        ({"matchLabels": {"a": "1", "b": "2"}}, {"a": "1"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, {"a": "2"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {"a": "1"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": ""}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": ""}, False),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, {"a": "1"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Odd"}]}, {"a": "1"}, False),
    ],
)
def test_selects(selector: JSON, labels: dict[str, str], expected: bool) -> None:
    """A metav1.LabelSelector: all requirements must hold."""
    assert selects(selector, labels) is expected
