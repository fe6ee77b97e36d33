"""Old keys and what becomes of them, one row each; what cannot be carried is said and left out."""

from typing import Any

import pytest

from kagenti.core.migration import chain, keys
from kagenti.core.migration.cluster_layer import Choices
from tests import legacy
from tests.unit.core.migration.given import (
    at,
    entry,
    era_objects,
    migrated,
    reasons,
    spec_of,
    value,
    verified,
    workload,
)

JSON = Any  # a value

NEW = "v0.4.0-alpha.13"


def image(name: str, tag: str = NEW) -> str:
    """An image of the old project."""
    return f"{legacy.PREFIX}/{name}:{tag}"


# gate file → (path, value); None: not written
GATES = [
    ("globalEnabled: false", "injection.enabled", False),
    ("envoyProxy: false", "components.envoyProxy.enabled", False),
    ("spiffeHelper: false", "identity.spiffe.enabled", False),
    ("clientRegistration: false", "components.clientRegistration.enabled", False),
    ("injectTools: true", "injection.types", ["agent", "tool"]),
    ("injectTools: false", "injection.types", ["agent"]),
    ("{}", "injection.types", ["agent"]),
    ("combinedSidecar: true", "injection.enabled", None),
]


@pytest.mark.parametrize(("gates", "path", "expected"), GATES)
def test_a_gate(gates: str, path: str, expected: JSON) -> None:
    """Each goes to the setting that switches the same thing."""
    assert value(migrated(era_objects("E2b", gates=gates), "E2b"), path) == expected


# era, gate file → (path, value): what the same gate meant elsewhere
GATES_ELSEWHERE = [
    ("E3", "clientRegistration: false", "components.clientRegistration.enabled", None),
    ("E4", "envoyProxy: false", "injection.enabled", False),
    ("E4", "{envoyProxy: false, globalEnabled: true}", "injection.enabled", False),
    ("E4", "spiffeHelper: false", "identity.spiffe.enabled", False),
    ("E2a", "clientRegistration: false", "identity.outbound.defaultPolicy", "Passthrough"),
    ("E3", "clientRegistration: false", "identity.outbound.defaultPolicy", "Exchange"),
]


@pytest.mark.parametrize(("era", "gates", "path", "expected"), GATES_ELSEWHERE)
def test_a_gate_in_another_era(era: str, gates: str, path: str, expected: JSON) -> None:
    """E3 registered by the operator; E4 had one container; without a client calls were passed on unchanged."""
    config = {**legacy.AUTHBRIDGE, "DEFAULT_OUTBOUND_POLICY": "exchange"}
    migration = migrated(era_objects(era, gates=gates, config=config), era)
    assert value(migration, path) == expected
    assert verified(migration, workload({"kagenti.io/type": "agent"})).ok


ALL_FALSE = "{globalEnabled: false, envoyProxy: false, spiffeHelper: false, clientRegistration: false}"


@pytest.mark.parametrize(("keep", "enabled", "told"), [(False, False, True), (True, None, False)])
def test_gates_that_are_all_false(keep: bool, enabled: bool | None, told: bool) -> None:
    """What is written counts from now on, and the loss of sidecars is shown; or, as asked, injection goes on."""
    objects = era_objects("E2b", gates=ALL_FALSE)
    migration = migrated(objects, "E2b", choices=Choices(keep_injecting=keep))
    assert value(migration, "injection.enabled") is enabled
    assert "AllFalseGates" in reasons(migration)
    compared = verified(migration, workload({"kagenti.io/type": "agent"}))
    assert compared.loses_sidecars is told
    assert {one.reason for one in compared.differences} >= ({"AllFalseGates"} if told else set())


