"""Outbound resources: golden files per feature, and what must hold for any of them."""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from kagenti.core.envoy import Proxy, layout, references, resources
from kagenti.core.envoy.destinations import within
from kagenti.core.installation import Installation
from kagenti.core.settings import resolve
from tests.unit.core.envoy import golden, proxies
from tests.unit.core.settings import given
from tests.unit.core.settings.given import KEYCLOAK, POLICY, RULES, TOKEN_URL, URL, rule

JSON = Any  # a value of the layered block

AUTH_TYPE: Final = "identity.clientRegistration.authType"
SPIFFE: Final = "identity.spiffe.enabled"
EXCHANGE: Final = "identity.outbound.tokenExchange"
_MANY: Final = [
    rule("a.example"),
    rule("a.example", port=8443, target={"audience": "b", "scopes": ["openid", "aud-b"]}),
    rule("a.example", port=443, action="Deny"),
    rule("*.a.example", action="Deny"),
    rule("*.b.a.example", target={"audience": "c", "tokenUrl": "http://keycloak.kagenti-system.svc:8080/other?x=1"}),
    rule("tool", target={"audience": "t"}, onMissingToken="ClientCredentials"),
    rule("tool.team1", port=80, target={"audience": "t"}),
    rule("plain.example", action="Passthrough", upstream={"tls": "Off"}),
    rule("*.team1.svc.cluster.local", port=9000, target={"audience": "t"}),
]
FEATURES: Final[Mapping[str, Mapping[str, JSON]]] = {
    "default": {},
    "rules": {RULES: _MANY},
    "deny": {POLICY: "Deny", RULES: _MANY},
    "exchange": {POLICY: "Exchange", RULES: _MANY},
    "exchange-off": {
        f"{EXCHANGE}.enabled": False,
        RULES: [rule("a.example", action="Passthrough"), rule("b.example", action="Deny")],
    },
    "https-provider": {URL: "https://idp.example/auth", RULES: [rule("a.example")]},
    "other-token-url": {TOKEN_URL: "https://sts.example:8443/token", RULES: [rule("a.example")]},
    "federated-spiffe": {AUTH_TYPE: "federated-jwt", RULES: [rule("a.example")]},
    "federated-service-account": {AUTH_TYPE: "federated-jwt", SPIFFE: False, RULES: [rule("a.example")]},
    "authbridge": {"injection.tokenExchange": "AuthBridge", RULES: [rule("a.example"), rule("b", action="Deny")]},
    "tracing-only": {"identity.enabled": False, POLICY: "Deny", RULES: [rule("a.example")]},
}
FOR_BOTH: Final = (
    layout.APP_CLUSTER,
    layout.ORIGINAL_DESTINATION,
    layout.COLLECTOR_CLUSTER,
    layout.JWT,
    layout.INBOUND,
)


@pytest.mark.parametrize("feature", FEATURES)
def test_resources_are_as_last_seen(feature: str, request: pytest.FixtureRequest) -> None:
    """What outbound alone is made of; the rest is in the files of inbound."""
    found = resources(proxies.proxy(FEATURES[feature]))
    shown = {f"{each.type} {each.name}": each.body for each in found if each.name not in FOR_BOTH}
    golden.check(f"outbound-{feature}", shown, update=bool(request.config.getoption("--update-golden")))


@pytest.mark.parametrize("feature", FEATURES)
def test_nothing_dangles(feature: str) -> None:
    """Every cluster that is named exists; Envoy would acknowledge the others, and answer 503."""
    found = resources(proxies.proxy(FEATURES[feature]))
    given_names = {(each.type, each.name) for each in found} | {("cluster", layout.EXT_PROC_CLUSTER)}
    assert set().union(*map(references, found)) <= given_names


@pytest.mark.parametrize("feature", FEATURES)
def test_a_route_with_a_token_is_never_for_the_dialled_address(feature: str) -> None:
    """Facts section 3: a forged Host would have the token delivered to anybody."""
    proxy = proxies.proxy(FEATURES[feature])
    for route in _routes(proxy):
        exchanging = "metadata" in route or _processed(proxy, route)
        assert not (exchanging and route["route"]["cluster"] == layout.ORIGINAL_DESTINATION)


def _routes(proxy: Proxy) -> list[JSON]:
    table = next(each.body for each in resources(proxy) if (each.type, each.name) == ("route", layout.OUTBOUND))
    return [route for host in table["virtual_hosts"] for route in host["routes"]]


def _processed(proxy: Proxy, route: JSON) -> bool:
    bridged = proxy.settings["injection.tokenExchange"] == "AuthBridge"
    return bridged and "route" in route and "typed_per_filter_config" not in route


