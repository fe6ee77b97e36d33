"""The settings of a running pod: restart values of its receipt, live values of today, derived ones with the pod."""

from typing import Any

import orjson
import pytest
from hypothesis import given as examples

from kagenti.core.settings import ResolvedSettings, resolve, restart_part
from kagenti.core.settings.pod import for_pod
from tests.unit.core.settings import given

JSON = Any  # values by path

AUDIENCE = "https://agent.example"


def _resolved(values: JSON) -> ResolvedSettings:
    return resolve(given.cluster(values), None, None)


def test_restart_values_stay_and_live_values_move() -> None:
    """One setting of each class."""
    then = _resolved({"identity.inbound.targetPort": 9000, given.AUDIENCE: "then"})
    now = _resolved({"identity.inbound.targetPort": 9001, given.AUDIENCE: AUDIENCE, "trace.sampling.rate": 0.5})
    pod = for_pod(now, restart_part(then))
    assert pod["identity.inbound.targetPort"] == 9000
    assert (pod[given.AUDIENCE], pod["trace.sampling.rate"]) == (AUDIENCE, 0.5)


def test_a_realm_moves_with_the_pod() -> None:
    """Issuer, keys and token URL follow the realm in which the pod's client is registered."""
    then, now = _resolved({given.REALM: "then"}), _resolved({given.REALM: "now"})
    pod = for_pod(now, restart_part(then))
    for path in (given.ISSUER, given.JWKS_URL, given.TOKEN_URL):
        assert (pod[path], now[path]) == (then[path], now[path])
        assert then[path] != now[path]


def test_a_url_that_a_layer_sets_does_not() -> None:
    """What is set itself is live: the realm says nothing about it."""
    now = _resolved({given.ISSUER: "https://issuer.example"})
    pod = for_pod(now, restart_part(_resolved({given.REALM: "then"})))
    assert pod[given.ISSUER] == "https://issuer.example"


@pytest.mark.parametrize(
    ("then", "now", "expected", "reason"),
    [
        ("AuthBridge", "AuthBridge", "Deny", "its rules are restart settings"),
        ("AuthBridge", "Envoy", "Deny", "the pod still has that image"),
        ("Envoy", "AuthBridge", "Passthrough", "the pod still exchanges in Envoy"),
        ("Envoy", "Envoy", "Passthrough", "live"),
    ],
)
def test_who_exchanges_in_this_pod_decides_about_its_rules(then: str, now: str, expected: str, reason: str) -> None:
    """Spec 01: with AuthBridge outbound rules and policy reach pods by restart."""
    old = _resolved({"injection.tokenExchange": then, given.POLICY: "Deny"})
    new = _resolved({"injection.tokenExchange": now, given.POLICY: "Passthrough"})
    assert for_pod(new, restart_part(old))[given.POLICY] == expected, reason


def test_a_setting_that_the_receipt_does_not_name_is_built_in() -> None:
    """An older version built the pod without knowing it."""
    now = _resolved({"identity.inbound.targetPort": 9001})
    assert for_pod(now, {})["identity.inbound.targetPort"] == 8081


@examples(given.value_maps, given.value_maps)
def test_a_pod_built_today_has_todays_settings(above: JSON, below: JSON) -> None:
    """The law: with the receipt of this moment nothing changes, also after its way through JSON."""
    now = resolve(given.cluster(above), given.namespace(below), None)
    assert dict(for_pod(now, orjson.loads(now.restart_json)).values) == dict(now.values)
