"""Who gets which snapshot: a hostile client with tokens that are real, stolen, old, forged or somebody else's."""

import asyncio
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from tests.e2e.admission.manifests import workload
from tests.e2e.api_client import ApiClient
from tests.e2e.audit import OURS, requests
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until
from tests.e2e.xds.conftest import pod_of
from tests.e2e.xds.streams import contents, node_id, refusal, stream, token_of
from tests.e2e.xds.test_inbound import audience
from tests.e2e.xds_process import Xds

JSON = Any  # a raw pod


@pytest.fixture
def pods(xds: Xds, api: ApiClient, cluster: ControlPlane, namespace: str) -> dict[str, JSON]:
    """Two injected pods of two workloads under accounts of their own; what is theirs can be told by its audience."""
    for name in ("weather", "payroll"):
        cluster.kubectl("create", "serviceaccount", name, "-n", namespace)
        manifest = workload("Deployment", namespace, name, labels={"kagenti.io/inject": "enabled"})
        manifest["spec"]["template"]["spec"]["serviceAccountName"] = name
        answer = api.create(manifest)
        assert answer.ok, answer.message
    return {name: pod_of(api, namespace, name) for name in ("weather", "payroll")}


def expired(cluster: ControlPlane, token: str) -> str:
    """Returns that token as it was an hour ago: signed by the cluster's own key, and over."""
    claims = jwt.decode(token, options={"verify_signature": False})
    old = {**claims, **{key: claims[key] - 7200 for key in ("iat", "nbf", "exp")}}
    kid = jwt.get_unverified_header(token)["kid"]
    return jwt.encode(old, (cluster.folder / "sa.key").read_text(), algorithm="RS256", headers={"kid": kid})


def of_another_key(cluster: ControlPlane, token: str) -> str:
    """Returns that token under the name of a key that the cluster does not publish: only the API server can tell."""
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(
        claims, (cluster.folder / "sa.key").read_text(), algorithm="RS256", headers={"kid": "unpublished"}
    )


def forged(token: str) -> str:
    """Returns that token with a signature that is not its own."""
    head, _, signature = token.rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


async def test_a_token_opens_its_own_pods_snapshot_and_no_other(
    pods: dict[str, JSON], xds: Xds, cluster: ControlPlane, namespace: str
) -> None:
    """Whatever the client says of itself: a node id of our shape must be its own, another means nothing."""
    theirs = {name: audience(namespace, name).encode() for name in pods}
    for name, other in (("weather", "payroll"), ("payroll", "weather")):
        token = token_of(cluster, pods[name])
        for node in (node_id(pods[name]), "auth-proxy"):
            async with stream(xds, token, node=node) as client:
                await client.until(lambda: theirs[name] in contents(client), 20)  # noqa: B023  # within the turn
                assert theirs[other] not in contents(client)
        assert "node id" in await refusal(xds, token, node=node_id(pods[other]))


@pytest.mark.parametrize(
    ("bearer", "message"),
    [
        (lambda *_: "", "no bearer token"),
        (lambda plane, pod: token_of(plane, pod, audience="somebody-else"), "not for audience"),
        (lambda plane, pod: expired(plane, token_of(plane, pod)), "expired"),
        (lambda plane, pod: forged(token_of(plane, pod)), "signature does not hold"),
        (lambda plane, pod: of_another_key(plane, token_of(plane, pod)), "the API server does not accept the token"),
        (
            lambda plane, pod: plane.kubectl(
                "create", "token", "weather", "-n", pod["metadata"]["namespace"], "--audience=kagenti-xds"
            ).strip(),
            "not bound to a pod",
        ),
    ],
    ids=["none", "another audience", "expired", "forged", "of another key", "of an account alone"],
)
async def test_what_is_no_token_of_the_pod_is_refused(
    bearer: Callable[[ControlPlane, JSON], str], message: str, pods: dict[str, JSON], xds: Xds, cluster: ControlPlane
) -> None:
    """With a sentence, and without one resource."""
    pod = pods["weather"]
    assert message in await refusal(xds, bearer(cluster, pod), node=node_id(pod))


async def test_a_deleted_pods_token_opens_nothing(
    pods: dict[str, JSON], xds: Xds, api: ApiClient, cluster: ControlPlane, namespace: str
) -> None:
    """The token is good for an hour more, but its pod is gone."""
    pod = pods["weather"]
    token, name = token_of(cluster, pod), pod["metadata"]["name"]
    assert api.delete("Pod", namespace, name).ok
    wait_until(lambda: not api.get("Pod", namespace, name).ok, 30, lambda: "the pod stays")

    told = ""
    async with asyncio.timeout(20):
        while "does not exist" not in told:  # the server's watch may be a moment behind
            async with stream(xds, token, node=node_id(pod)) as client:
                await client.until(lambda: client.status is not None or client.resources > 0, 20)
                told = client.status[1] if client.status else ""
    assert "does not exist" in await refusal(xds, token, node=node_id(pod))


def test_the_owner_of_a_jobs_pod_is_asked_for_once(
    xds: Xds, api: ApiClient, cluster: ControlPlane, namespace: str
) -> None:
    """Under the server's own account: whose workload it is, the Job's own reference says."""
    account = f"{OURS}kagenti-xds"
    manifest = workload("Job", namespace, "batch", labels={"kagenti.io/inject": "enabled"})
    assert api.create(manifest).ok

    def asked() -> list[tuple[str, str, int]]:
        found = requests(cluster.audit_log, user=account, namespace=namespace)
        return [(each.verb, each.name, each.code) for each in found if each.resource == "jobs"]

    def complete() -> bool:
        return bool((api.get("Job", namespace, "batch").body.get("status") or {}).get("succeeded"))

    wait_until(asked, 30, lambda: "the Job is not asked for")
    wait_until(complete, 30, lambda: "the Job does not end")  # its pod has had all its versions: none asks again
    assert asked() == [("get", "batch", 200)]
