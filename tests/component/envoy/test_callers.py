"""Who may come in, by a real Envoy: every claim, every header by which a caller might get round them."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from tests.component.envoy.entrance import Entrance, entered
from tests.e2e.plane.waiting import wait_until
from tests.oidc import Key
from tests.unit.core.settings.given import ISSUER, VALIDATION

JSON = Any  # claims

SCOPES: Final = ["agent:invoke", "agent:stream"]
Make = Callable[[Entrance], str | None]


@pytest.fixture(scope="module")
def entrance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entrance]:
    values = {f"{VALIDATION}.requiredScopes": SCOPES, "trace.exporters": []}
    with entered(tmp_path_factory.mktemp("envoy"), values, bypasses=("/probe?full=1",)) as found:
        yield found


def _with(**claims: JSON) -> Make:
    return lambda entrance: entrance.token(**claims)


def _audiences(*others: str) -> Make:
    return lambda entrance: entrance.token(aud=[*others, entrance.proxy.values.audience])


def _spaced(entrance: Entrance) -> str:
    return entrance.token(aud=f"x {entrance.proxy.values.audience}")


GOOD: Final[dict[str, Make]] = {
    "as required": _with(),
    "several audiences": _audiences("x", "y"),
    "scopes as a list": _with(scope=[*SCOPES, "more"]),
    "scopes in another order": _with(scope="agent:stream more agent:invoke"),
}
BAD: Final[dict[str, tuple[Make, int, str]]] = {
    "no token": (lambda _: None, 401, "Jwt is missing"),
    "no token at all": (lambda _: "x", 401, "Jwt is not in the form"),
    "another key": (lambda entrance: entrance.token(Key("another")), 401, "Jwt"),
    "another issuer": (_with(iss="https://other.example"), 401, "Jwt issuer is not configured"),
    "expired": (_with(exp=int(time.time()) - 300), 401, "Jwt is expired"),
    "without expiry": (_with(exp=None), 401, "Jwt"),
    "not yet valid": (_with(nbf=int(time.time()) + 300), 401, "Jwt not yet valid"),
    "another audience": (_with(aud="other"), 403, "[audience]"),
    "without audience": (_with(aud=None), 403, "[audience]"),
    "audience in a text": (_spaced, 403, "[audience]"),
    "empty audiences": (_with(aud=[]), 403, "[audience]"),
    "one scope of two": (_with(scope="agent:invoke"), 403, "[scope_agent:stream]"),
    "scopes that begin alike": (_with(scope="agent:invoker agent:streams"), 403, "[scope_agent:invoke]"),
    "without scopes": (_with(scope=None), 403, "[scope_agent:invoke]"),
}


@pytest.mark.parametrize("name", GOOD)
def test_caller_is_let_in(entrance: Entrance, name: str) -> None:
    status, body = entrance.get("/task", GOOD[name](entrance))
    assert (status, json.loads(body)["path"]) == (200, "/task")


@pytest.mark.parametrize("name", BAD)
def test_caller_is_turned_away_with_a_reason(entrance: Entrance, name: str) -> None:
    make, expected, reason = BAD[name]
    status, body = entrance.get("/task", make(entrance))
    told = json.loads(body)
    assert status == expected
    assert told["proxy"] == "kagenti"
    assert reason in f"{told['error']} {told['reason']}"


def test_scheme_of_the_header_is_written_either_way(entrance: Entrance) -> None:
    assert entrance.get("/", authorization=f"bearer {entrance.token()}")[0] == 200


def test_token_in_the_query_counts_for_nothing(entrance: Entrance) -> None:
    assert entrance.get(f"/?access_token={entrance.token()}")[0] == 401


def test_second_token_never_reaches_the_app(entrance: Entrance) -> None:
    """Only one would have been checked, and the app might take the other."""
    good, forged = entrance.token().encode(), entrance.token(Key("another")).encode()
    for values in ((good, forged), (forged, good)):
        lines = b"".join(b"Authorization: Bearer %b\r\n" % value for value in values)
        answer = entrance.raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + lines + b"\r\n")
        assert answer.split()[1] in (b"401", b"403"), answer


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/probe", 200),
        ("HEAD", "/probe", 200),
        ("GET", "/probe?anything", 200),
        ("POST", "/probe", 401),
        ("GET", "/probe/", 401),
        ("GET", "/elsewhere", 401),
        ("GET", "/.well-known/agent.json", 200),
        ("GET", "/.well-known/agent-card.json", 200),
        ("GET", "/healthz", 200),
    ],
)
def test_bypass_is_for_its_path_method_and_port(entrance: Entrance, method: str, path: str, expected: int) -> None:
    assert entrance.get(path, method=method)[0] == expected


@pytest.mark.parametrize("port", ["1", "8080", ""])
def test_port_header_of_a_caller_is_overwritten(entrance: Entrance, port: str) -> None:
    assert entrance.get("/elsewhere", x_kagenti_dport=port)[0] == 401
    status, body = entrance.get("/healthz", x_kagenti_dport=port)
    assert status == 200
    assert "x-kagenti-dport" not in json.loads(body)["headers"]


def test_app_sees_what_the_caller_sent_but_not_what_steers_proxies(entrance: Entrance) -> None:
    sent = {"x_forwarded_for": "192.0.2.1", "x_forwarded_proto": "https", "x_request_id": "given"}
    steering = {"x_envoy_max_retries": "9", "x_envoy_original_path": "/admin"}
    _, body = entrance.get("/", entrance.token(), **sent, **steering)
    seen = json.loads(body)["headers"]
    assert {key: seen.get(key.replace("_", "-")) for key in sent} == sent
    assert not [name for name in seen if name.startswith("x-envoy")]


@pytest.mark.parametrize(
    "header", ["x-original-url", "x-rewrite-url", "x-http-method-override", "x-envoy-original-path"]
)
def test_bypass_takes_override_headers_off(entrance: Entrance, header: str) -> None:
    for path in ("/healthz", "/.well-known/agent.json", "/probe"):
        status, body = entrance.get(path, **{header: "/admin"})
        assert (status, header in json.loads(body)["headers"]) == (200, False)


@pytest.mark.parametrize(
    "header", ["X_HTTP_Method_Override", "x-original_url", "X_Rewrite-URL", "x_envoy-original_path"]
)
def test_bypass_takes_them_off_however_they_are_spelt(entrance: Entrance, header: str) -> None:
    """To frameworks on CGI or WSGI an underscore in a header's name is a dash."""
    lines = f"Host: a\r\n{header}: /admin\r\nX-Seen: yes\r\nConnection: close\r\n"
    answer = entrance.raw(f"GET /healthz HTTP/1.1\r\n{lines}\r\n".encode(), whole=True).lower()
    assert b"x-seen" in answer
    assert header.lower().encode() not in answer


