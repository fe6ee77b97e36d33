"""Spec 01, "credentials stay with their issuer", each rule tried as an attack by a tenant on pods of its own.

An object that attacks is stored first, and what is asserted is what becomes of the pod: the validating webhook only warns.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.admission.effects import admitted, denied, env, eventually, stored
from tests.e2e.admission.manifests import config, pod, runtime
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed

JSON = Any  # a Kubernetes object as received
Install = Callable[..., Installed]
Team = Callable[..., str]
ClusterConfig = Callable[[JSON], None]

EVIL = "http://evil.example:8080"
SECRET = "identity.clientRegistration.keycloak.adminCredentialsSecret"
REGISTRATION = "kagenti-client-registration"
PASSWORD = "KEYCLOAK_ADMIN_PASSWORD"


def _keycloak(**fields: JSON) -> JSON:
    return {"identity": {"clientRegistration": {"keycloak": fields}}}


def _outbound(**fields: JSON) -> JSON:
    return {"identity": {"outbound": fields}}


def _rule(**fields: JSON) -> JSON:
    return _outbound(tokenExchange={"destinationRules": [{"match": {"host": "a.example"}, **fields}]})


def _weather(namespace: str, **spec: JSON) -> JSON:
    return runtime(namespace, "weather", kind="Pod", target="weather", **spec)


def test_moving_the_server_without_a_credential(install: Install, api: ApiClient, team: Team) -> None:
    """An AgentRuntime that redirects keycloak.url and names no Secret: its pods are denied."""
    install(mode="both")
    namespace = team()
    stored(api, _weather(namespace, **_keycloak(url=EVIL)))
    denied(api, pod(namespace, "weather"), "ConfigInvalid", SECRET, f"AgentRuntime {namespace}/weather")


@pytest.mark.parametrize("name", ["keycloak-admin-secret", "team-admin"])
def test_moving_the_server_with_a_name_of_the_layers_above(
    name: str, install: Install, api: ApiClient, team: Team
) -> None:
    """The built-in Secret's name, or that of the namespace's config, is not the AgentRuntime's own."""
    install(mode="both")
    namespace = team()
    stored(api, config(namespace, **_keycloak(adminCredentialsSecret="team-admin")))
    stored(api, _weather(namespace, **_keycloak(url=EVIL, adminCredentialsSecret=name)))
    denied(api, pod(namespace, "weather"), "ConfigInvalid", SECRET)


def test_moving_the_server_with_a_secret_of_its_own(install: Install, api: ApiClient, team: Team) -> None:
    """What is allowed: the tenant's own credential goes to the tenant's own server."""
    install(mode="both")
    namespace = team()
    stored(api, _weather(namespace, **_keycloak(url=EVIL, adminCredentialsSecret="mine")))
    answer = eventually(
        api,
        pod(namespace, "weather"),
        lambda found: found.ok and env(found, REGISTRATION, PASSWORD) == "mine",
        "not so",
    )
    assert env(answer, REGISTRATION, "KEYCLOAK_URL") == EVIL


def test_a_locked_secret_does_not_follow_the_tenants_server(
    install: Install, api: ApiClient, team: Team, cluster_config: ClusterConfig
) -> None:
    """The lock makes the tenant's Secret name ineffective: the platform's must not go to the tenant's server instead."""
    install(mode="both")
    namespace = team()
    stored(api, _weather(namespace, **_keycloak(url=EVIL, adminCredentialsSecret="mine")))
    admitted(api, pod(namespace, "weather"))
    cluster_config({**_keycloak(adminCredentialsSecret="platform-admin"), "policy": {"locked": [SECRET]}})
    denied(api, pod(namespace, "weather"), "ConfigInvalid", SECRET)


