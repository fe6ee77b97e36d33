"""Credentials stay with their issuer (spec 01): which layer may send what to which server, rule by rule."""

# ruff: noqa: E501  # a table reads by line
from typing import Final

import pytest

from kagenti.core.settings import Layer, resolve
from kagenti.core.settings.identity_provider import lies_under, origin_of
from kagenti_api.v1alpha1.built_in import BUILT_IN
from tests.unit.core.settings.given import (
    ADMIN_SECRET,
    AUDIENCE,
    CREDENTIALS_SECRET,
    ISSUER,
    JWKS_URL,
    KEYCLOAK,
    REALM,
    RULES,
    TOKEN_URL,
    URL,
    cluster,
    namespace,
    rule,
    workload,
)

EVIL: Final = "http://evil.example"
PLATFORM: Final = {ADMIN_SECRET: "platform-admin"}
STATIC: Final = {ADMIN_SECRET: "platform-admin", CREDENTIALS_SECRET: "static", AUDIENCE: "x"}
MOVED: Final = {URL: EVIL, ADMIN_SECRET: "mine"}
BUILT_IN_SECRET: Final = BUILT_IN["identity"]["clientRegistration"]["keycloak"]["adminCredentialsSecret"]


def faulty(layers: tuple[Layer | None, Layer | None, Layer | None]) -> list[str]:
    """The paths at fault of what these layers resolve to."""
    return [fault.path for fault in resolve(*layers).errors]


@pytest.mark.parametrize(
    ("reason", "layers", "paths"),
    [
        ("the cluster moves: nobody above it has a credential", (cluster({URL: EVIL}), None, None), []),
        ("an AgentRuntime moves with its own Secret", (cluster(PLATFORM), None, workload(MOVED)), []),
        ("a namespace moves with its own Secret", (cluster(PLATFORM), namespace(MOVED), None), []),
        ("a namespace names the cluster's Secret, which lies in its own namespace", (cluster(PLATFORM), namespace({URL: EVIL, **PLATFORM}), None), []),
        ("an AgentRuntime moves and names nothing", (None, None, workload({URL: EVIL})), [ADMIN_SECRET]),
        ("a namespace moves and names nothing", (None, namespace({URL: EVIL}), None), [ADMIN_SECRET]),
        ("an AgentRuntime names the built-in Secret", (None, None, workload({URL: EVIL, ADMIN_SECRET: BUILT_IN_SECRET})), [ADMIN_SECRET]),
        ("an AgentRuntime names the cluster's Secret", (cluster(PLATFORM), None, workload({URL: EVIL, **PLATFORM})), [ADMIN_SECRET]),
        ("an AgentRuntime names the namespace's Secret", (None, namespace(PLATFORM), workload({URL: EVIL, **PLATFORM})), [ADMIN_SECRET]),
        ("the same server again is a move too", (cluster({URL: EVIL}), None, workload({URL: EVIL})), [ADMIN_SECRET]),
        ("static credentials of the cluster must be replaced", (cluster(STATIC), None, workload(MOVED)), [CREDENTIALS_SECRET]),
        ("static credentials of the cluster, under a namespace", (cluster(STATIC), namespace(MOVED), None), [CREDENTIALS_SECRET]),
        ("static credentials replaced", (cluster(STATIC), None, workload({**MOVED, CREDENTIALS_SECRET: "own"})), []),
        ("static credentials replaced by a namespace", (cluster(STATIC), namespace({**MOVED, CREDENTIALS_SECRET: "own"}), None), []),
        ("names crossed over the two references", (cluster(STATIC), None, workload({URL: EVIL, ADMIN_SECRET: "static", CREDENTIALS_SECRET: "platform-admin"})), [ADMIN_SECRET, CREDENTIALS_SECRET]),
        ("a name of the cluster's hidden by the namespace's", (cluster(PLATFORM), namespace({ADMIN_SECRET: "team"}), workload({URL: EVIL, **PLATFORM})), [ADMIN_SECRET]),
        ("a namespace moves, an AgentRuntime takes the cluster's Secret there", (cluster(PLATFORM), namespace(MOVED), workload(PLATFORM)), [ADMIN_SECRET]),
        ("a namespace moves, an AgentRuntime has a Secret of its own", (cluster(PLATFORM), namespace(MOVED), workload({ADMIN_SECRET: "own"})), []),
        ("a namespace moves, an AgentRuntime repeats its Secret", (cluster(PLATFORM), namespace(MOVED), workload({ADMIN_SECRET: "mine"})), []),
        ("an AgentRuntime moves, its static credentials are the built-in Secret", (None, None, workload({**MOVED, CREDENTIALS_SECRET: BUILT_IN_SECRET, AUDIENCE: "x"})), [CREDENTIALS_SECRET]),
        ("an AgentRuntime moves, its static credentials are the cluster's other Secret", (cluster(PLATFORM), None, workload({**MOVED, CREDENTIALS_SECRET: "platform-admin", AUDIENCE: "x"})), [CREDENTIALS_SECRET]),
        ("a namespace moves, an AgentRuntime takes the cluster's other Secret there", (cluster(PLATFORM), namespace(MOVED), workload({CREDENTIALS_SECRET: "platform-admin", AUDIENCE: "x"})), [CREDENTIALS_SECRET]),
        ("a namespace moves, an AgentRuntime has static credentials of its own", (cluster(PLATFORM), namespace(MOVED), workload({CREDENTIALS_SECRET: "own", AUDIENCE: "x"})), []),
        ("a namespace moves without a Secret: a workload's own does not mend that", (cluster(PLATFORM), namespace({URL: EVIL}), workload({ADMIN_SECRET: "own"})), [ADMIN_SECRET]),
    ],
)  # fmt: skip
def test_who_moves_the_server_brings_the_credentials(
    reason: str, layers: tuple[Layer | None, Layer | None, Layer | None], paths: list[str]
) -> None:
    """Every credential that the result would use, named at the same layer; in an AgentRuntime by a name of its own."""
    assert faulty(layers) == paths, reason


