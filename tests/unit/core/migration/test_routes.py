"""routes.yaml: what the old processor decided for hosts, and the rules that decide alike."""

import json
from typing import Any

import pytest

from kagenti.core.migration.routes import Outbound, Route, covered, suffix_of
from tests import legacy
from tests.unit.core.migration.given import era_objects, migrated, value, verified, workload

JSON = Any  # a rule

RULES = "identity.outbound.tokenExchange.destinationRules"
FULL = {"target_audience": "a", "token_scopes": "openid"}


@pytest.mark.parametrize(
    ("glob", "host", "expected"),
    [
        ("tool", "tool", True),
        ("Tool", "tool", True),
        ("*.svc", "a.svc", True),
        ("*.svc", "a.b.svc", False),
        ("**.svc", "a.b.svc", True),
        ("**.svc", "svc", False),
        ("a?.svc", "ab.svc", True),
        ("a?.svc", "a..svc", False),
        ("*", "tool", True),
        ("*", "tool.ns", False),
        ("**", "tool.ns", True),
        ("tool:8080", "tool", False),
    ],
)
def test_a_glob(glob: str, host: str, expected: bool) -> None:
    """The dot separates: one star stays in a label, two cross."""
    assert Route(glob).matches(host) is expected


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("tool", "tool"),
        ("Api.Example", "api.example"),
        ("**.svc", "*.svc"),
        ("*.svc", "*.svc"),
        ("*", None),
        ("**", None),
        ("a-*.svc", None),
        ("*.*.svc", None),
        ("tool:8080", None),
        ("{a,b}.svc", None),
    ],
)
def test_the_host_of_a_rule(glob: str, expected: str | None) -> None:
    """An exact host, or a suffix; nothing that would mean something else."""
    assert suffix_of(glob) == expected


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ("**.svc", "a.svc", True),
        ("**.svc", "**.ns.svc", True),
        ("**.svc", "*.ns.svc", True),
        ("*.svc", "a.svc", True),
        ("*.svc", "**.svc", False),
        ("a.svc", "b.svc", False),
        ("a.svc", "**.svc", False),
        ("**", "anything.else", True),
    ],
)
def test_a_route_that_was_never_reached(earlier: str, later: str, expected: bool) -> None:
    """The first match won, whatever stood behind it."""
    assert (covered(Route(later), [Route(earlier)]) is not None) is expected


def rules(routes: list[JSON], era: str = "E2b", **config: str) -> JSON:
    """Returns the rules that routes become."""
    objects = era_objects(era, config={**legacy.AUTHBRIDGE, **config}, routes=json.dumps(routes))
    return value(migrated(objects, era), RULES) or []


def test_the_rule_of_a_route() -> None:
    """Exchange, with the client's own grant for callers without a token, as before."""
    assert rules([{"host": "tool", **FULL}]) == [
        {
            "match": {"host": "tool"},
            "action": "Exchange",
            "target": {"audience": "a", "scopes": ["openid"]},
            "onMissingToken": "ClientCredentials",
        }
    ]


@pytest.mark.parametrize(
    ("era", "fields", "action"),
    [
        ("E2b", {"passthrough": True}, "Passthrough"),
        ("E2b", {"action": "passthrough", **FULL}, "Exchange"),
        ("E4", {"passthrough": True, **FULL}, "Exchange"),
        ("E4", {"action": "passthrough"}, "Passthrough"),
    ],
    ids=["read", "ignored before E4", "ignored from E4 on", "read from E4 on"],
)
def test_passthrough_in_two_spellings(era: str, fields: JSON, action: str) -> None:
    """Each generation read its own spelling and took the other for an exchange."""
    assert [rule["action"] for rule in rules([{"host": "tool", **fields}], era)] == [action]


def test_a_route_that_had_no_effect_stays_without() -> None:
    """Without audience or scopes the processor passed the call on: Passthrough, with TLS left off outside the cluster."""
    found = rules([{"host": "api.partner.example", "target_audience": "a"}], TARGET_SCOPES="", TARGET_AUDIENCE="")
    assert found == [{"match": {"host": "api.partner.example"}, "action": "Passthrough", "upstream": {"tls": "Off"}}]


def test_missing_fields_come_from_the_whole() -> None:
    """Route over global settings, as the processor merged them."""
    (found,) = rules([{"host": "tool"}], TARGET_AUDIENCE="tools", TARGET_SCOPES="openid tools-aud")
    assert found["target"] == {"audience": "tools", "scopes": ["openid", "tools-aud"]}