def test_static_credentials_do_not_follow_either(
    install: Install, api: ApiClient, team: Team, cluster_config: ClusterConfig
) -> None:
    """The same for credentialsSecret that a layer above names."""
    install(mode="both")
    namespace = team()
    above = {"clientRegistration": {"credentialsSecret": "static"}, "inbound": {"validation": {"audience": "x"}}}
    cluster_config({"identity": above})
    stored(api, _weather(namespace, **_keycloak(url=EVIL, adminCredentialsSecret="mine")))
    denied(api, pod(namespace, "weather"), "ConfigInvalid", "identity.clientRegistration.credentialsSecret")


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        (
            _outbound(tokenExchange={"tokenUrl": "http://evil.example/token"}),
            "identity.outbound.tokenExchange.tokenUrl",
        ),
        (_rule(target={"audience": "a", "tokenUrl": "http://evil.example/token"}), "[a.example].target.tokenUrl"),
    ],
)
def test_a_token_url_off_the_issuers_server(
    settings: JSON, path: str, install: Install, api: ApiClient, team: Team
) -> None:
    """For all destinations, or in one rule: neither may leave the server of keycloak.url."""
    install(mode="both")
    namespace = team()
    stored(api, _weather(namespace, **settings))
    denied(api, pod(namespace, "weather"), "ConfigInvalid", path, "evil.example")


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        (_keycloak(url=EVIL, adminCredentialsSecret="mine"), "identity.clientRegistration.keycloak.url"),
        (_keycloak(realm="evil"), "identity.inbound.validation.issuer"),
        ({"identity": {"inbound": {"validation": {"issuer": EVIL}}}}, "identity.inbound.validation.issuer"),
        ({"identity": {"inbound": {"validation": {"jwksUrl": EVIL}}}}, "identity.inbound.validation.jwksUrl"),
        (
            {"identity": {"inbound": {"validation": {"jwksUrl": "https://idp.example/realms/prod/%2e%2e/evil"}}}},
            "identity.inbound.validation.jwksUrl",
        ),
        (_outbound(tokenExchange={"tokenUrl": f"{EVIL}/t"}), "identity.outbound.tokenExchange.tokenUrl"),
    ],
)
@pytest.mark.parametrize("layer", ["namespace", "workload"])
def test_an_identity_provider_that_is_not_listed(
    settings: JSON, path: str, layer: str, install: Install, api: ApiClient, team: Team, cluster_config: ClusterConfig
) -> None:
    """Whatever is set or follows from what is set: another server, another realm, an encoded way out of the realm."""
    install(mode="both")
    namespace = team()
    platform = _keycloak(url="https://idp.example", realm="prod", adminCredentialsSecret="platform-admin")
    cluster_config({**platform, "policy": {"identityProviders": ["https://idp.example/realms/prod"]}})
    admitted(api, pod(namespace, "weather", label="enabled"))
    stored(api, config(namespace, **settings) if layer == "namespace" else _weather(namespace, **settings))
    denied(api, pod(namespace, "weather", label="enabled"), "ConfigInvalid", path, "policy.identityProviders")


def test_a_locked_issuer_does_not_follow_the_realm(
    install: Install, api: ApiClient, team: Team, cluster_config: ClusterConfig
) -> None:
    """A lock pins a value that is only derived, too."""
    install(mode="both")
    namespace = team()
    stored(api, _weather(namespace, **_keycloak(realm="evil")))
    bridge = {"injection": {"tokenExchange": "AuthBridge"}, **_keycloak(url="https://idp.example", realm="prod")}
    cluster_config(bridge)
    follows = "https://idp.example/realms/evil"
    eventually(
        api, pod(namespace, "weather"), lambda found: env(found, "envoy-proxy", "ISSUER") == follows, "no effect"
    )
    cluster_config({**bridge, "policy": {"locked": ["identity.inbound.validation.issuer"]}})
    pinned = "https://idp.example/realms/prod"
    eventually(
        api, pod(namespace, "weather"), lambda found: env(found, "envoy-proxy", "ISSUER") == pinned, "it follows"
    )


def test_passthrough_under_a_locked_default_policy(
    install: Install, api: ApiClient, team: Team, cluster_config: ClusterConfig
) -> None:
    """A rule cannot open what the locked policy closes."""
    install(mode="both")
    namespace = team()
    stored(api, _weather(namespace, **_rule(action="Passthrough")))
    admitted(api, pod(namespace, "weather"))
    cluster_config({**_outbound(defaultPolicy="Deny"), "policy": {"locked": ["identity.outbound.defaultPolicy"]}})
    denied(api, pod(namespace, "weather"), "ConfigInvalid", "[a.example]", "defaultPolicy")


@pytest.mark.parametrize(("template", "suffix"), [("team-a/weather", "/team-a/weather"), ("{{.Namespace}}/x", "/x")])
def test_a_client_name_of_another_team(
    template: str, suffix: str, install: Install, api: ApiClient, team: Team
) -> None:
    """A name from below the cluster layer stays under its namespace: it would name another team's client and scope."""
    install(mode="both")
    namespace = team()
    stored(api, _weather(namespace, **_keycloak(clientNameTemplate=template)))
    name = f"{namespace}{suffix}"
    eventually(api, pod(namespace, "weather"), lambda found: env(found, REGISTRATION, "CLIENT_NAME") == name, "not so")
