"""RFC 8693 in a real Envoy, against a real provider: what the server gets, what the caller is told, what is cached."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.component.envoy.conftest import WEATHER, Stage
from tests.oidc import ACCESS_TOKEN, EXCHANGE, JWT_BEARER, JWT_SPIFFE, TOKEN_PATH, Answer
from tests.unit.core.settings.given import rule

JSON = Any  # a rule, claims

TOOL: Final = "tool.team1.svc"


def tool(**fields: JSON) -> JSON:
    """Returns the rule of these tests."""
    target = {"audience": "tool", "scopes": ["openid", "aud-tool"]}
    return rule(TOOL, **({"target": target} | fields))


@pytest.fixture(scope="module", autouse=True)
def _rules(stage: Stage) -> None:
    stage.apply(tool())


@pytest.fixture(autouse=True)
def _registered(stage: Stage) -> Iterator[None]:
    stage.register()
    stage.oidc.requests.clear()
    yield
    stage.register()


def claims(token: str) -> JSON:
    """Returns the claims of a token, unverified."""
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_the_server_gets_a_token_for_the_audience_in_place_of_the_callers(stage: Stage) -> None:
    """Subject, audience and scopes are asked for in one request; the answer replaces the caller's token."""
    token = stage.caller(sub="bob")
    answer = stage.get(stage.to(TOOL), token)
    assert answer.status == 200, answer.text
    assert answer.token != token
    found = claims(answer.token)
    assert (found["sub"], found["aud"], found["azp"], found["scope"]) == ("bob", "tool", WEATHER.id, "openid aud-tool")
    assert stage.oidc.token_requests()[-1].form == {
        "grant_type": EXCHANGE,
        "client_id": WEATHER.id,
        "client_secret": WEATHER.secret,
        "subject_token": token,
        "subject_token_type": ACCESS_TOKEN,
        "requested_token_type": ACCESS_TOKEN,
        "audience": "tool",
        "scope": "openid aud-tool",
    }


def test_a_token_is_exchanged_once_and_never_for_another_subject(stage: Stage) -> None:
    """The second request is answered from the cache; another caller's token is another exchange."""
    first, second = stage.caller(sub="ann"), stage.caller(sub="ben")
    tokens = [stage.get(stage.to(TOOL), token).token for token in (first, first, second, first)]
    assert [claims(token)["sub"] for token in tokens] == ["ann", "ann", "ben", "ann"]
    assert tokens[0] == tokens[1] == tokens[3]
    assert len(stage.oidc.token_requests()) == 2


LIFETIMES: Final = [
    (330, 1, "kept"),
    (30, 2, "used in its last thirty seconds, not kept"),
    (None, 2, "without end: used, not kept"),
]


@pytest.mark.parametrize(("seconds", "exchanges", "reason"), LIFETIMES, ids=[row[-1] for row in LIFETIMES])
def test_a_token_is_kept_as_long_as_its_end_allows(
    stage: Stage, seconds: int | None, exchanges: int, reason: str
) -> None:
    """Two requests with one caller's token need one exchange, or two."""
    token = stage.caller()
    exp = None if seconds is None else claims(token)["iat"] + seconds
    for _ in range(exchanges):
        stage.oidc.script(TOKEN_PATH, Answer.of({"access_token": stage.oidc.token(aud="tool", exp=exp)}))
    assert [stage.get(stage.to(TOOL), token).status for _ in range(2)] == [200, 200]
    assert len(stage.oidc.token_requests()) == exchanges, reason


def test_the_exchanged_token_does_not_outlive_the_callers(stage: Stage) -> None:
    """A caller's token that has ended by the answer is asked about each time."""
    expired = stage.caller(exp=claims(stage.caller())["iat"] - 1)
    stage.oidc.script(TOKEN_PATH, *(Answer.of({"access_token": stage.oidc.token(aud="tool")}) for _ in range(2)))
    assert [stage.get(stage.to(TOOL), expired).status for _ in range(2)] == [200, 200]
    assert len(stage.oidc.token_requests()) == 2


def _answer(**body: JSON) -> Callable[[Stage], None]:
    return lambda stage: stage.oidc.script(TOKEN_PATH, Answer.of(body))


def _status(status: int, body: bytes = b"", **headers: str) -> Callable[[Stage], None]:
    return lambda stage: stage.oidc.script(TOKEN_PATH, Answer(status, body, headers))


def _token(**made: JSON) -> Callable[[Stage], None]:
    def script(stage: Stage) -> None:
        stage.oidc.script(TOKEN_PATH, Answer.of({"access_token": stage.oidc.token(**made)}))

    return script


