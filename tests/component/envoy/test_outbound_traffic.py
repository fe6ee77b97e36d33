"""Outbound traffic through a real Envoy: who gets which request, with which token, and what Deny closes."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
import pytest

from tests.component.envoy.conftest import Stage
from tests.component.envoy.loopback import until
from tests.oidc import JWKS_PATH
from tests.unit.core.settings.given import rule

JSON = Any  # a rule

TOOL: Final = "tool.team1.svc"
TARGET: Final = {"audience": "tool", "scopes": ["aud-tool"]}
DENY: Final = {"identity__outbound__defaultPolicy": "Deny"}
EXCHANGE: Final = {
    "identity__outbound__defaultPolicy": "Exchange",
    "identity__outbound__tokenExchange__defaultTarget__audience": "tool",
    "identity__outbound__tokenExchange__defaultTarget__scopes": ["aud-tool"],
}


@pytest.fixture(autouse=True)
def _clean(stage: Stage) -> Iterator[None]:
    yield
    stage.oidc.requests.clear()


def test_a_host_without_rule_passes_with_its_own_token_to_where_the_app_dialled(stage: Stage) -> None:
    """Passthrough: token, path and host arrive as sent, and nothing of Envoy's own."""
    stage.apply(rule(TOOL, target=TARGET))
    answer = stage.get("Any.Example:1234", "opaque-token", path="/a//b/../c?d=%2F")
    assert (answer.seen["server"], answer.token, answer.seen["path"]) == ("dialled", "opaque-token", "/a//b/../c?d=%2F")
    assert answer.seen["headers"]["host"] == "Any.Example:1234"
    assert [name for name in answer.seen["headers"] if name.startswith("x-envoy")] == []


def test_a_forged_host_never_carries_a_token_to_the_dialled_address(stage: Stage) -> None:
    """The request goes to the rule's own host, as Envoy resolves it, whatever the app dialled."""
    stage.apply(rule(TOOL, target=TARGET))
    token = stage.caller()
    for host in (stage.to(TOOL), stage.to(TOOL.upper())):
        answer = stage.get(host, token)
        assert (answer.seen["server"], answer.token != token) == ("plain", True)
    assert TOOL in stage.dns.asked


NOT_THE_RULE: Final = [
    ("toolxteam1.svc", "a dot is a dot"),
    ("x.tool.team1.svc", "an exact name is not a suffix"),
    ("tool.team1.svc.evil.example", "nor a prefix"),
    ("tool.team1.svc..", "two dots at the end are no name"),
    ("tool.team1.svc@evil.example", "user information is no host"),
    ("evil.example#tool.team1.svc", "nor is a fragment"),
    ("tool.team1.svc:80:80", "two ports are none"),
]


@pytest.mark.parametrize(("host", "reason"), NOT_THE_RULE)
def test_a_name_that_is_not_the_rules_gets_no_token(stage: Stage, host: str, reason: str) -> None:
    """Names match as they are; no exchange takes place for another."""
    stage.apply(rule(TOOL, target=TARGET))
    answer = stage.get(host, "callers-token")
    assert answer.status == 400 or (answer.seen["server"], answer.token) == ("dialled", "callers-token"), reason
    assert stage.oidc.token_requests() == []


def test_a_name_that_ends_with_the_dot_of_the_root_is_the_same_name(stage: Stage) -> None:
    """As DNS has it, and as Kubernetes applications write it to spare their searches: rules hold, by HTTP and by TLS."""
    names = ("closed.example", "*.shut.example")
    stage.apply(rule(TOOL, target=TARGET), *(rule(name, action="Deny") for name in names))
    token = stage.caller()
    answer = stage.get(stage.to(f"{TOOL}."), token)
    assert (answer.seen["server"], answer.token != token) == ("plain", True)
    for name in ("closed.example", "a.shut.example", "CLOSED.Example"):
        assert [stage.get(host).status for host in (name, f"{name}.", f"{name}.:8080")] == [403] * 3
        stage.hello(f"{name}.")
        until(lambda: f'"server_name":"{name.lower()}."' in stage.envoy.log(), f"TLS to {name}. is refused")  # noqa: B023  # called at once


def test_an_absolute_target_is_the_host(stage: Stage) -> None:
    """The target of the request line beats Host (RFC 9112 section 3.2.2), for the rule and for the address."""
    stage.apply(rule(TOOL, target=TARGET))
    tool, ending = stage.to(TOOL), f"Authorization: Bearer {stage.caller()}\r\nConnection: close\r\n\r\n"
    answer = stage.raw(f"GET http://{tool}/x HTTP/1.1\r\nHost: evil.example\r\n{ending}".encode())
    seen = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (seen["server"], seen["headers"]["host"]) == ("plain", tool)