@pytest.mark.parametrize(
    "hello", [b"SSH-2.0-x\r\n", b"*1\r\n$4\r\nPING\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
)
def test_what_is_not_http_is_refused(entrance: Entrance, hello: bytes) -> None:
    assert entrance.raw(hello)[:12] in (b"HTTP/1.1 400", b"")


def test_status_port_shows_readiness_and_metrics_only(entrance: Entrance) -> None:
    assert entrance.envoy.get("/ready") == (200, "LIVE\n")
    assert "envoy_server_live" in entrance.envoy.get("/metrics")[1]
    for path in ("/", "/stats", "/quitquitquit", "/config_dump", "/metrics/../config_dump", "/ready/"):
        assert entrance.envoy.get(path)[0] == 404, path


def test_grpc_probe_is_turned_away(entrance: Entrance) -> None:
    """It brings no token, and no path is opened for it; injection warns of it (core.inject.probes)."""
    with grpc.insecure_channel(f"127.0.0.1:{entrance.port}") as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        with pytest.raises(grpc.RpcError) as refused:
            check(b"", timeout=5)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_denial_leaves_a_line_without_token_and_query(entrance: Entrance) -> None:
    token = entrance.token(aud="other", sub="bob")
    entrance.get("/traced?password=hidden", token)
    wait_until(lambda: "/traced" in entrance.envoy.log(), 10, entrance.envoy.log)
    line = next(each for each in entrance.envoy.log().splitlines() if "/traced" in each)
    told = json.loads(line)
    expected = {"listener": "inbound", "status": 403, "path": "/traced", "sub": "bob", "aud": "other", "rule": "app"}
    assert {key: told.get(key) for key in expected} == expected
    assert told["reason"] == "rbac_access_denied_matched_policy[audience]"
    assert token not in entrance.envoy.log()
    assert "hidden" not in entrance.envoy.log()


def test_update_that_has_arrived_by_half_lets_nobody_in(tmp_path: Path) -> None:
    """The route table already asks for the new issuer, the keys are still the old one's: neither token will do."""
    old, new = "https://old.example", "https://new.example"
    with entered(tmp_path, {ISSUER: new}, jwt_values={ISSUER: old}) as entrance:
        assert [entrance.get("/", entrance.token(iss=issuer))[0] for issuer in (old, new)] == [403, 401]
