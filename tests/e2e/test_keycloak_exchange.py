"""Token exchange in the real Envoy against the real Keycloak, and the same table against the small server.

Rows and providers stand in ``tests/e2e/keycloak``. Keycloak is started once; next to it runs an API server that is the
issuer of its own service-account tokens.
"""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from kagenti.core.envoy import exchange_script
from tests.e2e.keycloak import distribution
from tests.e2e.keycloak.admin import Admin, token_request
from tests.e2e.keycloak.java import Unavailable
from tests.e2e.keycloak.providers import PLATFORM, STRANGER, KeycloakProvider, Provider, SmallProvider
from tests.e2e.keycloak.server import Keycloak
from tests.e2e.keycloak.stage import IDP_TOKEN, Inbound, Outbound, Refresh, exchanging
from tests.e2e.keycloak.table import ABSENT, GIVEN, TABLE, TOOL, WEATHER, Row, Told
from tests.e2e.plane.control_plane import ControlPlane
from tests.oidc import ACCESS_TOKEN, EXCHANGE
from tests.unit.core.settings.given import rule

JSON = Any  # claims, settings, a rule

ROOT: Final = Path(__file__).resolve().parents[2]
ACCOUNT, NAMED, MENDED = "weather", "named", "mended"
IDP: Final = "cluster"
UNNAMED, TWOFOLD = "team1/unnamed", "team1/twofold"
FEDERATED: Final = {"identity__clientRegistration__authType": "federated-jwt"}


# --- the servers -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def keycloak_distribution() -> distribution.Distribution:
    """Keycloak and a Java for it; where there is none and none may be installed, the tests say so."""
    try:
        return distribution.find()
    except Unavailable as reason:
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(f"no Keycloak, although CI runs as root: {reason}")
        pytest.skip(f"no Keycloak: {reason}")


@pytest.fixture(scope="session")
def issuing_plane(keycloak_distribution: distribution.Distribution) -> Iterator[ControlPlane]:
    """An API server that Keycloak can ask for its keys, as RBAC then has to allow; accounts with a pod each."""
    with ControlPlane(own_issuer=True, controllers=False) as plane:
        role = "--clusterrole=system:service-account-issuer-discovery"
        plane.kubectl("create", "clusterrolebinding", "issuer", role, "--group=system:unauthenticated")
        plane.kubectl("create", "namespace", "team1")
        for account in (ACCOUNT, NAMED, MENDED):
            plane.kubectl("create", "serviceaccount", account, "-n", "team1")
            plane.kubectl("create", "-f", "-", stdin=json.dumps(_pod(account)))
        yield plane


def subject_of(account: str) -> str:
    return f"system:serviceaccount:team1:{account}"


def _pod(account: str) -> JSON:
    spec = {"serviceAccountName": account, "containers": [{"name": "app", "image": "example/app:1"}]}
    metadata = {"name": account, "namespace": "team1"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="session")
def admin(keycloak_distribution: distribution.Distribution, issuing_plane: ControlPlane) -> Iterator[Admin]:
    """The administrator of a running Keycloak."""
    with Keycloak(keycloak_distribution, truststore=issuing_plane.ca_file) as server:
        print(f"keycloak: ready in {server.seconds:.0f} s")
        yield Admin(server.url, server.administrator, server.password)


@pytest.fixture(scope="module")
def keycloak(admin: Admin) -> KeycloakProvider:
    """The realm of the table."""
    realm = KeycloakProvider(admin)
    realm.prepare()
    return realm


@pytest.fixture(scope="module")
def small() -> Iterator[SmallProvider]:
    """The small server with the table's clients."""
    with SmallProvider() as server:
        yield server


def _rules() -> list[JSON]:
    """A host for each row, so that one Envoy has them all at once."""
    return [rule(host(row), target={"audience": row.audience, "scopes": list(row.scopes)}) for row in TABLE]


def host(row: Row) -> str:
    return f"case-{TABLE.index(row)}.team1.svc"


@pytest.fixture(scope="module")
def before_keycloak(tmp_path_factory: pytest.TempPathFactory, keycloak: KeycloakProvider) -> Iterator[Outbound]:
    """An Envoy with the rules of all rows before Keycloak."""
    with exchanging(tmp_path_factory.mktemp("keycloak"), keycloak) as stage:
        stage.apply(*_rules())
        yield stage


@pytest.fixture(scope="module")
def before_small(tmp_path_factory: pytest.TempPathFactory, small: SmallProvider) -> Iterator[Outbound]:
    """The same before the small server."""
    with exchanging(tmp_path_factory.mktemp("small"), small) as stage:
        stage.apply(*_rules())
        yield stage


# --- the table ---------------------------------------------------------------------------------------------------------


