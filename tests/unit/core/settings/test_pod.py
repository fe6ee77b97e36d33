"""The settings of a running pod: what it was built from stays, what is live follows today's layers."""

import copy
from typing import Any, Final

import pytest
from hypothesis import given as examples
from hypothesis import settings as profile

from kagenti.core.settings import ResolvedSettings, effective_class, resolve, restart_part
from kagenti.core.settings.pod import for_pod
from tests.unit.core.settings import given

JSON = Any  # a value of the layered block

SCOPES: Final = f"{given.VALIDATION}.requiredScopes"
HTTP: Final = {"type": "otlp", "endpoint": "new:4318", "protocol": "http/protobuf"}
GRPC: Final = {"type": "otlp", "endpoint": "old:4317", "protocol": "grpc"}


def _today(values: JSON = None) -> ResolvedSettings:
    found = resolve(given.cluster(values), None, None)
    assert not found.errors, found.errors
    return found


def _receipt(values: JSON = None) -> JSON:
    return restart_part(_today(values))


@profile(deadline=None)
@examples(given.value_maps)
def test_a_pod_that_is_current_has_todays_settings(values: JSON) -> None:
    today = resolve(given.cluster(values), None, None)
    assert for_pod(today, restart_part(today)).values == today.values


@profile(deadline=None)
@examples(given.value_maps, given.value_maps)
def test_restart_settings_are_the_receipts_and_live_ones_todays(then: JSON, now: JSON) -> None:
    built, today = (resolve(given.cluster(values), None, None) for values in (then, now))
    before = copy.deepcopy(dict(today.values))
    pod = for_pod(today, restart_part(built))
    assert today.values == before, "an input was changed"
    for path in {*built.values, *today.values}:
        if effective_class(path, pod.values) == "restart" and effective_class(path, built.values) == "restart":
            assert pod.get(path) == built.get(path), path
        elif effective_class(path, pod.values) == "live" and not today.origins[path].derived_from:
            assert pod.get(path) == today.get(path), path


def test_policy_exchange_and_client_stay_in_the_pods_realm() -> None:
    """The namespace moved on: issuer, keys and token endpoint of the running pod did not."""
    old = "https://old.example/realms/a"
    receipt = _receipt({given.URL: "https://old.example", given.REALM: "a", given.ADMIN_SECRET: "s"})
    pod = for_pod(_today({given.URL: "https://new.example", given.REALM: "b", SCOPES: ["read"]}), receipt)
    assert pod[given.ISSUER] == old
    assert pod[given.JWKS_URL] == f"{old}/protocol/openid-connect/certs"
    assert pod[given.TOKEN_URL] == f"{old}/protocol/openid-connect/token"
    assert pod[SCOPES] == ["read"]


def test_an_issuer_that_a_layer_sets_itself_is_live() -> None:
    receipt = _receipt({given.REALM: "a"})
    pod = for_pod(_today({given.REALM: "b", given.ISSUER: "https://idp.example"}), receipt)
    assert pod[given.ISSUER] == "https://idp.example"
    assert "/realms/a/" in pod[given.JWKS_URL]


def test_setting_that_the_receipt_lacks_is_the_built_in_one() -> None:
    """A pod of an older release, which did not know it yet."""
    pod = for_pod(
        _today({"identity.inbound.targetPort": 9000, given.CREDENTIALS_SECRET: "mine", given.AUDIENCE: "a"}), {}
    )
    assert pod["identity.inbound.targetPort"] == 8081
    assert pod.get(given.CREDENTIALS_SECRET) is None


@pytest.mark.parametrize(
    ("built", "today", "expected"),
    [
        ([GRPC], [{**GRPC, "endpoint": "new:4317"}], "new:4317"),
        ([HTTP], [{**HTTP, "endpoint": "newer:4318"}], "newer:4318"),
        ([GRPC], [HTTP], "old:4317"),
        ([HTTP], [{**HTTP, "endpoint": "http://newer:4318/base"}], "new:4318"),
        ([HTTP], [{**HTTP, "endpoint": "http://newer:4318/"}], "http://newer:4318/"),
        ([], [GRPC], "old:4317"),
        ([GRPC], [], None),
        ([], [HTTP], None),
    ],
)
def test_collector_is_live_as_long_as_the_pods_tracer_speaks_its_protocol(
    built: JSON, today: JSON, expected: str | None
) -> None:
    pod = for_pod(_today({"trace.exporters": today}), _receipt({"trace.exporters": built}))
    assert (pod["trace.exporters"] or [{"endpoint": None}])[0]["endpoint"] == expected


@pytest.mark.parametrize(("built", "now"), [("AuthBridge", "Envoy"), ("Envoy", "AuthBridge")])
def test_outbound_rules_are_the_receipts_where_authbridge_serves_the_pod(built: str, now: str) -> None:
    then, today = (
        {"injection.tokenExchange": by, given.POLICY: policy} for by, policy in ((built, "Deny"), (now, "Passthrough"))
    )
    pod = for_pod(_today(today), _receipt(then))
    assert pod[given.POLICY] == ("Deny" if built == "AuthBridge" else "Passthrough")