def test_order_becomes_precision() -> None:
    """A general route in front hides an exact one; an exact one in front stays in force beside it."""
    hidden = rules([{"host": "**.svc", "passthrough": True}, {"host": "a.svc", **FULL}])
    assert [rule["match"]["host"] for rule in hidden] == ["*.svc"]
    both = rules([{"host": "a.svc", **FULL}, {"host": "**.svc", "passthrough": True}])
    assert [rule["match"]["host"] for rule in both] == ["a.svc", "*.svc"]


@pytest.mark.parametrize(
    ("routes", "reason"),
    [
        ([{"host": "*.telemetry.svc", **FULL}], "GlobWidened"),
        ([{"host": "agent-*.tools.svc", **FULL}, {"host": "agent-1.tools.svc", "passthrough": True}], "GlobDropped"),
        ([{"host": "api.partner.example", **FULL}], "TlsOriginated"),
    ],
)
def test_what_differs_is_named(routes: list[JSON], reason: str) -> None:
    """Verification asks both sides about hosts, and knows why they differ."""
    objects = era_objects("E2b", platform=legacy.defaults("v0.4.0-alpha.13"), routes=json.dumps(routes))
    migration = migrated(objects, "E2b")
    labels = {"kagenti.io/type": "agent", "kagenti.io/client-registration-inject": "true"}
    compared = verified(migration, workload(labels, kind="StatefulSet"))
    told = {one.reason for one in compared.differences if one.field.startswith("outbound")}
    shows = reason in told or any(one.reason == reason for one in migration.report.findings)
    assert compared.ok
    assert shows or reason == "GlobDropped"
    if reason == "GlobDropped":
        assert f"{RULES}[agent-*.tools.svc]" in migration.lost["lab1"]


def test_a_decision_for_people() -> None:
    """As a report shows it."""
    assert str(Outbound().decide("tool")) == "Passthrough"
    found = Outbound(exchanges=True, audience="a", scopes="openid x", token_url="http://idp/token").decide("tool")
    assert str(found) == "Exchange for a with openid x at http://idp/token, without a token ClientCredentials"


def test_more_routes_than_an_object_holds() -> None:
    """The first 128 are rules, the others are impossible and said so."""
    found = rules([{"host": f"t{number}", **FULL} for number in range(130)])
    assert len(found) == 128


INLINE = """
pipeline: {{outbound: {{plugins: [{{name: token-exchange, config: {{keycloak_url: "http://sso.idp.svc:8080", keycloak_realm: acme,
  no_token_policy: client-credentials, routes: {{rules: {rules}}}}}}}]}}}}
"""


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"host": "tool.lab1", "target_audience": "tool", "token_scopes": "openid"}, "Exchange"),
        ({"host": "tool.lab1", "passthrough": True}, "Passthrough"),
        ({"host": "tool.lab1", "action": "passthrough"}, "Passthrough"),
    ],
)
def test_rules_inside_the_consolidated_file(rule: JSON, expected: str) -> None:
    """They accept both ways to pass a call on, and become destination rules like those of a file (3.6)."""
    objects = era_objects("E4", runtime=INLINE.format(rules=json.dumps([rule])))
    migration = migrated(objects, "E4")
    (made,) = value(migration, RULES)
    assert (made["match"]["host"], made["action"]) == ("tool.lab1", expected)
    assert verified(migration, workload({"kagenti.io/type": "agent"})).ok


@pytest.mark.parametrize("rules", [7, [7], [{"host": 7}]])
def test_rules_of_the_wrong_type(rules: JSON) -> None:
    """One fault; the rest of the file counts."""
    migration = migrated(era_objects("E4", runtime=INLINE.format(rules=json.dumps(rules))), "E4")
    assert [fault.reason for fault in migration.report.faults] == ["WrongType"]
    assert value(migration, "identity.clientRegistration.keycloak.realm") == "acme"


@pytest.mark.parametrize(
    ("glob", "host", "expected"),
    [
        ("*.a", "b.a", True),
        ("*.a", "c.b.a", False),
        ("**.a", "c.b.a", True),
        ("**", "c.b.a", True),
        ("*", "a.b", False),
        ("a?.b", "ac.b", True),
        ("a?.b", "a.b", False),
        ("a**", "a", True),
        ("***", "a.b", True),
        ("a-*-z.b", "a--z.b", True),
        (f"{'*a' * 30}b.x", f"{'a' * 63}.x", False),
    ],
    ids=str,
)
def test_what_a_glob_takes(glob: str, host: str, expected: bool) -> None:
    """As the old processor's library had it; the last one would keep a regular expression busy for ever."""
    assert Route(glob).matches(host) is expected