def claims(token: str) -> JSON:
    """Returns the claims of a token, unverified."""
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def audiences(token: str) -> list[str]:
    """Returns ``aud`` as a list; empty where there is none."""
    found = claims(token).get("aud", [])
    return found if isinstance(found, list) else [found]


def asks(provider: Provider, row: Row, **changed: str | None) -> tuple[Told, str]:
    """Asks a token endpoint as Envoy would; returns what it told, and the token; None leaves a field out."""
    client, secret = provider.credentials(row.requester)
    form = {
        "grant_type": EXCHANGE,
        "client_id": client,
        "client_secret": row.secret or secret,
        "subject_token": provider.subject(row.subject),
        "subject_token_type": ACCESS_TOKEN,
        "requested_token_type": ACCESS_TOKEN,
        "audience": row.audience,
        "scope": " ".join(row.scopes) or None,
    } | changed
    answer = token_request(provider.token_url, {key: value for key, value in form.items() if value is not None})
    told = Told(answer.status, answer.body.get("error", ""), answer.body.get("error_description", ""))
    return told, answer.body.get("access_token", "")


def check_told(row: Row, told: Told, token: str) -> None:
    """A token is the caller's, for the audience, by the requester; anything else is an error."""
    if told.status == 200:
        found = claims(token)
        assert (audiences(token), found["azp"]) == ([row.audience], row.requester)
        assert set(row.scopes) <= set(found["scope"].split())


ROWS: Final = pytest.mark.parametrize("row", TABLE, ids=[row.case for row in TABLE])
SMALL_ROWS: Final = [row for row in TABLE if row.small is not ABSENT]


@ROWS
def test_keycloak_tells_what_the_table_says(row: Row, keycloak: KeycloakProvider) -> None:
    """Status, error code and description, word for word."""
    told, token = asks(keycloak, row)
    expected = row.told
    assert (told.status, told.error) == (expected.status, expected.error), told
    assert told.description == expected.description or not expected.description
    check_told(row, told, token)


@pytest.mark.parametrize("row", SMALL_ROWS, ids=[row.case for row in SMALL_ROWS])
def test_the_small_server_tells_the_same_where_it_knows_the_case(row: Row, small: SmallProvider) -> None:
    """Status and error code; a proxy reads no more."""
    told, token = asks(small, row)
    assert (told.status, told.error) == (row.small_told.status, row.small_told.error), told
    check_told(row, told, token)


def through_envoy(stage: Outbound, row: Row) -> None:
    """The app gets the row's answer; with a 200 the target got a token of its own audience, never the caller's."""
    client, secret = stage.oidc.credentials(row.requester)
    stage.register(client_id=client, secret=row.secret or secret)
    subject = stage.oidc.subject(row.subject)
    answer = stage.get(stage.to(host(row)), subject)
    assert (answer.status, row.reason in answer.text) == (row.status, True), answer.text
    if row.status == 200:
        assert answer.token != subject
        assert audiences(answer.token) == [row.audience]


@ROWS
def test_the_app_gets_the_tables_answer_through_envoy_before_keycloak(row: Row, before_keycloak: Outbound) -> None:
    """The reasons are those of our exchange, whatever the provider said."""
    through_envoy(before_keycloak, row)


@pytest.mark.parametrize("row", SMALL_ROWS, ids=[row.case for row in SMALL_ROWS])
def test_the_app_gets_the_same_before_the_small_server(row: Row, before_small: Outbound) -> None:
    """No difference between the two servers reaches the app."""
    through_envoy(before_small, row)


def test_each_difference_is_written_down() -> None:
    """The page names every case in which the small server is not Keycloak."""
    page = (ROOT / "docs" / "identity-providers.md").read_text()
    assert [row.case for row in TABLE if row.small is not None and row.case not in page] == []


# --- tokens without the audience ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["keycloak", "small"])
def test_scopes_alone_decide_the_audience(name: str, request: pytest.FixtureRequest) -> None:
    """``audience`` filters only: with the scope it may be left out; with neither there is a token without ``aud``."""
    provider = request.getfixturevalue(name)
    neither, by_scope = TABLE[0], TABLE[1]
    told, token = asks(provider, by_scope, audience=None)
    assert (told.status, audiences(token)) == (200, [TOOL])
    told, token = asks(provider, neither, audience=None)
    assert (told.status, audiences(token)) == (200, [])


