"""Inbound traffic of a real pod: validation as the layers say, changed without restart, through the real interception."""

from collections.abc import Callable

from tests.e2e.api_client import ApiClient
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import PodRunner
from tests.e2e.xds.calls import ask
from tests.oidc import Oidc


def audience(namespace: str, account: str = "default") -> str:
    """The audience ``self`` of a workload with SPIFFE on."""
    return f"spiffe://cluster.local/ns/{namespace}/sa/{account}"


def test_a_token_decides(run_pod: Callable[..., PodRunner], namespace: str, idp: Oidc, api: ApiClient) -> None:
    """No token 401, another audience 403, a scope missing 403, a good token 200; a new audience without restart."""
    pod = run_pod()
    mine = audience(namespace)
    assert ask(pod.address, 8081).status == 401
    assert ask(pod.address, 8081, token=idp.token(aud="other")).status == 403
    good = ask(pod.address, 8081, token=idp.token(aud=mine))
    assert (good.status, good.body["port"]) == (200, 8081)
    change = {
        "spec": {"identity": {"inbound": {"validation": {"audience": "another", "requiredScopes": ["agent:invoke"]}}}}
    }
    assert api.merge("AgentRuntimeConfig", namespace, "default", change).ok
    wait_until(
        lambda: ask(pod.address, 8081, token=idp.token(aud="another", scope="agent:invoke x")).status == 200,
        30,
        lambda: "the new audience is not accepted",
    )
    assert ask(pod.address, 8081, token=idp.token(aud=mine, scope="agent:invoke")).status == 403
    assert ask(pod.address, 8081, token=idp.token(aud="another", scope="agent:invoked")).status == 403