def test_the_rule_of_a_route_holds_no_secret_and_all_that_makes_the_token() -> None:
    """Audience, scopes, endpoint, authentication and client are in the hash: each makes another cache entry."""
    base = {"audience": "a", "scopes": ["s"]}
    variants: list[tuple[JSON, Mapping[str, JSON]]] = [
        (base, {}),
        ({**base, "audience": "b"}, {}),
        ({**base, "scopes": ["s", "t"]}, {}),
        ({**base, "tokenUrl": "http://keycloak.kagenti-system.svc:8080/x"}, {}),
        (base, {AUTH_TYPE: "federated-jwt"}),
        (base, {SPIFFE: False}),
        (base, {SPIFFE: False, f"{KEYCLOAK}.clientNameTemplate": "{{.Namespace}}/x"}),
    ]
    made = [
        next(route["metadata"] for route in _routes(proxies.proxy({RULES: [rule("h.svc", target=target)]} | extra)))
        for target, extra in variants
    ]
    hashes = {one["filter_metadata"][layout.LUA]["hash"] for one in made}
    assert len(hashes) == len(variants)


INSIDE: Final = [
    ("tool", True, "one label"),
    ("tool.team1", True, "name.namespace"),
    ("tool.elsewhere", False, "no such namespace"),
    ("tool.team1.svc", True, ""),
    ("tool.team1.svc.cluster.local", True, ""),
    ("*.team1.svc", True, ""),
    ("*.svc", True, ""),
    ("*.team1", True, "x.team1"),
    ("*.com", False, "x.com is a name of the internet, not one label"),
    ("*.svc.example", False, ""),
    ("svc.example", False, ""),
]


@pytest.mark.parametrize(("pattern", "expected", "reason"), INSIDE)
def test_inside_the_cluster(pattern: str, expected: bool, reason: str) -> None:
    """Decides whether TLS is originated (spec 01, upstream.tls)."""
    assert within(pattern, cluster_domain="cluster.local", namespaces={"team1"}) is expected, reason


IDP, COLLECTOR, OTHER = "idp.example", "otel.example", "sts.example"
_COLLECTOR: Final = {"trace.exporters": [{"type": "otlp", "endpoint": f"{COLLECTOR}:4317"}]}
_IDP: Final = {URL: f"http://{IDP}:8080", f"{KEYCLOAK}.adminCredentialsSecret": "own", TOKEN_URL: f"http://{OTHER}/t"}
PASSES: Final = [
    ("all above the policy", {**_COLLECTOR, **_IDP}, {POLICY: "Deny"}, {}, {IDP, COLLECTOR, OTHER}),
    ("all of one layer with the policy", {**_COLLECTOR, **_IDP, POLICY: "Deny"}, {}, {}, {IDP, COLLECTOR, OTHER}),
    ("the collector below the policy", {**_IDP, POLICY: "Deny"}, {}, _COLLECTOR, {IDP, OTHER}),
    (
        "the token URL below the policy",
        {URL: f"http://{IDP}:8080", POLICY: "Deny"},
        {TOKEN_URL: f"http://{IDP}:8080/t"},
        {},
        {IDP},
    ),
    ("policy is Passthrough: nothing needs to", {**_COLLECTOR, **_IDP}, {}, {}, set()),
]


@pytest.mark.parametrize(
    ("case", "cluster", "namespace", "workload", "expected"), PASSES, ids=[row[0] for row in PASSES]
)
def test_provider_and_collector_pass_for_the_app_if_given_at_or_above_the_policy(
    case: str, cluster: JSON, namespace: JSON, workload: JSON, expected: set[str]
) -> None:
    """A layer below cannot open a way out by naming an address as its provider or collector (spec 05)."""
    found = resolve(given.cluster(cluster), given.namespace(namespace), given.workload(workload))
    proxy = Proxy(found, proxies.values(found), Installation())
    table = next(each.body for each in resources(proxy) if each.name == layout.OUTBOUND)
    names = {name for host in table["virtual_hosts"] for name in host["domains"]}
    assert names & {IDP, COLLECTOR, OTHER} == expected
    policies = next(each.body for each in resources(proxy) if each.name == layout.TLS_RBAC)["typed_config"]["rules"][
        "policies"
    ]
    assert {name for name in (IDP, COLLECTOR, OTHER) if any(name in policy for policy in policies)} == expected


def test_a_rule_for_the_provider_stands_before_its_pass() -> None:
    """Passes are exceptions from the default policy, not from rules."""
    proxy = proxies.proxy({POLICY: "Deny", URL: "http://idp.svc:8080", RULES: [rule("*.svc", action="Deny")]})
    table = next(each.body for each in resources(proxy) if each.name == layout.OUTBOUND)
    host = next(host for host in table["virtual_hosts"] if host["domains"] == ["idp.svc"])
    assert [route.get("direct_response", {}).get("status") for route in host["routes"]] == [403]