@pytest.mark.parametrize("name", ["keycloak", "small"])
def test_a_token_without_the_audience_is_never_sent_on(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Keycloak's 200 without any ``aud``: refused by us. The script here forgets to ask for the audience."""
    line = '{"audience", rule.audience},'
    assert line in exchange_script.SCRIPT
    provider = request.getfixturevalue(name)
    with exchanging(tmp_path, provider, script=exchange_script.SCRIPT.replace(line, "")) as stage:
        stage.apply(*_rules())
        client, secret = provider.credentials(WEATHER)
        stage.register(client_id=client, secret=secret)
        answer = stage.get(stage.to(host(TABLE[0])), provider.subject("alice"))
        assert (answer.status, "AudienceMissing" in answer.text) == (502, True), answer.text
        assert stage.get(stage.to(host(TABLE[1])), provider.subject("alice")).status == 200


OWN: Final = [((), "keycloak", 502, "AudienceMissing"), (("aud-tool",), "keycloak", 200, "")]
OWN += [((), "small", 403, "ExchangeRefused"), (("aud-tool",), "small", 200, "")]


@pytest.mark.parametrize(("scopes", "name", "status", "reason"), OWN)
def test_the_workloads_own_token_needs_the_scope_too(
    scopes: tuple[str, ...], name: str, status: int, reason: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """client_credentials: Keycloak takes no notice of ``audience`` there, the small server does."""
    provider = request.getfixturevalue(name)
    with exchanging(tmp_path, provider) as stage:
        target = {"audience": TOOL, "scopes": list(scopes)}
        stage.apply(rule("own.team1.svc", target=target, onMissingToken="ClientCredentials"))
        client, secret = provider.credentials(WEATHER)
        stage.register(client_id=client, secret=secret)
        answer = stage.get(stage.to("own.team1.svc"))
        assert (answer.status, reason in answer.text) == (status, True), answer.text


# --- what the sidecar's registration makes of a realm ------------------------------------------------------------------


def test_a_target_is_in_reach_of_those_who_registered_after_it(keycloak: KeycloakProvider) -> None:
    """The sidecar makes a target's audience scope a default of the realm: later clients have it, earlier ones do not."""
    target, scope = "team1/target", "agent-team1-target-aud"
    early, late = (
        Row("", GIVEN, 200, requester=f"team1/{name}", audience=target, scopes=()) for name in ("early", "late")
    )
    for client in (early.requester, target, late.requester):
        keycloak.enrol(client)
    assert asks(keycloak, late)[0] == GIVEN
    assert asks(keycloak, early)[0] == Told(400, "invalid_request", f"Requested audience not available: {target}")
    keycloak.give_scope(early.requester, scope)
    assert asks(keycloak, early, scope=scope)[0] == GIVEN


# --- no client secret at all -------------------------------------------------------------------------------------------


def projected(plane: ControlPlane, audience: str, account: str) -> str:
    """Returns a token as the kubelet projects it: for one hour, one audience, bound to the pod."""
    bound = ("--bound-object-kind=Pod", f"--bound-object-name={account}", "--duration=3600s")
    return plane.kubectl("create", "token", account, "-n", "team1", f"--audience={audience}", *bound).strip()


@pytest.fixture(scope="module")
def before_federated(
    tmp_path_factory: pytest.TempPathFactory, keycloak: KeycloakProvider, issuing_plane: ControlPlane
) -> Iterator[Outbound]:
    """An Envoy before a realm that believes the API server, with a client by secret, and two as the sidecar makes them."""
    keycloak.trust_cluster(IDP, issuing_plane.issuer)
    keycloak.enrol(TWOFOLD, "aud-tool")
    for client in (subject_of(NAMED), UNNAMED):
        keycloak.enrol(client, "aud-tool", idp=IDP)
    with exchanging(tmp_path_factory.mktemp("federated"), keycloak) as stage:
        yield stage


def call(stage: Outbound, **values: JSON) -> tuple[int, str]:
    """Sends a caller's request with these settings; returns the status, and what was wrong."""
    target = {"audience": TOOL, "scopes": ["aud-tool"]}
    stage.apply(rule("tool.team1.svc", target=target), **values)
    answer = stage.get(stage.to("tool.team1.svc"), stage.oidc.subject("alice"))
    assert answer.status != 200 or audiences(answer.token) == [TOOL]
    return answer.status, "" if answer.status == 200 else answer.text.split(": ")[2]


def test_one_client_authenticates_by_secret_and_then_by_its_service_account(
    before_federated: Outbound, keycloak: KeycloakProvider, issuing_plane: ControlPlane
) -> None:
    """The same client, scopes and rule; afterwards there is no secret in the pod, and the old one opens nothing."""
    stage, (client, secret) = before_federated, keycloak.credentials(TWOFOLD)
    stage.register(client_id=client, secret=secret)
    assert call(stage) == (200, "")

    attributes = {"jwt.credential.issuer": IDP, "jwt.credential.sub": subject_of(ACCOUNT)}
    keycloak.change(TWOFOLD, clientAuthenticatorType="federated-jwt", attributes=attributes)
    assert call(stage) == (502, "ClientRefused")

    stage.register(client_id=client, secret=None)
    assert call(stage, **FEDERATED) == (503, "AssertionMissing")
    (stage.files / IDP_TOKEN).write_text(projected(issuing_plane, keycloak.issuer, ACCOUNT))
    assert call(stage, **FEDERATED) == (200, "")


ASSERTIONS: Final = [
    ("its own account", NAMED, "", (200, "")),
    ("another account", ACCOUNT, "", (502, "ClientRefused")),
    ("for the token endpoint", NAMED, "/protocol/openid-connect/token", (502, "ClientRefused")),
    ("for the issuer with a slash", NAMED, "/", (502, "ClientRefused")),
]


@pytest.mark.parametrize(("case", "account", "suffix", "expected"), ASSERTIONS, ids=[row[0] for row in ASSERTIONS])
def test_an_assertion_is_one_accounts_and_for_exactly_the_issuer(
    case: str,
    account: str,
    suffix: str,
    expected: tuple[int, str],
    before_federated: Outbound,
    keycloak: KeycloakProvider,
    issuing_plane: ControlPlane,
) -> None:
    """The sidecar's registration as it is suffices where the client id is the account's subject."""
    before_federated.register(client_id=subject_of(NAMED), secret=None)
    token = projected(issuing_plane, keycloak.issuer + suffix, account)
    (before_federated.files / IDP_TOKEN).write_text(token)
    assert call(before_federated, **FEDERATED) == expected, case


def test_the_sidecars_registration_fits_no_account_under_another_client_id(
    before_federated: Outbound, keycloak: KeycloakProvider, issuing_plane: ControlPlane
) -> None:
    """It makes the client id the expected ``sub``; an administrator has to mend that."""
    before_federated.register(client_id=UNNAMED, secret=None)
    (before_federated.files / IDP_TOKEN).write_text(projected(issuing_plane, keycloak.issuer, MENDED))
    assert call(before_federated, **FEDERATED) == (502, "ClientRefused")
    keycloak.change(UNNAMED, attributes={"jwt.credential.sub": subject_of(MENDED)})
    assert call(before_federated, **FEDERATED) == (200, "")


# --- inbound -----------------------------------------------------------------------------------------------------------


def inbound_values(realm: KeycloakProvider, **values: JSON) -> JSON:
    """Returns settings under which the workload takes tokens of a realm; ``a__b`` stands for ``a.b``."""
    keycloak = {"url": realm.url, "realm": realm.name}
    made = {f"identity.clientRegistration.keycloak.{key}": value for key, value in keycloak.items()}
    return made | {"identity.spiffe.enabled": False} | {key.replace("__", "."): value for key, value in values.items()}


def test_a_new_key_is_believed_after_the_next_poll_while_envoy_serves(admin: Admin, tmp_path: Path) -> None:
    """Keycloak signs with a new key at once; such tokens are refused until our next fetch, the older ones never."""
    realm = KeycloakProvider(admin, "rotating")
    realm.prepare((WEATHER,))
    with Inbound(tmp_path, inbound_values(realm)) as inbound, Refresh(realm.jwks_url, inbound) as keys:
        old = realm.log_in("alice")
        inbound.becomes(200, old)
        assert inbound.get(realm.log_in("alice", at=STRANGER)) == 403

        realm.add_key("second", priority=200)
        new = realm.log_in("alice")
        assert [inbound.get(token) for token in (old, new)] == [200, 401]
        keys.poll()
        inbound.becomes(200, new)
        assert inbound.get(old) == 200

        assert [exchanges(realm, token) for token in (old, new)] == [200, 200]
        realm.change_key("rsa-generated", enabled="false")
        assert [exchanges(realm, token) for token in (old, new)] == [400, 200]
        assert inbound.get(old) == 200
        keys.poll()
        inbound.becomes(401, old)
        assert inbound.get(new) == 200


def exchanges(realm: KeycloakProvider, token: str) -> int:
    """Returns what Keycloak answers to the exchange of this token."""
    return asks(realm, Row("", GIVEN, 200), subject_token=token)[0].status


def test_required_scopes_are_read_from_keycloaks_tokens(keycloak: KeycloakProvider, tmp_path: Path) -> None:
    """The claim ``scope`` is one text of words; each required one must be among them."""
    keycloak.add_scope("agent:invoke")
    keycloak.give_scope(PLATFORM, "agent:invoke")
    values = inbound_values(keycloak, identity__inbound__validation__requiredScopes=["agent:invoke"])
    with Inbound(tmp_path, values) as inbound, Refresh(keycloak.jwks_url, inbound):
        inbound.becomes(200, keycloak.log_in("alice", scope="agent:invoke"))
        assert inbound.get(keycloak.log_in("alice")) == 403