@pytest.mark.parametrize(
    ("reason", "layers"),
    [
        ("the Secret is locked by the cluster, an AgentRuntime moves", (cluster(PLATFORM, locked=[ADMIN_SECRET]), None, workload(MOVED))),
        ("the Secret is locked by the cluster, a namespace moves", (cluster(PLATFORM, locked=[ADMIN_SECRET]), namespace(MOVED), None)),
        ("the Secret is locked by the namespace", (None, namespace(PLATFORM, locked=[ADMIN_SECRET]), workload(MOVED))),
        ("the built-in Secret is locked", (cluster(locked=[ADMIN_SECRET]), None, workload(MOVED))),
    ],
)  # fmt: skip
def test_a_secret_name_without_effect_is_not_ones_own(
    reason: str, layers: tuple[Layer | None, Layer | None, Layer | None]
) -> None:
    """A lock that makes the mover's own name ineffective must not make the platform's Secret travel."""
    assert faulty(layers) == [ADMIN_SECRET], reason


def test_static_credentials_without_effect_are_not_ones_own() -> None:
    """The same for credentialsSecret, whoever moves."""
    locked = cluster(STATIC, locked=[CREDENTIALS_SECRET])
    own = {**MOVED, CREDENTIALS_SECRET: "own"}
    assert faulty((locked, None, workload(own))) == [CREDENTIALS_SECRET]
    assert faulty((locked, namespace(own), None)) == [CREDENTIALS_SECRET]


def test_a_locked_url_moves_nothing() -> None:
    """The value has no effect, so nothing is redirected and nothing is at fault."""
    resolved = resolve(cluster(PLATFORM, locked=[URL]), None, workload({URL: EVIL}))
    assert (resolved.errors, [found.reason for found in resolved.findings]) == ((), ["LockViolation"])


@pytest.mark.parametrize(
    ("reason", "layers", "paths"),
    [
        ("on another server", (None, None, workload({TOKEN_URL: f"{EVIL}/token"})), [TOKEN_URL]),
        ("a namespace's on another server", (None, namespace({TOKEN_URL: f"{EVIL}/token"}), None), [TOKEN_URL]),
        ("the cluster may", (cluster({TOKEN_URL: f"{EVIL}/token"}), None, None), []),
        ("another port is another server", (cluster({URL: "https://idp.example"}), None, workload({TOKEN_URL: "https://idp.example:8443/t"})), [TOKEN_URL]),
        ("another scheme is another server", (cluster({URL: "https://idp.example"}), None, workload({TOKEN_URL: "http://idp.example/t"})), [TOKEN_URL]),
        ("the default port is the same server", (cluster({URL: "https://idp.example"}), None, workload({TOKEN_URL: "https://idp.example:443/t"})), []),
        ("a rule's on another server", (None, None, workload({RULES: [rule("a.example", target={"audience": "a", "tokenUrl": f"{EVIL}/t"})]})), [f"{RULES}[a.example].target.tokenUrl"]),
        ("a rule's of the cluster", (cluster({RULES: [rule("a.example", target={"audience": "a", "tokenUrl": f"{EVIL}/t"})]}), None, None), []),
        ("the namespace's no longer fits the AgentRuntime's server", (None, namespace({TOKEN_URL: "http://keycloak.kagenti-system.svc:8080/t"}), workload(MOVED)), [TOKEN_URL]),
        ("listed by the cluster", (cluster(identityProviders=["https://other.example"]), None, workload({TOKEN_URL: "https://other.example/t"})), []),
        ("unreadable", (None, None, workload({TOKEN_URL: "http://[1]"})), [TOKEN_URL]),
    ],
)  # fmt: skip
def test_token_urls_stay_on_the_server(
    reason: str, layers: tuple[Layer | None, Layer | None, Layer | None], paths: list[str]
) -> None:
    """Any tokenUrl has the origin of keycloak.url unless the cluster set it or lists it."""
    assert faulty(layers) == paths, reason


