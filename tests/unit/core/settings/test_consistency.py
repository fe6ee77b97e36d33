"""Whole-result validation: each rule across fields, with what it allows beside what it refuses."""

# ruff: noqa: E501  # a table reads by line
from typing import Any, Final

import pytest

from kagenti.core.settings import Layer, covers_path, inside, resolve
from tests.unit.core.settings.given import (
    AUDIENCE,
    CLUSTER,
    CREDENTIALS_SECRET,
    NAMESPACE,
    OUTBOUND,
    POLICY,
    RULES,
    TEMPLATE,
    VALIDATION,
    WORKLOAD,
    cluster,
    namespace,
    rule,
    workload,
)

JSON = Any  # a value of the layered block
Layers = tuple[Layer | None, Layer | None, Layer | None]
PROXY: Final = f"{OUTBOUND}.trafficInterception.proxyPort"
INBOUND_PROXY: Final = f"{OUTBOUND}.trafficInterception.inboundProxyPort"
PORT: Final = "identity.inbound.port"
TARGET_PORT: Final = "identity.inbound.targetPort"
PROMETHEUS: Final = "trace.integration.prometheus"
UID: Final = f"{OUTBOUND}.trafficInterception.proxyUid"
ENVOY: Final = "components.envoyProxy.enabled"
INIT: Final = "components.proxyInit.enabled"
EXCLUDE: Final = "identity.inbound.excludePorts"
INBOUND: Final = "identity.inbound.enabled"
BRIDGE: Final = {"injection.tokenExchange": "AuthBridge"}
BYPASS: Final = f"{VALIDATION}.bypassPaths"
SPIFFE: Final = "identity.spiffe.enabled"
EXCHANGE: Final = f"{OUTBOUND}.tokenExchange.enabled"
RESOURCES: Final = "components.envoyProxy.resources"
ALLOW: Final = [rule("a.example", action="Passthrough")]


def faults(layers: Layers) -> list[tuple[str, tuple[str, ...]]]:
    """Path and objects of every fault of what these layers resolve to."""
    return [(fault.path, fault.objects) for fault in resolve(*layers).errors]