def _nothing(stage: Stage) -> None:
    """Leaves the provider to itself."""


def _files(name: str) -> Callable[[Stage], None]:
    return lambda stage: (stage.files / name).unlink()


ERROR: Final = b'{"error": "invalid_scope", "error_description": "Invalid scopes: \\"access_token\\": \\"a.b.c\\""}'
NESTED: Final = b'{"note": {"access_token": "x"}, "text": "\\"access_token\\":\\"y\\""}'
FAILURES: Final = [
    ("client id missing", _files("shared/client-id.txt"), {}, 503, "NotRegistered"),
    ("client secret missing", _files("shared/client-secret.txt"), {}, 503, "NotRegistered"),
    ("wrong secret", lambda stage: stage.register(secret="no"), {}, 502, "ClientRefused"),
    ("caller is not in our audience", _nothing, {"aud": "somebody"}, 403, "ExchangeRefused"),
    ("caller's token expired", _nothing, {"exp": 1}, 403, "ExchangeRefused"),
    ("bad scope", _status(400, ERROR), {}, 403, "ExchangeRefused"),
    ("provider overloaded", _status(429), {}, 503, "IdentityProviderUnavailable"),
    ("provider broken", _status(500, b"<html>"), {}, 503, "IdentityProviderUnavailable"),
    ("redirect", _status(302, location="http://127.0.0.1:1/"), {}, 502, "AnswerUnexpected"),
    ("no content", _status(204), {}, 502, "AnswerUnexpected"),
    ("not JSON", _status(200, b"access_token=a.b.c"), {}, 502, "AnswerMalformed"),
    ("cut off", _status(200, b'{"access_token": "a.b.c"'), {}, 502, "AnswerMalformed"),
    ("trailing text", _status(200, b'{"access_token": "a.b.c"} {}'), {}, 502, "AnswerMalformed"),
    ("twice the same key", _status(200, b'{"access_token": "a", "access_token": "b"}'), {}, 502, "AnswerMalformed"),
    ("token elsewhere in the answer", _status(200, NESTED), {}, 502, "AnswerMalformed"),
    ("no token", _answer(token_type="Bearer"), {}, 502, "AnswerMalformed"),
    ("token is no text", _answer(access_token=["a.b.c"]), {}, 502, "AnswerMalformed"),
    ("token is null", _answer(access_token=None), {}, 502, "AnswerMalformed"),
    ("deeply nested", _status(200, b"[" * 10_000), {}, 502, "AnswerMalformed"),
    ("too long", _status(200, b'{"access_token": "' + b"a" * 70_000 + b'"}'), {}, 502, "AnswerMalformed"),
    ("opaque token", _answer(access_token="opaque"), {}, 502, "TokenOpaque"),
    ("token with a line break", _answer(access_token="a.b.c\r\nx: y"), {}, 502, "TokenOpaque"),
    ("no audience (Keycloak's 200)", _token(aud=None), {}, 502, "AudienceMissing"),
    ("another audience", _token(aud="tool2"), {}, 502, "AudienceMissing"),
    ("audience only begins so", _token(aud=["tool2", "atool"]), {}, 502, "AudienceMissing"),
    ("empty list", _token(aud=[]), {}, 502, "AudienceMissing"),
    (
        "audience in another claim",
        _token(aud="x", name='"aud":"tool"', more={"aud": "tool"}),
        {},
        502,
        "AudienceMissing",
    ),
    ("audience as a key", _token(aud={"tool": "tool"}), {}, 502, "AudienceMissing"),
]


@pytest.mark.parametrize(("case", "arrange", "made", "status", "reason"), FAILURES, ids=[row[0] for row in FAILURES])
def test_each_failure_is_told_by_its_name_and_nothing_is_sent_on(
    stage: Stage, case: str, arrange: Callable[[Stage], None], made: JSON, status: int, reason: str
) -> None:
    """Status and reason say what to mend; neither body nor log shows a token or the secret."""
    arrange(stage)
    token = stage.caller(**made)
    answer = stage.get(stage.to(TOOL), token)
    assert (answer.status, answer.text.split(": ")[:3]) == (
        status,
        ["kagenti", "no token for audience tool", reason],
    ), answer.text
    for shown in (answer.text, stage.envoy.log()):
        assert token not in shown
        assert WEATHER.secret not in shown


