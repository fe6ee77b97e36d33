"""Any rules, any request: the route table and the RBAC over server names say what the most specific rule says."""

import re
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from kagenti.core.envoy import layout, routes, server_names
from kagenti.core.envoy.destinations import Destination, Destinations, destinations
from tests.unit.core.envoy import proxies
from tests.unit.core.settings.given import POLICY, RULES, rule

JSON = Any  # a part of Envoy's configuration

HOSTS: Final = ("a.svc", "b.a.svc", "c.b.a.svc", "x.example", "y.x.example", "lone", "q.team1", "z.q.team1")
PATTERNS: Final = (*HOSTS, "*.svc", "*.a.svc", "*.b.a.svc", "*.example", "*.x.example", "*.team1")
PORTS: Final = (None, 80, 443, 8080)
_RULE: Final = st.tuples(
    st.sampled_from(PATTERNS), st.sampled_from(PORTS), st.sampled_from(["Exchange", "Passthrough", "Deny"])
)
_RULES: Final = st.lists(_RULE, max_size=8, unique_by=lambda one: one[:2])
_POLICIES: Final = st.sampled_from(["Passthrough", "Exchange", "Deny"])


def matches(pattern: str, host: str) -> bool:
    """Whether a host is one of a pattern's (spec 01)."""
    return host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def means(rule: Destination, port: int | None) -> bool:
    """Whether a rule's port is the request's; without one http means 80, or 443 where the rule originates TLS."""
    if port is not None:
        return rule.port in (None, port)
    return rule.port in (None, 80) or (rule.port == 443 and rule.tls)


def best(found: Destinations, host: str, port: int | None) -> Destination:
    """Returns what spec 02 says: exact host, then the longest suffix; port before none; then passes, then the policy."""
    for group in (found.rules, found.passes):
        hits = [one for one in group if matches(one.host, host) and means(one, port)]
        if hits:
            return min(hits, key=lambda one: ("*" in one.host, -len(one.host), one.port or 99_999))
    return found.default


def routed(hosts: list[JSON], authority: str) -> JSON:
    """Returns the route that Envoy takes: exact domain, longest wildcard, any; then the first route that matches."""
    host = authority.partition(":")[0]
    domains = {domain: virtual["routes"] for virtual in hosts for domain in virtual["domains"]}
    assert sum(len(virtual["domains"]) for virtual in hosts) == len(domains), "a domain stands twice: Envoy refuses"
    wild = sorted((one for one in domains if one.startswith("*.") and matches(one, host)), key=len)
    table = domains.get(host) or domains[wild[-1] if wild else "*"]
    return next(route for route in table if all(_holds(one, authority) for one in route["match"].get("headers", ())))


def _holds(matcher: JSON, authority: str) -> bool:
    text = matcher["string_match"]
    return (
        authority.endswith(text["suffix"])
        if "suffix" in text
        else bool(re.fullmatch(text["safe_regex"]["regex"], authority))
    )


def admitted(rules: JSON, name: str, port: int) -> bool:
    """Returns whether Envoy's RBAC lets a connection pass."""
    hit = any(_permits(one, name, port) for policy in rules["policies"].values() for one in policy["permissions"])
    return hit == (rules["action"] == "ALLOW")


def _permits(permission: JSON, name: str, port: int) -> bool:
    ((kind, value),) = permission.items()
    if kind == "requested_server_name":
        return name == value["exact"] if "exact" in value else name.endswith(value["suffix"])
    if kind == "destination_port":
        return port == value
    if kind == "not_rule":
        return not _permits(value, name, port)
    found = [_permits(one, name, port) for one in value["rules"]]
    return all(found) if kind == "and_rules" else any(found)


@settings(max_examples=3 * settings.default.max_examples)  # few rules meet by chance
@given(_RULES, _POLICIES)
def test_every_request_meets_its_most_specific_rule(rules: list[tuple[str, int | None, str]], policy: str) -> None:
    """For plain HTTP the route's name is the rule's; for TLS the RBAC admits what the rule, or the policy, lets pass."""
    made = [
        rule(host, port=port, action=action, **({"target": {"audience": "a"}} if action == "Exchange" else {}))
        for host, port, action in rules
    ]
    proxy = proxies.proxy({RULES: made, POLICY: policy})
    found = destinations(proxy.settings, cluster_domain="cluster.local", namespaces=proxy.namespaces)
    table, names = routes.RouteTable(found, proxy), server_names.rules(found)
    hosts, bodies = table.virtual_hosts, table.clusters
    for host in (*HOSTS, "unlisted.example.org"):
        for port in (80, 443, 8080, 9):
            expected = best(found, host, port)
            assert admitted(names, host, port) == (expected.action != "Deny"), (host, port)
            _check(routed(hosts, f"{host}:{port}"), expected, bodies, f"{host}:{port}")
        _check(routed(hosts, host), best(found, host, None), bodies, host)


def _check(route: JSON, expected: Destination, clusters: dict[str, JSON], request: str) -> None:
    assert route["name"] == expected.name, request
    assert ("direct_response" in route) == (expected.action == "Deny"), request
    assert ("metadata" in route) == (expected.action == "Exchange"), request
    if expected.action == "Deny":
        return
    cluster = route["route"]["cluster"]
    if expected.host == "*" and expected.action == "Passthrough":
        assert cluster == layout.ORIGINAL_DESTINATION
        return
    assert cluster in clusters, request
    secured = "transport_socket" in clusters[cluster]
    assert secured == (expected.tls if expected.host != "*" else not inside(request.partition(":")[0])), request
    if "load_assignment" in clusters[cluster]:
        endpoint = clusters[cluster]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        assert endpoint["address"]["socket_address"]["address"] == expected.host, request


def inside(host: str) -> bool:
    """Whether one of ``HOSTS`` is inside the cluster."""
    return host.endswith(".svc") or host in ("lone", "q.team1")
