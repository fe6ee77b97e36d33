"""A namespace that moves to another realm: pods stay whole, in the realm in which their client is registered."""

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.api_client import ApiClient
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import PodRunner
from tests.e2e.xds.calls import ask, call_out
from tests.e2e.xds.servers import Seen, echoing
from tests.e2e.xds.settings import apply_runtime, outbound, rule
from tests.e2e.xds.test_inbound import audience
from tests.e2e.xds_process import Xds
from tests.oidc import Client, Key, Oidc

TOOL = "tool.tools.svc"


@pytest.fixture
def moved(node: str) -> Iterator[Oidc]:
    """The realm to which the namespace moves: another issuer, other keys, another client of the same name."""
    client = Client("weather", secret="moved-secret", scopes={"tool-scope": "tool"})
    with Oidc(client, realm="moved", audiences=("tool",), host=node) as provider:
        provider.keys = [Key("moved")]
        yield provider


@pytest.fixture
def tools(node: str) -> Iterator[Seen]:
    """A server on the node's address."""
    with echoing(node) as seen:
        yield seen


def exchanges_at(provider: Oidc, pod: PodRunner, tools: Seen) -> bool:
    """Whether the pod's next outbound call, with a token of that realm, is exchanged there."""
    before = len(provider.token_requests())
    token = provider.token(aud="weather", azp="weather")
    answer = call_out(pod, f"http://{TOOL}:{tools.port}/", token=token)
    return answer.status == 200 and len(provider.token_requests()) == before + 1


def test_running_pods_stay_in_their_realm(
    run_pod: Callable[..., PodRunner],
    xds: Xds,
    api: ApiClient,
    namespace: str,
    idp: Oidc,
    moved: Oidc,
    tools: Seen,
    node: str,
) -> None:
    """Policy, exchange and client together; live settings still reach them; new pods are of the new realm alone."""
    for name in ("old", "new"):
        apply_runtime(api, namespace, outbound(rule(TOOL, "tool", "tool-scope")), name)
    old = run_pod("old", names={TOOL: node})
    mine = audience(namespace)
    assert ask(old.address, 8081, token=idp.token(aud=mine)).status == 200
    keycloak = {"url": moved.url, "realm": moved.realm, "adminCredentialsSecret": "moved-admin"}
    validation = {"requiredScopes": ["agent:moved"]}
    identity = {"clientRegistration": {"keycloak": keycloak}, "inbound": {"validation": validation}}
    assert api.merge("AgentRuntimeConfig", namespace, "default", {"spec": {"identity": identity}}).ok
    wait_until(
        lambda: ask(old.address, 8081, token=idp.token(aud=mine)).status == 403, 15, lambda: "the change is not here"
    )
    new = run_pod("new", names={TOOL: node}, client=("weather", "moved-secret"))
    for pod, own, other in ((old, idp, moved), (new, moved, idp)):
        assert ask(pod.address, 8081, token=own.token(aud=mine, scope="agent:moved")).status == 200
        assert ask(pod.address, 8081, token=other.token(aud=mine, scope="agent:moved")).status == 401
        others = len(other.token_requests())
        assert exchanges_at(own, pod, tools)
        assert len(other.token_requests()) == others
    # Which pods are of which realm: /debug/snapshots, until the operator names the stale ones in status.
    following = {uid: found["keys"] for found in xds.debug("snapshots") for uid in found["pods"]}
    assert following[old.pod["metadata"]["uid"]] == idp.jwks_url
    assert following[new.pod["metadata"]["uid"]] == moved.jwks_url