def test_the_audience_may_be_one_of_a_list(stage: Stage) -> None:
    """RFC 7519 section 4.1.3: a text, or a list of texts; other claims may hold anything that JSON can."""
    _token(aud=["x", "tool"], name='Jos\u00e9 \U0001f600 "\\/\b\f', n=[-1.5e3, None, True, {}, []])(stage)
    assert stage.get(stage.to(TOOL), stage.caller()).status == 200


def test_a_caller_without_token_is_refused(stage: Stage) -> None:
    """Deny is what onMissingToken means unless the rule says otherwise."""
    answer = stage.get(stage.to(TOOL))
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "TokenMissing" in answer.text
    assert stage.oidc.token_requests() == []


@pytest.mark.parametrize(
    "header", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer a b", "Bearer a,b", "bearer\ta", "Bearer a\u00e9", "Token a"]
)
def test_what_is_not_one_bearer_token_is_refused_and_never_sent_on(stage: Stage, header: str) -> None:
    """Another scheme, or something besides the token, is nothing to exchange."""
    answer = stage.get(stage.to(TOOL), Authorization=header)
    assert (answer.status, "TokenMalformed" in answer.text) == (401, True)


def test_a_caller_without_token_gets_the_workloads_own_where_the_rule_says_so(stage: Stage) -> None:
    """ClientCredentials: a token of the client itself, for the audience; cached apart from callers' tokens."""
    stage.apply(tool(onMissingToken="ClientCredentials"))
    answers = [stage.get(stage.to(TOOL)) for _ in range(2)]
    assert [claims(answer.token)["sub"] for answer in answers] == [f"service-account-{WEATHER.id}"] * 2
    (asked,) = stage.oidc.token_requests()
    assert (asked.form["grant_type"], asked.form["audience"]) == ("client_credentials", "tool")
    assert "subject_token" not in asked.form
    assert claims(stage.get(stage.to(TOOL), stage.caller(sub="bob")).token)["sub"] == "bob"
    stage.apply(tool())
    assert stage.get(stage.to(TOOL)).status == 401


def test_a_changed_rule_is_asked_for_anew(stage: Stage) -> None:
    """A token of one audience is never used for another; the change acts on the next request."""
    token = stage.caller()
    assert claims(stage.get(stage.to(TOOL), token).token)["aud"] == "tool"
    stage.apply(tool(target={"audience": "other", "scopes": ["aud-other"]}))
    assert claims(stage.get(stage.to(TOOL), token).token)["aud"] == "other"
    stage.apply(tool())
    assert claims(stage.get(stage.to(TOOL), token).token)["aud"] == "tool"
    assert len(stage.oidc.token_requests()) == 2


ASSERTIONS: Final = [(True, "opt/jwt_svid.token", JWT_SPIFFE), (False, "var/run/secrets/kagenti/idp-token", JWT_BEARER)]


@pytest.mark.parametrize(("spiffe", "file", "kind"), ASSERTIONS)
def test_a_client_without_secret_authenticates_by_an_assertion(
    stage: Stage, spiffe: bool, file: str, kind: str
) -> None:
    """federated-jwt: the JWT-SVID, or the projected token where SPIFFE is off; read again at each use."""
    stage.register(secret=None)
    values = {"identity__clientRegistration__authType": "federated-jwt", "identity__spiffe__enabled": spiffe}
    stage.apply(tool(), **values)
    assert "AssertionMissing" in stage.get(stage.to(TOOL), stage.caller()).text
    assertion = stage.oidc.assertion(WEATHER.subject)
    for content, expected in ((assertion, 200), ("stale", 502), (assertion, 200)):
        (stage.files / file).write_text(content)
        assert stage.get(stage.to(TOOL), stage.caller()).status == expected
    form = stage.oidc.token_requests()[-1].form
    assert (form["client_assertion_type"], form["client_assertion"]) == (kind, assertion)
    assert "client_secret" not in form
    stage.apply(tool())


@pytest.mark.parametrize("key", ["cluster", "hash", "path"])
def test_a_failing_script_takes_the_callers_token_along(stage: Stage, key: str) -> None:
    """Envoy lets a request go on when a script fails: by then the token is off it, and here the caller is told."""

    def broken(node: JSON) -> JSON:
        if "on_missing_token" not in node:
            return node
        return {**node, "cluster": "nowhere"} if key == "cluster" else {k: v for k, v in node.items() if k != key}

    stage.envoy.apply(stage.proxy(tool()), change=broken)
    token = stage.caller()
    answer = stage.get(stage.to(TOOL), token)
    assert (answer.status, "Internal" in answer.text) == (500, True)
    assert token not in stage.envoy.log()
    stage.apply(tool())