# platform file → (path, value)
PLATFORM = [
    (
        f"images: {{envoyProxy: '{image('envoy-with-processor')}'}}",
        "components.envoyProxy.image",
        image("envoy-with-processor"),
    ),
    (f"images: {{envoyProxy: '{image('envoy-with-processor')}'}}", "injection.tokenExchange", "AuthBridge"),
    (f"images: {{proxyInit: '{image('proxy-init')}'}}", "components.proxyInit.image", image("proxy-init")),
    (f"images: {{spiffeHelper: '{image('spiffe-helper')}'}}", "components.spiffeHelper.image", image("spiffe-helper")),
    ("images: {pullPolicy: Always}", "components.clientRegistration.imagePullPolicy", "Always"),
    ("proxy: {port: 15200}", "identity.outbound.trafficInterception.proxyPort", 15200),
    ("proxy: {inboundProxyPort: 15201}", "identity.outbound.trafficInterception.inboundProxyPort", 15201),
    ("proxy: {uid: 4000}", "identity.outbound.trafficInterception.proxyUid", 4000),
    ("proxy: {adminPort: 9902}", "identity.outbound.trafficInterception.excludePorts", [8080]),
    ("resources: {envoyProxy: {limits: {cpu: 1}}}", "components.envoyProxy.resources.limits.cpu", "1"),
    ("resources: {envoyProxy: {limits: {cpu: 1}}}", "components.envoyProxy.resources.limits.memory", None),
    (
        "resources: {proxyInit: {requests: {memory: 12Mi}, limits: {memory: 12Mi}}}",
        "components.proxyInit.resources.requests.memory",
        "12Mi",
    ),
    ("{}", "components.envoyProxy.resources.limits.cpu", "200m"),
    ("spiffe: {trustDomain: old.example}", "identity.spiffe.trustDomain", "old.example"),
    ("sidecars: {envoyProxy: {enabled: false}}", "components.envoyProxy.enabled", None),
]


@pytest.mark.parametrize(("platform", "path", "expected"), PLATFORM)
def test_a_platform_value(platform: str, path: str, expected: JSON) -> None:
    """Written values are carried; what was compiled in is written where kagenti's own default is another."""
    assert value(migrated(era_objects("E2b", platform=platform), "E2b", trust_domain=""), path) == expected


# platform file → key that is impossible or ignored, a word of the reason
NOT_CARRIED = [
    ("proxy: {adminPort: 9902}", "proxy.adminPort", "ignored", "pipe"),
    ("sidecars: {envoyProxy: {enabled: false}}", "sidecars.envoyProxy.enabled", "ignored", "without effect"),
    ("tokenExchange: {tokenUrl: x, defaultScopes: [openid]}", "tokenExchange.tokenUrl", "ignored", "never read"),
    ("observability: {logLevel: debug}", "observability.logLevel", "ignored", "never read"),
    (f"images: {{authbridge: '{image('authbridge')}'}}", "images.authbridge", "impossible", "combined"),
    (
        f"images: {{envoyProxy: '{image('envoy-with-processor', 'v0.4.0-alpha.5')}'}}",
        "images.envoyProxy",
        "impossible",
        "1.28",
    ),
    ("images: {proxyInit: 'a b'}", "images.proxyInit", "impossible", "pattern"),
    ("resources: {envoyProxy: {limits: {cpu: 1e3}}}", "resources.envoyProxy.limits.cpu", "carried", "amount"),
    ("resources: {envoyProxy: {limits: {memory: 2P}}}", "resources.envoyProxy.limits.memory", "impossible", "pattern"),
    (
        "resources: {envoyProxy: {limits: {ephemeral-storage: 1Gi}}}",
        "resources.envoyProxy.limits.ephemeral-storage",
        "impossible",
        "cpu",
    ),
    ("resources: {envoyProxy: {requests: {cpu: 900m}}}", "resources.envoyProxy.limits.cpu", "impossible", "below"),
    ("proxy: {port: 15124}", "proxy.port", "impossible", "15124"),
    ("proxy: {port: 8080}", "proxy.port", "impossible", "8080"),
    ("spiffe: {trustDomain: Not A Domain}", "spiffe.trustDomain", "impossible", "pattern"),
    ("mystery: {x: 1}", "mystery.x", "ignored", "did not know"),
]


@pytest.mark.parametrize(("platform", "key", "verdict", "why"), NOT_CARRIED)
def test_a_platform_value_that_stays_behind(platform: str, key: str, verdict: str, why: str) -> None:
    """With one entry that says so; the rest is migrated."""
    migration = migrated(era_objects("E2b", platform=platform), "E2b", trust_domain="")
    found = entry(migration, key)
    assert (found.verdict, why in found.why) == (verdict, True), found
    assert migration.report.faults == []
    assert value(migration, "identity.clientRegistration.keycloak.realm") == "acme"