@pytest.mark.parametrize(
    ("reason", "layers", "expected"),
    [
        ("the built-in layer", (None, None, None), []),
        ("both of Envoy's ports", (None, None, workload({PROXY: 15124})), [(INBOUND_PROXY, (WORKLOAD,))]),
        ("two layers clash, both are named", (cluster({PROXY: 15200}), namespace({INBOUND_PROXY: 15200}), None), [(INBOUND_PROXY, (CLUSTER, NAMESPACE))]),
        ("the status port", (None, None, workload({PROXY: 15021})), [(PROXY, (WORKLOAD,))]),
        ("the app's port is Envoy's", (None, None, workload({TARGET_PORT: 15123})), [(TARGET_PORT, (WORKLOAD,))]),
        ("the dialled port is Envoy's", (None, None, workload({PORT: 15124})), [(PORT, (WORKLOAD,))]),
        ("port and targetPort may be one", (None, None, workload({PORT: 8081})), []),
        ("metrics on Envoy's port", (None, None, workload({f"{PROMETHEUS}.enabled": True, f"{PROMETHEUS}.port": 15021})), [(f"{PROMETHEUS}.port", (WORKLOAD,))]),
        ("Envoy's user is the helpers'", (None, None, workload({UID: 1000})), [(UID, (WORKLOAD,))]),
        ("the helpers' user, without Envoy", (None, None, workload({UID: 1000, ENVOY: False})), []),
        ("Envoy's port is the processor's", (None, None, workload({**BRIDGE, PROXY: 9090})), [(PROXY, (WORKLOAD,))]),
        ("the app's port is the processor's", (cluster(BRIDGE), None, workload({TARGET_PORT: 9090})), [(TARGET_PORT, (WORKLOAD, CLUSTER))]),
        ("metrics on the processor's port, the default one", (None, None, workload({**BRIDGE, f"{PROMETHEUS}.enabled": True})), [(f"{PROMETHEUS}.port", (WORKLOAD,))]),
        ("no processor, no port of it", (None, None, workload({TARGET_PORT: 9090, EXCLUDE: [9090], INBOUND: False, INIT: False})), []),
        ("the processor is open to the network", (None, namespace(BRIDGE), workload({EXCLUDE: [9090]})), [(EXCLUDE, (WORKLOAD, NAMESPACE))]),
        ("nothing is intercepted before the processor", (None, None, workload({**BRIDGE, INBOUND: False})), [(INBOUND, (WORKLOAD,))]),
        ("nothing redirects what is dialled to the processor", (cluster({INIT: False}), None, workload(BRIDGE)), [(INIT, (WORKLOAD, CLUSTER))]),
        ("the processor has no credential to use", (None, None, workload({**BRIDGE, INBOUND: False, "identity.enabled": False})), []),
        ("metrics that are off", (None, None, workload({f"{PROMETHEUS}.port": 15021})), []),
        ("self with SPIFFE", (None, None, None), []),
        ("self without SPIFFE, by name", (None, None, workload({SPIFFE: False})), []),
        ("self with credentials that come from elsewhere", (None, None, workload({CREDENTIALS_SECRET: "s"})), [(AUDIENCE, (WORKLOAD,))]),
        ("an audience of one's own with them", (None, None, workload({CREDENTIALS_SECRET: "s", AUDIENCE: "me"})), []),
        ("self with one client per pod", (None, None, workload({SPIFFE: False, TEMPLATE: "{{.PodName}}"})), [(AUDIENCE, (WORKLOAD,))]),
        ("one client per pod, but SPIFFE names it", (None, None, workload({TEMPLATE: "{{.PodName}}"})), []),
        ("self where nothing is validated", (None, None, workload({CREDENTIALS_SECRET: "s", "identity.inbound.enabled": False})), []),
        ("the policy Exchange", (None, None, workload({POLICY: "Exchange"})), []),
        ("the policy Exchange with exchange off", (cluster({EXCHANGE: False}), None, workload({POLICY: "Exchange"})), [(POLICY, (WORKLOAD, CLUSTER))]),
        ("a rule that exchanges with exchange off", (cluster({EXCHANGE: False}), None, workload({RULES: [rule("a.example")]})), [(f"{RULES}[a.example]", (WORKLOAD, CLUSTER))]),
        ("the default action is Exchange", (None, None, workload({EXCHANGE: False, RULES: [rule("a.example", action="Exchange", target={"audience": "a"})]})), [(f"{RULES}[a.example]", (WORKLOAD,))]),
        ("other actions with exchange off", (None, None, workload({EXCHANGE: False, RULES: [rule("a.example", action="Deny"), *ALLOW]})), []),
        ("a rule without audience", (None, None, workload({RULES: [rule("a.example", action="Exchange")]})), [(f"{RULES}[a.example]", (WORKLOAD,))]),
    ],
)  # fmt: skip
def test_a_contradiction_names_the_layers_to_mend(
    reason: str, layers: Layers, expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    """A result with a fault is never used; one without has none."""
    assert faults(layers) == expected, reason


@pytest.mark.parametrize(
    ("reason", "layers", "expected"),
    [
        ("the cluster locks, a workload passes through", (cluster({POLICY: "Deny"}, locked=[POLICY]), None, workload({RULES: ALLOW})), [(f"{RULES}[a.example]", (WORKLOAD,))]),
        ("the cluster locks, a namespace passes through", (cluster(locked=[POLICY]), namespace({RULES: ALLOW}), None), [(f"{RULES}[a.example]", (NAMESPACE,))]),
        ("without a value of its own too", (cluster(locked=["identity.outbound.defaultPolicy"]), None, workload({RULES: ALLOW})), [(f"{RULES}[a.example]", (WORKLOAD,))]),
        ("the namespace locks, a workload passes through", (None, namespace(locked=[POLICY]), workload({RULES: ALLOW})), [(f"{RULES}[a.example]", (WORKLOAD,))]),
        ("the layer that locks may itself", (cluster({RULES: ALLOW}, locked=[POLICY]), None, None), []),
        ("a layer above the lock may", (cluster({RULES: ALLOW}), namespace(locked=[POLICY]), None), []),
        ("nothing is locked", (cluster(), namespace(), workload({RULES: ALLOW})), []),
        ("other actions are free", (cluster(locked=[POLICY]), None, workload({RULES: [rule("a.example", action="Deny")]})), []),
    ],
)  # fmt: skip
def test_no_passthrough_below_a_locked_default_policy(
    reason: str, layers: Layers, expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    """Spec 02: a lock on defaultPolicy also refuses action Passthrough below it."""
    assert faults(layers) == expected, reason


ON: Final = {f"{PROMETHEUS}.enabled": True, f"{PROMETHEUS}.port": 8081, f"{PROMETHEUS}.path": "/admin"}


@pytest.mark.parametrize(
    ("reason", "layers", "expected"),
    [
        ("a workload opens a path", (cluster(locked=[BYPASS]), None, workload(ON)), [(f"{PROMETHEUS}.path", (WORKLOAD,))]),
        ("a namespace opens a path", (cluster(locked=[VALIDATION]), namespace(ON), None), [(f"{PROMETHEUS}.path", (NAMESPACE,))]),
        ("the namespace locks", (None, namespace(locked=[BYPASS]), workload(ON)), [(f"{PROMETHEUS}.path", (WORKLOAD,))]),
        ("switching on is opening", (cluster(locked=[BYPASS]), None, workload({f"{PROMETHEUS}.enabled": True})), [(f"{PROMETHEUS}.path", (WORKLOAD,))]),
        ("moving the port is opening", (cluster({f"{PROMETHEUS}.enabled": True}, locked=[BYPASS]), None, workload({f"{PROMETHEUS}.port": 8081})), [(f"{PROMETHEUS}.path", (WORKLOAD,))]),
        ("the layer that locks may itself", (cluster(ON, locked=[BYPASS]), None, None), []),
        ("a listed path opens nothing", (cluster({BYPASS: ["/m/*"]}, locked=[BYPASS]), None, workload({**ON, f"{PROMETHEUS}.path": "/m/x"})), []),
        ("off opens nothing", (cluster(locked=[BYPASS]), None, workload({**ON, f"{PROMETHEUS}.enabled": False})), []),
        ("nothing is locked", (None, None, workload(ON)), []),
    ],
)  # fmt: skip
def test_locked_bypass_paths_bind_the_scrape_path(
    reason: str, layers: Layers, expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    """The prometheus port and path bypass inbound validation (spec 04), so a lock on bypassPaths is on them too."""
    assert faults(layers) == expected, reason


@pytest.mark.parametrize(
    ("reason", "values", "expected"),
    [
        ("a limit below the request", {f"{RESOURCES}.limits.memory": "64Mi"}, [f"{RESOURCES}.limits.memory"]),
        ("a request above the limit", {f"{RESOURCES}.requests.cpu": "1500m"}, [f"{RESOURCES}.limits.cpu"]),
        ("equal is right", {f"{RESOURCES}.requests.cpu": "1000m", f"{RESOURCES}.limits.cpu": "1"}, []),
        ("units are compared by amount", {f"{RESOURCES}.requests.memory": "1Gi", f"{RESOURCES}.limits.memory": "1025Mi"}, []),
        ("decimal and binary units differ", {f"{RESOURCES}.requests.memory": "1Gi", f"{RESOURCES}.limits.memory": "1G"}, [f"{RESOURCES}.limits.memory"]),
        ("a component that is off", {"components.envoyProxy.enabled": False, f"{RESOURCES}.limits.memory": "64Mi"}, []),
    ],
)  # fmt: skip
def test_limits_are_not_below_requests(reason: str, values: dict[str, JSON], expected: list[str]) -> None:
    """The API server would refuse such a pod, of each workload, for ever."""
    found = resolve(None, None, workload(values)).errors
    assert [fault.path for fault in found] == expected, reason
    assert all(fault.objects == (WORKLOAD,) for fault in found)


TEAMS: Final = frozenset({"team1", "com"})


@pytest.mark.parametrize(
    ("host", "expected", "reason"),
    [
        ("tool", True, "a single label is a service of the own namespace"),
        ("tool.team1", True, "name.namespace of a known namespace"),
        ("tool.team2", False, "no such namespace"),
        ("tool.team1.svc", True, "*.svc"),
        ("tool.team1.svc.cluster.local", True, "*.svc.<clusterDomain>"),
        ("tool.team1.svc.other.local", False, "another cluster's domain"),
        ("*.svc", True, "every service"),
        ("*.team1.svc.cluster.local", True, "every service of a namespace"),
        ("*.com", False, "a wildcard over one label is no single label"),
        ("*.team1", False, "a wildcard over one label is no name.namespace"),
        ("*.tool.team1", False, "nor over two"),
        ("api.example.org", False, "outside"),
        ("notsvc", True, "a single label again"),
        ("a.notsvc", False, "the label is svc, not an ending of it"),
    ],
)
def test_inside(host: str, expected: bool, reason: str) -> None:
    """Inside the cluster no TLS is originated, and TLS may be switched off."""
    assert inside(host, cluster_domain="cluster.local", namespaces=TEAMS) is expected, reason


@pytest.mark.parametrize(
    ("host", "action", "expected"),
    [
        ("*.com", "Exchange", True),
        ("api.example.org", "Exchange", True),
        ("tool.team1.svc", "Exchange", False),
        ("tool.team1", "Exchange", False),
        ("api.example.org", "Passthrough", False),
    ],
)
def test_tls_off_where_a_token_would_travel_in_clear(host: str, action: str, expected: bool) -> None:
    """Refused outside the cluster, for rules that put a token into the request."""
    made = rule(host, action=action, target={"audience": "a"}, upstream={"tls": "Off"})
    found = resolve(None, None, workload({RULES: [made]}), namespaces={"team1"}).errors
    assert [fault.path for fault in found] == ([f"{RULES}[{host}]"] if expected else [])


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/healthz", "/healthz", True),
        ("/healthz", "/healthz/x", False),
        ("/a/*", "/a/b", True),
        ("/a/*", "/a/b/c", False),
        ("/a/*", "/a/", False),
        ("/a/*", "/b", False),
    ],
)
def test_a_bypass_pattern_covers(pattern: str, path: str, expected: bool) -> None:
    """Exact, or a trailing /* for one plain segment."""
    assert covers_path(pattern, path) is expected
