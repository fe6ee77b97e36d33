"""Verification notices whatever the mapping could get wrong: each row spoils one value of a faithful migration."""

import copy
import dataclasses
from typing import Any

import pytest

from kagenti.core.migration import reasons
from tests import legacy
from tests.unit.core.migration.given import era_objects, migrated, verified, workload

JSON = Any  # a value

ROUTES = '[{"host": "tool", "target_audience": "catalog", "token_scopes": "openid"}, {"host": "**.svc", "passthrough": true}]'
INTERCEPTION = "identity.outbound.trafficInterception"
KEYCLOAK = "identity.clientRegistration.keycloak"
EXCHANGE = "identity.outbound.tokenExchange"
# layer (0 cluster, 1 namespace), path, another value (None: left out), field that must be told
SPOILED = [
    (0, "components.envoyProxy.image", "registry.example/envoy:1", "components.envoyProxy.image"),
    (0, "components.proxyInit.imagePullPolicy", "Always", "components.proxyInit.imagePullPolicy"),
    (0, "components.envoyProxy.resources.limits.cpu", "1", "components.envoyProxy.resources.limits.cpu"),
    (0, "components.spiffeHelper.enabled", False, "containers"),
    (0, f"{INTERCEPTION}.proxyPort", 15200, f"{INTERCEPTION}.proxyPort"),
    (0, f"{INTERCEPTION}.proxyUid", 4000, f"{INTERCEPTION}.proxyUid"),
    (0, f"{INTERCEPTION}.excludePorts", None, f"{INTERCEPTION}.excludePorts"),
    (0, "identity.spiffe.trustDomain", "other.example", "clientId"),
    (0, "identity.inbound.enabled", False, "validates"),
    (1, f"{KEYCLOAK}.url", "http://sso.idp.svc:8081", f"{KEYCLOAK}.url"),
    (1, f"{KEYCLOAK}.realm", "other", f"{KEYCLOAK}.realm"),
    (1, f"{KEYCLOAK}.platformClientIds", None, f"{KEYCLOAK}.platformClientIds"),
    (1, "identity.inbound.validation.issuer", None, "identity.inbound.validation.issuer"),
    (1, "identity.inbound.validation.audience", "any", "identity.inbound.validation.audience"),
    (1, "identity.inbound.validation.bypassPaths", ["/healthz"], "identity.inbound.validation.bypassPaths"),
    (1, "identity.outbound.defaultPolicy", "Deny", "outbound[no-route.example.com]"),
    (1, f"{EXCHANGE}.destinationRules", None, "outbound[tool]"),
    (1, f"{EXCHANGE}.tokenUrl", legacy.TOKEN_URL.replace("acme", "other"), "outbound[tool]"),
    (1, "identity.spiffe.jwtAudience", "other", "identity.spiffe.jwtAudience"),
]


def put(spec: JSON, path: str, value: JSON) -> None:
    """Sets or leaves out a value."""
    *parents, last = path.split(".")
    for key in parents:
        spec = spec.setdefault(key, {})
    if value is None:
        del spec[last]
    else:
        spec[last] = value


@pytest.mark.parametrize(("layer", "path", "value", "field"), SPOILED)
def test_a_wrong_value_is_noticed(layer: int, path: str, value: JSON, field: str) -> None:
    """As a difference that nobody can explain."""
    objects = era_objects(
        "E2b", platform=legacy.defaults("v0.4.0-alpha.13"), routes=ROUTES, helper=legacy.HELPER, envoy=legacy.ENVOY
    )
    faithful = migrated(objects, "E2b")
    labels = {"kagenti.io/type": "agent", "kagenti.io/client-registration-inject": "true"}
    found = workload(labels, kind="StatefulSet")
    assert verified(faithful, found).differences == ()
    manifests = copy.deepcopy(faithful.manifests)
    put(manifests[layer]["spec"], path, value)
    spoiled = verified(dataclasses.replace(faithful, manifests=manifests), found)
    told = {one.field: one.reason for one in spoiled.differences}
    if "injected" in told:  # it contradicts itself, and would be refused
        assert told["injected"] == reasons.REFUSED
        return
    assert told.get(field) == reasons.UNEXPLAINED, told
    assert not spoiled.ok