IDP: Final = "https://idp.example"
PROD: Final = f"{IDP}/realms/prod"


@pytest.mark.parametrize(
    ("reason", "listed", "below", "paths"),
    [
        ("under the list", IDP, {URL: f"{IDP}/base", ADMIN_SECRET: "mine"}, []),
        ("another server", IDP, MOVED, [URL]),
        ("issuer elsewhere", IDP, {ISSUER: f"{EVIL}/r"}, [ISSUER]),
        ("keys elsewhere", IDP, {JWKS_URL: f"{EVIL}/r"}, [JWKS_URL]),
        ("tokens elsewhere", IDP, {TOKEN_URL: f"{EVIL}/r"}, [TOKEN_URL]),
        ("a rule's tokens elsewhere", IDP, {RULES: [rule("a.example", target={"audience": "a", "tokenUrl": EVIL})]}, [f"{RULES}[a.example].target.tokenUrl"]),
        ("the listed realm", PROD, {REALM: "prod"}, []),
        ("another realm: what is derived from it leaves the list", PROD, {REALM: "evil"}, [ISSUER, JWKS_URL, TOKEN_URL]),
        ("another realm, but the server is listed", IDP, {REALM: "team"}, []),
        ("nothing changed", PROD, {}, []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("make", [namespace, workload])
def test_only_listed_identity_providers(
    reason: str, listed: str, below: dict[str, object], paths: list[str], make: type
) -> None:
    """Where policy.identityProviders is set, lower layers stay under it; derived URLs too."""
    top = cluster({URL: IDP, REALM: "prod"}, identityProviders=[listed])
    lower = make(below)
    layers = (top, lower, None) if make is namespace else (top, None, lower)
    assert faulty(layers) == paths, reason


def test_the_clusters_own_urls_need_no_listing() -> None:
    """The list binds the layers below."""
    assert resolve(cluster({URL: EVIL}, identityProviders=[IDP]), None, None).errors == ()


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://a.example", ("http", "a.example", 80)),
        ("https://A.Example:443/x?y", ("https", "a.example", 443)),
        ("http://[::1]:8080/", ("http", "::1", 8080)),
        ("http://a.example:8081", ("http", "a.example", 8081)),
        ("http://[", None),
        ("http://[x]/", None),
        ("http://]a", None),
        ("http://a:b:c", None),
        ("http://a:99999", None),
        ("http://:80", None),
        ("", None),
    ],
)
def test_origin_of(url: str, origin: tuple[str, str, int] | None) -> None:
    """Scheme, host, port (RFC 6454 section 4); None for what is no URL, and never an exception."""
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("url", "expected", "reason"),
    [
        (PROD, True, "itself"),
        (f"{PROD}/", True, "a trailing slash"),
        (f"{PROD}/protocol/certs", True, "below it"),
        ("https://IDP.example:443/realms/prod/x", True, "host in capitals, port spelled out"),
        (f"{PROD}?a=/../..", True, "the query is no path"),
        (f"{IDP}/realms/production", False, "segments, not characters"),
        (f"{IDP}/realms", False, "above it"),
        ("http://idp.example/realms/prod", False, "another scheme"),
        ("https://idp.example.evil/realms/prod", False, "another host"),
        ("https://idp.example:8443/realms/prod", False, "another port"),
        (f"{PROD}/../evil", False, "dot segments"),
        (f"{PROD}/./x", False, "a single dot"),
        (f"{PROD}/%2e%2e/evil", False, "encoded dots"),
        (f"{PROD}/.%2E/evil", False, "half encoded"),
        (f"{PROD}/..;/evil", False, "dots with a path parameter"),
        (f"{PROD}/..;a=b/evil", False, "dots with a path parameter's value"),
        (f"{PROD}/..%2fevil", False, "an encoded slash"),
        (f"{IDP}//realms/prod", False, "an empty segment"),
        (f"{IDP}/realms/prod//x", False, "an empty segment below"),
        ("https://[", False, "no URL"),
    ],
)
def test_lies_under(url: str, expected: bool, reason: str) -> None:
    """A prefix by scheme, host, port and whole path segments, in plain spelling only."""
    assert lies_under(url, PROD) is expected, reason


def test_nothing_lies_under_what_is_no_url() -> None:
    """An unreadable prefix lists nothing, not even itself."""
    assert not lies_under("http://[", "http://[")


def test_a_fault_names_the_objects_and_what_to_do() -> None:
    """Which object, which field, why, and whom to mend."""
    (fault,) = resolve(cluster(PLATFORM), None, workload({URL: EVIL})).errors
    assert fault.reason == "ConfigInvalid"
    assert fault.objects == ("AgentRuntime team1/weather",)
    assert f"{KEYCLOAK}.url" in fault.message
    assert "mend AgentRuntime team1/weather" in fault.message