KEYCLOAK = "identity.clientRegistration.keycloak"
EXCHANGE = "identity.outbound.tokenExchange"
VALIDATION = "identity.inbound.validation"
BASE = {"KEYCLOAK_URL": "http://sso.idp.svc:8080", "KEYCLOAK_REALM": "acme", "ISSUER": legacy.ISSUER}
# changed keys → (path, value)
CONFIG = [
    ({}, f"{KEYCLOAK}.url", "http://sso.idp.svc:8080"),
    ({}, f"{KEYCLOAK}.realm", "acme"),
    ({}, f"{KEYCLOAK}.adminCredentialsSecret", "keycloak-admin-secret"),
    ({}, f"{VALIDATION}.issuer", legacy.ISSUER),
    ({}, f"{VALIDATION}.jwksUrl", None),
    ({"TOKEN_URL": legacy.TOKEN_URL}, f"{EXCHANGE}.tokenUrl", legacy.TOKEN_URL),
    ({"TOKEN_URL": legacy.TOKEN_URL}, f"{VALIDATION}.jwksUrl", legacy.TOKEN_URL.removesuffix("token") + "certs"),
    ({"TOKEN_URL": legacy.TOKEN_URL, "KEYCLOAK_URL": ""}, f"{KEYCLOAK}.url", "http://sso.idp.svc:8080"),
    ({"TOKEN_URL": legacy.TOKEN_URL, "KEYCLOAK_REALM": ""}, f"{KEYCLOAK}.realm", "acme"),
    ({"EXPECTED_AUDIENCE": "agents"}, f"{VALIDATION}.audience", None),
    ({"TARGET_AUDIENCE": "tools"}, f"{EXCHANGE}.defaultTarget.audience", "tools"),
    ({"TARGET_SCOPES": "openid  tools"}, f"{EXCHANGE}.defaultTarget.scopes", ["openid", "tools"]),
    ({"DEFAULT_OUTBOUND_POLICY": "passthrough"}, "identity.outbound.defaultPolicy", "Passthrough"),
    ({"DEFAULT_OUTBOUND_POLICY": "exchange"}, "identity.outbound.defaultPolicy", "Passthrough"),
    (
        {"DEFAULT_OUTBOUND_POLICY": "exchange", "TARGET_AUDIENCE": "tools", "TARGET_SCOPES": "openid"},
        "identity.outbound.defaultPolicy",
        "Exchange",
    ),
    ({"PLATFORM_CLIENT_IDS": "kagenti, portal"}, f"{KEYCLOAK}.platformClientIds", ["kagenti", "portal"]),
    ({"CLIENT_AUTH_TYPE": "federated-jwt"}, "identity.clientRegistration.authType", "federated-jwt"),
    ({"SPIFFE_IDP_ALIAS": "spire"}, "identity.clientRegistration.idpAlias", "spire"),
    ({"JWT_AUDIENCE": "x"}, "identity.spiffe.jwtAudience", None),
    ({"SPIRE_ENABLED": "false"}, "identity.spiffe.enabled", None),
]


@pytest.mark.parametrize(("changed", "path", "expected"), CONFIG)
def test_a_key_of_authbridge_config(changed: dict[str, str], path: str, expected: JSON) -> None:
    """The namespace's layer says what the old binaries did with the key."""
    assert value(migrated(era_objects("E2b", config={**BASE, **changed}), "E2b"), path) == expected


@pytest.mark.parametrize(
    ("tag", "expected"),
    [("v0.4.0-alpha.11", "agents"), ("v0.4.0-alpha.12", None)],
    ids=["read up to alpha.11", "the client id from alpha.12 on"],
)
def test_the_expected_audience_hangs_on_the_image(tag: str, expected: str | None) -> None:
    """The image of the cluster decides what a key of the namespace meant."""
    objects = era_objects("E2b", platform=legacy.defaults(tag), config={**BASE, "EXPECTED_AUDIENCE": "agents"})
    assert value(migrated(objects, "E2b"), f"{VALIDATION}.audience") == expected


