"""A namespace that moves to another realm: pods stay whole, in the realm in which their client is registered."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.admission import manifests
from tests.e2e.api_client import ApiClient
from tests.e2e.controller.conftest import Statuses
from tests.e2e.installed import RELEASE_NAMESPACE
from tests.e2e.operator_process import Operator
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import PodRunner
from tests.e2e.xds.calls import ask, call_out
from tests.e2e.xds.servers import Seen, echoing
from tests.e2e.xds.settings import apply_runtime, outbound, rule
from tests.e2e.xds.test_inbound import audience
from tests.e2e.xds_process import Xds
from tests.oidc import Client, Key, Oidc

JSON = Any  # a status, as received

TOOL = "tool.tools.svc"
KEYCLOAK = ("adminCredentialsSecret", "realm", "url")
MOVED = [*(f"identity.clientRegistration.keycloak.{key}" for key in KEYCLOAK), "identity.spiffe.jwtAudience"]
"""The restart settings that the move changes; the last one is derived from the issuer."""


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


@pytest.fixture
def statuses(api: ApiClient) -> Statuses:
    """Statuses of the cluster's objects."""
    return Statuses(api)


@pytest.fixture
def operator(xds: Xds, api: ApiClient) -> Iterator[Operator]:
    """A leading operator, for which the xDS replica is a pod that exists; else it would prune its entries."""
    assert api.create(manifests.pod(RELEASE_NAMESPACE, xds.replica)).ok
    found = Operator(xds.installation)
    try:
        yield found.start()
    finally:
        found.stop()
        api.delete("Pod", RELEASE_NAMESPACE, xds.replica)


def exchanges_at(provider: Oidc, pod: PodRunner, tools: Seen) -> bool:
    """Whether the pod's next outbound call, with a token of that realm, is exchanged there."""
    before = len(provider.token_requests())
    token = provider.token(aud="weather", azp="weather")
    answer = call_out(pod, f"http://{TOOL}:{tools.port}/", token=token)
    return answer.status == 200 and len(provider.token_requests()) == before + 1


def name_of(pod: PodRunner) -> str:
    """The pod's name."""
    return str(pod.pod["metadata"]["name"])


def test_running_pods_stay_in_their_realm(
    run_pod: Callable[..., PodRunner],
    xds: Xds,
    operator: Operator,
    api: ApiClient,
    cluster: ControlPlane,
    statuses: Statuses,
    namespace: str,
    idp: Oidc,
    moved: Oidc,
    tools: Seen,
    node: str,
) -> None:
    """Policy, exchange and client together; live settings still reach them; new pods are of the new realm alone.

    The AgentRuntime's status names the pods that are still in the old one, and the settings.
    """
    apply_runtime(api, namespace, outbound(rule(TOOL, "tool", "tool-scope")))
    old = run_pod(names={TOOL: node})
    statuses.until_condition(namespace, "weather", "Ready", ("True", "AsDesired"))
    mine = audience(namespace)
    assert ask(old.address, 8081, token=idp.token(aud=mine)).status == 200
    keycloak = {"url": moved.url, "realm": moved.realm, "adminCredentialsSecret": "moved-admin"}
    validation = {"requiredScopes": ["agent:moved"]}
    identity = {"clientRegistration": {"keycloak": keycloak}, "inbound": {"validation": validation}}
    assert api.merge("AgentRuntimeConfig", namespace, "default", {"spec": {"identity": identity}}).ok
    wait_until(
        lambda: ask(old.address, 8081, token=idp.token(aud=mine)).status == 403, 30, lambda: "the change is not here"
    )
    new = run_pod(names={TOOL: node}, client=("weather", "moved-secret"))
    for pod, own, other in ((old, idp, moved), (new, moved, idp)):
        assert ask(pod.address, 8081, token=own.token(aud=mine, scope="agent:moved")).status == 200
        assert ask(pod.address, 8081, token=other.token(aud=mine, scope="agent:moved")).status == 401
        others = len(other.token_requests())
        assert exchanges_at(own, pod, tools)
        assert len(other.token_requests()) == others
    following = {uid: found["keys"] for found in xds.debug("snapshots") for uid in found["pods"]}
    assert following[old.pod["metadata"]["uid"]] == idp.jwks_url
    assert following[new.pod["metadata"]["uid"]] == moved.jwks_url
    status_names(statuses, namespace, name_of(old), propagated_to=2)
    table = cluster.kubectl("get", "agentruntime", "weather", "-n", namespace, "-o", "wide")
    assert name_of(old) in table
    assert name_of(new) not in table
    assert api.delete("Pod", namespace, name_of(old)).ok
    statuses.until(namespace, "weather", lambda found: found["pods"]["stale"] == 0)


def status_names(statuses: Statuses, namespace: str, stale: str, *, propagated_to: int) -> None:
    """Waits until status names this stale pod of two and the settings of the move, all proxies being up to date.

    Each is waited for: the replica's entry and the operator's words are written apart, and before the new pod ran, the
    old one alone was "every proxy" too.
    """
    message = f"1 of 2 pods ({stale}) have older restart settings ({', '.join(MOVED)})"
    statuses.until(namespace, "weather", lambda found: acknowledged(found) == propagated_to)
    statuses.until_condition(namespace, "weather", "ConfigPropagated", ("True", "Propagated"))
    statuses.until_condition(namespace, "weather", "Ready", ("False", "StalePods"))
    status = statuses.until(namespace, "weather", lambda found: found["message"] == message)
    counted = {state: status["pods"][state] for state in ("total", "current", "stale")}
    assert counted == {"total": 2, "current": 1, "stale": 1}
    assert status["config"]["restartFields"] == MOVED


def acknowledged(status: JSON) -> int:
    """Proxies that have acknowledged the configuration, by all entries."""
    return sum(entry["acked"] for entry in status.get("propagation") or ())