SPLIT: Final = [
    "Host: {tool}\r\nHost: evil.example",
    "Host: evil.example\r\nHost: {tool}",
    "Host: {tool},evil.example",
    "Host: {tool}.evil.example",
    "Host: tool.team1.svc:x.evil.example",
    "Host: tool.team1.svc:",
    "Host: a,b.team1.svc:{port}",
    "Host: a@b.team1.svc:{port}",
    "Host: a/b.team1.svc:{port}",
    "Host: x.team1.svc:80x",
]


@pytest.mark.parametrize("lines", SPLIT)
def test_a_host_in_pieces_never_gets_a_token(stage: Stage, lines: str) -> None:
    """What is not one host with or without a port is no rule's, or refused; nobody resolves parts of it."""
    stage.apply(rule(TOOL, target=TARGET), rule("*.team1.svc", target=TARGET))
    host = lines.format(tool=stage.to(TOOL), port=stage.plain.port)
    ending = "Authorization: Bearer callers-token\r\nConnection: close\r\n\r\n"
    answer = stage.raw(f"GET / HTTP/1.1\r\n{host}\r\n{ending}".encode())
    assert answer.startswith(b"HTTP/1.1 400") or b'"server": "dialled"' in answer
    assert stage.oidc.token_requests() == []
    assert not [name for name in stage.dns.asked if "evil" in name]


def test_the_most_specific_rule_answers(stage: Stage) -> None:
    """Exact host before the longest suffix, port before none; a port that no rule of the host names falls through."""
    other = stage.dialled.port
    stage.apply(
        rule("*.team1.svc", action="Deny"),
        rule("*.b.team1.svc", action="Passthrough"),
        rule("a.b.team1.svc", port=stage.plain.port, target=TARGET),
        rule("c.b.team1.svc", action="Deny"),
        rule("c.b.team1.svc", port=stage.plain.port, action="Passthrough"),
    )
    caller = stage.caller()
    expected = [
        (f"x.team1.svc:{other}", 403, ""),
        (f"x.b.team1.svc:{other}", 200, caller),
        (f"a.b.team1.svc:{stage.plain.port}", 200, "exchanged"),
        (f"a.b.team1.svc:{other}", 200, caller),
        (f"c.b.team1.svc:{other}", 403, ""),
        (f"c.b.team1.svc:{stage.plain.port}", 200, caller),
    ]
    for host, status, token in expected:
        answer = stage.get(host, caller)
        assert answer.status == status, (host, answer.text)
        if status == 200:
            assert (answer.token == caller) == (token == caller), host


def test_a_denied_destination_is_told_which_rule_it_was(stage: Stage) -> None:
    """The answer names the rule, and so does the access log; neither shows token or query."""
    stage.apply(rule("*.team1.svc", port=99, action="Deny"))
    answer = stage.get("x.team1.svc:99", "secret-token", path="/path?query=secret")
    assert (answer.status, answer.text) == (403, "kagenti: destination rule [*.team1.svc:99] denies this\n")

    def line() -> JSON:
        return next((json.loads(row) for row in stage.envoy.log().splitlines() if '"[*.team1.svc:99]"' in row), None)

    until(lambda: line() is not None, "the line in the access log")
    found = line()
    assert (found["status"], found["rule"], found["path"]) == (403, "[*.team1.svc:99]", "/path")
    assert "secret" not in json.dumps(found)


def test_a_refused_exchange_leaves_a_line_with_subject_audience_and_reason(stage: Stage) -> None:
    """The access log says whom the exchange failed for, and why."""
    stage.apply(rule(TOOL, target=TARGET))
    assert stage.get(stage.to(TOOL), stage.caller(sub="mallory", aud="nobody")).status == 403
    until(lambda: '"sub":"mallory"' in stage.envoy.log(), "the line in the access log")
    line = next(row for row in stage.envoy.log().splitlines() if '"sub":"mallory"' in row)
    found = json.loads(line)
    assert (found["aud"], found["exchange"], found["rule"]) == ("tool", "ExchangeRefused", f"[{TOOL}]")


def test_tls_is_originated_to_hosts_outside_the_cluster_and_the_name_is_checked(stage: Stage) -> None:
    """The app calls http://host; a certificate of another name is no answer."""
    stage.apply(rule("*.tool.example", target=TARGET), rule("api.tool.example", target=TARGET), rule("*.wild.example"))
    answer = stage.get(stage.to("api.tool.example", stage.secure), stage.caller())
    assert (answer.seen["server"], answer.seen["headers"]["x-forwarded-proto"]) == ("secure", "https")
    for host, status in (("other.tool.example", 503), ("gone.tool.example", 503)):
        assert stage.get(stage.to(host, stage.secure), stage.caller()).status == status, host
    stage.apply(
        rule("*.wild.example", target=TARGET), rule("plain.example", action="Passthrough", upstream={"tls": "Off"})
    )
    assert stage.get(stage.to("x.wild.example", stage.secure), stage.caller()).seen["server"] == "secure"
    assert stage.get(stage.to("y.x.wild.example", stage.secure), stage.caller()).status == 503
    assert stage.get(stage.to("plain.example"), "callers-token").token == "callers-token"