def test_an_auth_type_that_never_worked() -> None:
    """It is carried and works now; the combined container was never told of it, which verification says (1.4, 1.6)."""
    config = {**BASE, "CLIENT_AUTH_TYPE": "federated-jwt"}
    assert "no exchange succeeded" in entry(migrated(era_objects("E2b", config=config), "E2b"), "CLIENT_AUTH_TYPE").why
    migration = migrated(era_objects("E2b", config=config, gates="combinedSidecar: true"), "E2b")
    compared = verified(migration, workload({"kagenti.io/type": "agent"}))
    told = {one.field: one.reason for one in compared.differences}
    assert told["identity.clientRegistration.authType"] == "CombinedSidecar"


def test_switches_of_the_operator() -> None:
    """From E4 on it could leave token exchange and the audience scope out: the one is a setting, the other always made."""
    off = {f"KEYCLOAK_{name}_ENABLED": "false" for name in ("TOKEN_EXCHANGE", "AUDIENCE_SCOPE")}
    migration = migrated(era_objects("E4", config={**BASE, **off}), "E4")
    assert value(migration, f"{KEYCLOAK}.tokenExchangeEnabled") is False
    assert entry(migration, "KEYCLOAK_AUDIENCE_SCOPE_ENABLED").verdict == "impossible"
    assert verified(migration, workload({"kagenti.io/type": "agent"})).ok


@pytest.mark.parametrize(
    ("changed", "key", "why"),
    [
        ({"KEYCLOAK_REALM": "Acme_Prod"}, "KEYCLOAK_REALM", "pattern"),
        ({"ISSUER": "sso.acme.example"}, "ISSUER", "pattern"),
        ({"CLIENT_AUTH_TYPE": "magic"}, "CLIENT_AUTH_TYPE", "client-secret"),
        ({"TARGET_AUDIENCE": "two words"}, "TARGET_AUDIENCE", "pattern"),
        ({"KEYCLOAK_ADMIN_PASSWORD": "hunter2"}, "KEYCLOAK_ADMIN_PASSWORD", "Secret"),
        ({"SOME_API_KEY": "hunter2"}, "SOME_API_KEY", "Secret"),
        ({"KEYCLOAK_URL": "http://admin:hunter2@sso.idp.svc:8080"}, "KEYCLOAK_URL", "pattern"),
    ],
)
def test_a_value_that_cannot_be_carried(changed: dict[str, str], key: str, why: str) -> None:
    """It is named with what to do, never with what it holds where that is a credential."""
    migration = migrated(era_objects("E2b", config={**BASE, **changed}), "E2b")
    found = entry(migration, key)
    assert (found.verdict, why in found.why) == ("impossible", True), found
    assert "hunter2" not in str(migration.report)


def test_a_token_endpoint_on_another_server() -> None:
    """The cluster's policy lists the servers in use, or the credential rule would refuse the namespace."""
    config = {**BASE, "TOKEN_URL": "https://sso.acme.example/realms/acme/protocol/openid-connect/token"}
    migration = migrated(era_objects("E2b", config=config), "E2b")
    listed = at(spec_of(migration, "AgentRuntimeClusterConfig"), "policy.identityProviders")
    assert listed == ["http://sso.idp.svc:8080", "https://sso.acme.example"]
    assert "ProvidersListed" in reasons(migration)


def test_a_list_of_providers_grows() -> None:
    """What is listed stays, for namespaces that are not migrated now; what these need is added, or they would be refused."""
    known = ("https://other.example/realms",)
    migration = migrated(era_objects("E2b", config=BASE), "E2b", providers=known)
    listed = at(spec_of(migration, "AgentRuntimeClusterConfig"), "policy.identityProviders")
    assert listed == [*known, "http://sso.idp.svc:8080", "https://sso.acme.example"]


@pytest.mark.parametrize(("exchanger", "expected"), [("AuthBridge", image("envoy-with-processor")), ("Envoy", None)])
def test_who_exchanges_tokens(exchanger: Any, expected: str | None) -> None:
    """The image goes on, or Envoy takes over, as chosen."""
    objects = era_objects("E2b", platform=legacy.defaults(NEW))
    migration = migrated(objects, "E2b", choices=Choices(exchanger=exchanger))
    assert value(migration, "components.envoyProxy.image") == expected


