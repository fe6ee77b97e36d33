"""Outbound traffic of a real pod's app: exchanged tokens where a rule says so, policy where none does, live."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.admission.manifests import runtime
from tests.e2e.api_client import ApiClient
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import PodRunner
from tests.e2e.xds.calls import Answer, call_out
from tests.oidc import Oidc

JSON = Any  # a setting of an AgentRuntime
TOOL, OTHER = "tool.tools.svc", "elsewhere.tools.svc"


@pytest.fixture(scope="module")
def tools(node: str) -> Iterator[int]:
    """A server on the node's address that says what reached it; yields its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"host": self.headers["Host"], "authorization": self.headers.get("Authorization", "")})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Says nothing: tokens pass here."""

    server = http.server.ThreadingHTTPServer((node, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def app(run_pod: Callable[..., PodRunner], node: str) -> PodRunner:
    """A running pod whose app knows the tool and another host, both at the node."""
    return run_pod(names={TOOL: node, OTHER: node})


def outbound(**fields: JSON) -> JSON:
    """Returns the spec of an AgentRuntime with these outbound settings."""
    return {"identity": {"outbound": fields}}


def claims(answer: Answer) -> JSON:
    """Returns the claims of the token that reached the tool."""
    import jwt

    token = answer.body["authorization"].removeprefix("Bearer ")
    return jwt.decode(token, options={"verify_signature": False})


def until(call: Callable[[], Answer], right: Callable[[Answer], bool]) -> Answer:
    """Returns the first answer that is right; a change reaches the proxy within a moment."""
    seen: list[Answer] = []

    def holds() -> bool:
        seen[:] = [call()]
        return right(seen[0])

    wait_until(holds, 10, lambda: f"last answer {seen[0].status}: {str(seen[0].body)[:200]}")
    return seen[0]


def test_a_rule_makes_the_next_call_carry_an_exchanged_token(
    app: PodRunner, api: ApiClient, namespace: str, idp: Oidc, tools: int
) -> None:
    """Before: the caller's own token. After: one for the rule's audience, cached; another host keeps the caller's."""
    mine = idp.token(aud="weather", azp="weather")

    def call(host: str = TOOL) -> Answer:
        return call_out(app, f"http://{host}:{tools}/", token=mine)

    before = call()
    assert (before.status, before.body["authorization"]) == (200, f"Bearer {mine}")
    rule = {"match": {"host": TOOL}, "target": {"audience": "tool", "scopes": ["tool-scope"]}}
    spec = outbound(tokenExchange={"destinationRules": [rule]})
    assert api.create(runtime(namespace, "weather", kind="Deployment", target="weather", **spec)).ok
    after = until(call, lambda answer: answer.status == 200 and answer.body["authorization"] != f"Bearer {mine}")
    assert (claims(after)["aud"], claims(after)["sub"]) == ("tool", "alice")
    exchanges = len(idp.token_requests())
    assert claims(call())["aud"] == "tool"
    assert len(idp.token_requests()) == exchanges
    assert call(OTHER).body["authorization"] == f"Bearer {mine}"
    forged = call_out(app, f"http://{OTHER}:{tools}/", token=mine, options=("--header", f"Host: {TOOL}:{tools}"))
    assert forged.status != 200 or forged.body["host"].startswith(TOOL)


def test_deny_closes_what_no_rule_lists(app: PodRunner, api: ApiClient, namespace: str, tools: int) -> None:
    """An unlisted host is answered 403, at once and live; a listed one passes; TLS and raw TCP get nowhere."""
    passing = {"match": {"host": TOOL}, "action": "Passthrough"}
    spec = outbound(defaultPolicy="Deny", tokenExchange={"destinationRules": [passing]})
    assert call_out(app, f"http://{OTHER}:{tools}/").status == 200
    assert api.create(runtime(namespace, "weather", kind="Deployment", target="weather", **spec)).ok
    denied = until(lambda: call_out(app, f"http://{OTHER}:{tools}/"), lambda answer: answer.status == 403)
    assert "Bearer" not in str(denied.body)
    assert call_out(app, f"http://{TOOL}:{tools}/").status == 200
    assert call_out(app, f"https://{OTHER}:{tools}/", options=("--insecure",)).status == 0
    assert call_out(app, f"telnet://{OTHER}:{tools}", options=("--max-time", "2")).status == 0


def test_without_a_registration_nothing_is_exchanged(
    app: PodRunner, api: ApiClient, namespace: str, idp: Oidc, tools: int
) -> None:
    """503 and a sentence until the client id appears; never the caller's token."""
    shared = app.volumes.folder("kagenti-shared")
    client = (shared / "client-id.txt").read_text()
    (shared / "client-id.txt").unlink()
    rule = {"match": {"host": TOOL}, "target": {"audience": "tool", "scopes": ["tool-scope"]}}
    spec = outbound(tokenExchange={"destinationRules": [rule]})
    assert api.create(runtime(namespace, "weather", kind="Deployment", target="weather", **spec)).ok

    def call() -> Answer:
        return call_out(app, f"http://{TOOL}:{tools}/", token=idp.token(aud="weather", azp="weather"))

    waiting = until(call, lambda answer: answer.status == 503)
    assert "NotRegistered" in str(waiting.body)
    (shared / "client-id.txt").write_text(client)
    assert claims(until(call, lambda answer: answer.status == 200))["aud"] == "tool"