def test_deny_closes_what_no_rule_names(stage: Stage) -> None:
    """HTTP gets 403, TLS and other TCP are closed; what a rule names passes, TLS to that name's real address."""
    garbage = b"\x00\x01 no http at all\r\n\r\n"
    stage.apply(rule("api.tool.example", target=TARGET))
    assert [stage.hello(name) for name in ("api.tool.example", "evil.example", None)] == [
        "",
        "",
        "",
    ]  # dialled is no TLS
    assert stage.raw(garbage) != b""
    stage.apply(
        rule("api.tool.example", action="Passthrough"),
        rule("*.wild.example", action="Passthrough"),
        rule("no.wild.example", action="Deny"),
        rule("port.example", port=stage.envoy.port, action="Passthrough"),
        rule("other.example", port=1, action="Passthrough"),
        rule("api.tool.evil", action="Deny"),
        **DENY,
    )
    names = ["api.tool.example", "API.tool.example", "api.tool.example.", "x.wild.example", "port.example"]
    assert [stage.hello(name) for name in names] == ["secure"] * 5
    closed = [
        "evil.example",
        "no.wild.example",
        "no.wild.example.",
        "wild.example",
        "xapi.tool.example",
        "other.example",
        "api.tool.evil",
        None,
    ]
    assert [stage.hello(name) for name in closed] == [""] * len(closed)
    assert stage.raw(garbage) == b""
    answer = stage.get("evil.example", "t")
    assert (answer.status, answer.text) == (
        403,
        "kagenti: no destination rule names this host, and the default policy is Deny\n",
    )
    until(lambda: '"server_name":"evil.example"' in stage.envoy.log(), "the line in the access log")


def test_a_deny_rule_also_closes_tls_to_its_name(stage: Stage) -> None:
    """Under Passthrough the names of Deny rules are refused, unless a more specific rule lets one pass."""
    stage.apply(rule("*.example", action="Deny"), rule("ok.example", action="Passthrough"))
    stage.hello("bad.example")
    until(lambda: '"server_name":"bad.example"' in stage.envoy.log(), "the line in the access log")
    before = stage.envoy.log()
    stage.hello("ok.example")
    assert "rbac_access_denied" not in stage.envoy.log().removeprefix(before)


def test_exchange_by_default_asks_for_the_default_target_but_not_for_the_provider(stage: Stage) -> None:
    """Unlisted hosts get the default audience, at the address of their own name; the provider and collector pass."""
    stage.apply(**EXCHANGE)
    answer = stage.get(stage.to("anything.team1"), stage.caller())
    assert (answer.seen["server"], len(stage.oidc.token_requests())) == ("plain", 1)
    assert stage.get(stage.to("anything.team1")).status == 401
    provider = stage.oidc.url.removeprefix("http://")
    assert stage.get(provider, path=f"/realms/default{JWKS_PATH}").status == 200
    outside = stage.get(stage.to("host.elsewhere", stage.plain), stage.caller())
    assert outside.status == 503, "a token never leaves the cluster in clear: TLS to a server without it fails"


def test_http_1_0_is_exchanged_too(stage: Stage) -> None:
    """An old client is no way round a rule."""
    stage.apply(rule(TOOL, target=TARGET))
    token = stage.caller()
    request = f"GET / HTTP/1.0\r\nHost: {stage.to(TOOL)}\r\nAuthorization: Bearer {token}\r\n\r\n"
    answer = stage.raw(request.encode())
    assert b'"server": "plain"' in answer
    assert token.encode() not in answer


def test_grpc_stays_http_2_and_its_token_is_exchanged(stage: Stage) -> None:
    """A call over plain HTTP/2 reaches a gRPC server, with the token of the rule."""
    seen: list[str] = []

    class Service(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            seen.extend(value for key, value in details.invocation_metadata if key == "authorization")
            return grpc.unary_unary_rpc_method_handler(lambda request, _: request)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Service()])
    host = f"{TOOL}:{server.add_insecure_port('127.0.0.1:0')}"
    stage.apply(rule(TOOL, target=TARGET))
    server.start()
    token = stage.caller()
    with grpc.insecure_channel(f"127.0.0.1:{stage.envoy.port}", [("grpc.default_authority", host)]) as channel:
        call = channel.unary_unary("/tool.Service/Call")
        assert call(b"hello", metadata=[("authorization", f"Bearer {token}")], timeout=10) == b"hello"
    server.stop(None)
    assert len(seen) == 1
    assert seen[0] not in ("", f"Bearer {token}")