@pytest.mark.parametrize("era", ["E4", "E5"])
def test_the_consolidated_binary(era: str) -> None:
    """Its plugins' settings are carried; its images are not, and Envoy exchanges tokens."""
    objects = era_objects(era, platform=legacy.CONSOLIDATED, runtime=legacy.RUNTIME)
    migration = migrated(objects, era)
    assert value(migration, "injection.tokenExchange") is None
    assert value(migration, "components.envoyProxy.image") is None
    assert value(migration, f"{VALIDATION}.bypassPaths") == ["/healthz", "/.well-known/*"]
    assert value(migration, "identity.clientRegistration.authType") == "client-secret"
    assert entry(migration, "images.authbridgeLite").verdict == "impossible"


def test_environments_of_the_first_era() -> None:
    """Its keys count where authbridge-config has none; its credentials stay behind with a warning."""
    migration = migrated(legacy.example("E1a", "lab1"), "E1a")
    assert value(migration, f"{KEYCLOAK}.url") == "http://sso.idp.svc:8080"
    assert "PlainCredential" in reasons(migration)
    assert entry(migration, "KEYCLOAK_ADMIN_PASSWORD").verdict == "impossible"


# era, environments → key, (verdict of environments' key), the URL that counts
OTHER = "http://other.idp.svc:8080"
BESIDE = [
    ("E1b", {"KEYCLOAK_URL": OTHER}, OTHER, "the registration read environments"),
    ("E1b", {"KEYCLOAK_URL": ""}, BASE["KEYCLOAK_URL"], "an empty value counted as missing"),
    ("E2a", {"KEYCLOAK_URL": OTHER}, BASE["KEYCLOAK_URL"], "authbridge-config says it"),
    ("E2b", {"KEYCLOAK_URL": OTHER}, BASE["KEYCLOAK_URL"], "authbridge-config says it"),
]


@pytest.mark.parametrize(("era", "data", "expected", "why"), BESIDE)
def test_environments_beside_authbridge_config(era: str, data: dict[str, str], expected: str, why: str) -> None:
    """What the registration read counts, every key of both maps is told of, and a password left there is warned of (6.4)."""
    left = {**data, "KEYCLOAK_ADMIN_PASSWORD": "hunter2", "PRESETS": "[]"}
    migration = migrated([*era_objects(era, config=BASE), legacy.config_map("lab1", "environments", **left)], era)
    assert value(migration, f"{KEYCLOAK}.url") == expected, why
    told = {one.key: one.verdict for one in migration.report.entries if one.object.endswith("/environments")}
    assert told.keys() == left.keys()
    assert told["KEYCLOAK_ADMIN_PASSWORD"] == "impossible"
    assert "PlainCredential" in reasons(migration)
    assert "hunter2" not in str(migration.report)


@pytest.mark.parametrize(("era", "expected"), [("E2a", "acme"), ("E2b", None)])
def test_a_key_that_only_environments_has(era: str, expected: str | None) -> None:
    """The images up to alpha.9 read it there; later nobody did."""
    config = {key: found for key, found in BASE.items() if key != "KEYCLOAK_REALM"}
    left = legacy.config_map("lab1", "environments", KEYCLOAK_REALM="acme")
    migration = migrated([*era_objects(era, config=config), left], era)
    assert value(migration, f"{KEYCLOAK}.realm") == expected


def test_a_namespace_that_was_not_read() -> None:
    """A dump of one namespace's objects has no Namespace: it is taken for an agent namespace, and that is said."""
    objects = [one for one in era_objects("E2b") if one["kind"] != "Namespace"]
    migration = migrated(objects, "E2b")
    assert chain.injected(migration.old, workload({"kagenti.io/type": "agent"}).pod)
    assert "Namespace lab1" in {one.objects[0] for one in migration.report.findings}


def test_an_object_that_names_no_namespace() -> None:
    """It is in default, as kubectl would have it."""
    nowhere = legacy.config_map("lab1", "authbridge-config", **BASE)
    del nowhere["metadata"]["namespace"]
    migration = migrated([nowhere], "E2b")
    assert [one["metadata"].get("namespace") for one in migration.manifests] == [None, "default"]


def test_every_row_of_the_table_is_a_sentence() -> None:
    """A key that is carried says where; one that is not says why."""
    for file, rows in keys.KEYS.items():
        for name, row in rows.items():
            assert row.to or row.why, (file, name)
            assert not row.to or row.verdict in ("carried", "derived"), (file, name)
