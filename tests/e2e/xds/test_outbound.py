"""Outbound requests of a real pod's app: a token for the rule's audience to the rule's host, and to nobody else."""

from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest

from tests.e2e.api_client import ApiClient
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import PodRunner
from tests.e2e.xds.calls import Answer, call_out
from tests.e2e.xds.servers import Seen, echoing
from tests.e2e.xds.settings import apply_runtime, outbound, rule
from tests.oidc import Oidc

JSON = Any  # claims of a token
TOOL, OTHER, ALIKE = "tool.tools.svc", "elsewhere.tools.svc", "toolxtools.svc"
TOOL_RULE = rule(TOOL, "tool", "tool-scope")


@pytest.fixture
def tools(node: str) -> Iterator[Seen]:
    """A server on the node's address that says what reached it."""
    with echoing(node) as seen:
        yield seen


@pytest.fixture
def app(run_pod: Callable[..., PodRunner], node: str) -> PodRunner:
    """A running pod whose app knows the tool and others, all at the node, and one at another address."""
    return run_pod(names={TOOL: node, OTHER: node, ALIKE: node, "thief.tools.svc": "{host}"})


@pytest.fixture
def mine(idp: Oidc) -> str:
    """A caller's token that the workload's client may exchange."""
    return idp.token(aud="weather", azp="weather")


def claims(answer: Answer) -> JSON:
    """Returns the claims of the token that reached the tool."""
    token = answer.body["authorization"].removeprefix("Bearer ")
    return jwt.decode(token, options={"verify_signature": False})


def until(call: Callable[[], Answer], right: Callable[[Answer], bool]) -> Answer:
    """Returns the first answer that is right; a change reaches the proxy within a moment."""
    seen: list[Answer] = []

    def holds() -> bool:
        seen[:] = [call()]
        return right(seen[0])

    wait_until(holds, 30, lambda: f"last answer {seen[0].status}: {str(seen[0].body)[:200]}")
    return seen[0]


def exchanged(answer: Answer) -> bool:
    """Whether the request went through with a token of ours."""
    return answer.status == 200 and "azp" in claims(answer) and claims(answer)["aud"] != "weather"


def test_a_rule_makes_the_next_call_carry_an_exchanged_token(
    app: PodRunner, api: ApiClient, namespace: str, idp: Oidc, tools: Seen, mine: str
) -> None:
    """Cached: one exchange for two calls. Each rule has its own, an unlisted host and a similar name the caller's."""

    def call(host: str = TOOL) -> Answer:
        return call_out(app, f"http://{host}:{tools.port}/", token=mine)

    assert call().body["authorization"] == f"Bearer {mine}"
    apply_runtime(api, namespace, outbound(TOOL_RULE))
    before = len(idp.token_requests())
    after = until(call, exchanged)
    assert (claims(after)["aud"], claims(after)["sub"]) == ("tool", "alice")
    assert call().body == after.body
    form = idp.token_requests()[-1].form
    assert (form["audience"], form["scope"], form["subject_token"]) == ("tool", "tool-scope", mine)
    assert len(idp.token_requests()) == before + 1
    for host in (OTHER, ALIKE):
        assert call(host).body["authorization"] == f"Bearer {mine}"
    apply_runtime(api, namespace, outbound(TOOL_RULE, rule(OTHER, "other", "other-scope")))
    assert claims(until(lambda: call(OTHER), exchanged))["aud"] == "other"
    assert len(idp.token_requests()) == before + 2
    assert (claims(call())["aud"], call(ALIKE).body["authorization"]) == ("tool", f"Bearer {mine}")


def test_a_forged_host_carries_no_token_elsewhere(
    app: PodRunner, api: ApiClient, namespace: str, tools: Seen, mine: str
) -> None:
    """Whoever dials a thief under the tool's name reaches the tool: Envoy resolves the rule's own host."""
    apply_runtime(api, namespace, outbound(TOOL_RULE))
    until(lambda: call_out(app, f"http://{TOOL}:{tools.port}/", token=mine), exchanged)
    with echoing(app.network.host4, tools.port) as thief:
        where = f"http://thief.tools.svc:{tools.port}/"
        assert call_out(app, where).body["at"] == thief.address, "the thief cannot be reached at all"
        thief.requests.clear()
        for host in (f"{TOOL}:{tools.port}", TOOL.upper() + f":{tools.port}"):
            answer = call_out(app, where, token=mine, options=("--header", f"Host: {host}"))
            assert (answer.status, answer.body["at"], claims(answer)["aud"]) == (200, tools.address, "tool")
        resolved = ("--resolve", f"{TOOL}:{tools.port}:{thief.address}")
        assert call_out(app, f"http://{TOOL}:{tools.port}/", token=mine, options=resolved).body["at"] == tools.address
        assert thief.requests == []


def test_exchange_as_the_default_policy(app: PodRunner, api: ApiClient, namespace: str, tools: Seen, mine: str) -> None:
    """A host that nothing names gets a token for the default target; a rule still has its own."""
    target = {"audience": "other", "scopes": ["other-scope"]}
    apply_runtime(api, namespace, outbound(TOOL_RULE, policy="Exchange", defaultTarget=target))
    unlisted = until(lambda: call_out(app, f"http://{OTHER}:{tools.port}/", token=mine), exchanged)
    assert claims(unlisted)["aud"] == "other"
    assert claims(call_out(app, f"http://{TOOL}:{tools.port}/", token=mine))["aud"] == "tool"


def test_a_caller_without_a_token(app: PodRunner, api: ApiClient, namespace: str, tools: Seen) -> None:
    """By the rule's onMissingToken: 401 with the reason, or the workload's own token."""

    def call() -> Answer:
        return call_out(app, f"http://{TOOL}:{tools.port}/")

    apply_runtime(api, namespace, outbound({**TOOL_RULE, "onMissingToken": "Deny"}))
    refused = until(call, lambda answer: answer.status == 401)
    assert "TokenMissing" in str(refused.body)
    apply_runtime(api, namespace, outbound({**TOOL_RULE, "onMissingToken": "ClientCredentials"}))
    own = until(call, lambda answer: answer.status == 200)
    assert (claims(own)["sub"], claims(own)["aud"]) == ("service-account-weather", "tool")


def test_without_a_registration_nothing_is_exchanged(
    app: PodRunner, api: ApiClient, namespace: str, tools: Seen, mine: str
) -> None:
    """503 and a sentence until the client id appears; never the caller's token."""
    shared = app.volumes.folder("kagenti-shared")
    client = (shared / "client-id.txt").read_text()
    (shared / "client-id.txt").unlink()
    apply_runtime(api, namespace, outbound(TOOL_RULE))

    def call() -> Answer:
        return call_out(app, f"http://{TOOL}:{tools.port}/", token=mine)

    waiting = until(call, lambda answer: answer.status == 503)
    assert "NotRegistered" in str(waiting.body)
    reached = len(tools.requests)
    assert call().status == 503
    assert len(tools.requests) == reached
    (shared / "client-id.txt").write_text(client)
    assert claims(until(call, lambda answer: answer.status == 200))["aud"] == "tool"
