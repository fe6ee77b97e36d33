"""Who a stream is: the pod that its token proves, and never another one."""

import logging
from typing import Any

import pytest

from kagenti import errors
from kagenti.core.store import Apply, Delete
from kagenti.core.workload import WorkloadRef
from kagenti.kube import OwnerReader, StoredPod
from kagenti.xds.identity import PodAuthenticator, PodIdentity
from kagenti.xds.pods import Pods
from kagenti.xds.reviews import PATH, TokenReviewer
from kagenti.xds.session import Refused
from kagenti.xds.tokens import JWKS_PATH, ClusterKeys, TokenVerifier
from tests.oidc import Key
from tests.unit.xds.cluster import NOW, SIGNER, FakeApi, claims, jwks, pod, token

JSON = Any  # API objects

REPLICA_SET = "/apis/apps/v1/namespaces/team1/replicasets/weather-5d8f"
POD = "/api/v1/namespaces/team1/pods/weather-1"
DEPLOYMENT = WorkloadRef("apps", "Deployment", "team1", "weather")
OWNED: JSON = {
    "metadata": {
        "name": "weather-5d8f",
        "uid": "rs-1",
        "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather", "uid": "d-1", "controller": True}
        ],
    }
}


def _as_sent(**metadata: JSON) -> JSON:
    """Returns the pod of ``cluster.pod`` as a GET answers it."""
    base = {
        "name": "weather-1",
        "namespace": "team1",
        "uid": "pod-1",
        "labels": {"kagenti.io/managed": "true"},
        "annotations": {"kagenti.io/injected": "{}"},
    }
    return {"metadata": base | metadata, "spec": {"serviceAccountName": "weather"}, "status": {"phase": "Pending"}}


class Bench:
    """An authenticator over an API server by script."""

    def __init__(self, *pods: StoredPod, **objects: JSON) -> None:
        self.api = FakeApi({JWKS_PATH: jwks(SIGNER), REPLICA_SET: OWNED} | objects)
        logger = logging.Logger("test")
        self.pods = Pods(self.api, OwnerReader(self.api), logger=logger)
        for found in pods:
            self.pods.store.apply(Apply(found))
        verifier = TokenVerifier(ClusterKeys(self.api, logger=logger), clock=lambda: NOW)
        reviewer = TokenReviewer(self.api, clock=lambda: NOW)
        self.authenticator = PodAuthenticator(verifier, reviewer, self.pods)

    async def __call__(self, text: str) -> PodIdentity:
        return await self.authenticator.authenticate(text, "ipv4:10.0.0.7:1234")


async def test_pod_workload_and_end_from_the_token_alone() -> None:
    """Keys and owner are read once; the pod comes from the cache."""
    bench = Bench(pod())
    identity = await bench(f"Bearer {token()}")
    assert (identity.pod, identity.workload, identity.expires_at) == (pod(), DEPLOYMENT, NOW + 3600)
    assert identity.node_id == "team1/weather-1/pod-1"
    assert bench.api.asked == [JWKS_PATH, REPLICA_SET]


async def test_a_pod_newer_than_the_cache_costs_one_get() -> None:
    """Its Envoy may be faster than our watch."""
    bench = Bench(**{POD: _as_sent()})
    identity = await bench(f"bearer {token()}")
    assert (identity.pod.uid, identity.workload) == ("pod-1", WorkloadRef("", "Pod", "team1", "weather-1"))
    assert bench.api.asked.count(POD) == 1


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "token", "Bearer \udcff", "Bearer a\tb"]
)
async def test_no_token_is_refused(header: str) -> None:
    """Nothing is asked of anybody."""
    bench = Bench(pod())
    with pytest.raises(Refused, match="no bearer token"):
        await bench(header)
    assert bench.api.asked == []


@pytest.mark.parametrize(
    ("stored", "read", "said", "reason"),
    [
        (None, None, "does not exist", "a pod that was deleted, whose token lives on"),
        (None, {"uid": "pod-2"}, "does not exist", "another pod of that name has taken its place"),
        (pod("pod-2"), {"uid": "pod-2"}, "does not exist", "so the cache knows too"),
        (None, {"labels": {}}, "not injected", "a token of our audience makes no managed pod"),
        (None, {"annotations": {}}, "not injected", "nor does our label alone"),
        (pod(receipt=None), None, "not injected", "in the cache as well"),
        (pod(account="admin"), None, "another service account", "the token is of another account than the pod"),
        (pod(phase="Succeeded"), None, "has ended", "its containers are gone, its token is not"),
        (pod(name="other"), None, "not the one", "the uid is another pod's"),
    ],
)
async def test_tokens_of_other_pods_are_refused(stored: StoredPod | None, read: JSON, said: str, reason: str) -> None:
    """The uid decides, and the pod must be what the token says of it."""
    bench = Bench(*([stored] if stored else []), **({POD: _as_sent(**read)} if read else {}))
    with pytest.raises(Refused, match=said):
        await bench(f"Bearer {token()}")


async def test_an_outage_is_no_refusal() -> None:
    """Envoy comes again: UNAVAILABLE, not UNAUTHENTICATED."""
    with pytest.raises(errors.ClusterError):
        await Bench(**{POD: errors.Unreachable("down")})(f"Bearer {token()}")
    with pytest.raises(errors.ClusterError):
        await Bench(pod(), **{REPLICA_SET: errors.Unreachable("down")})(f"Bearer {token()}")


async def test_the_api_server_is_asked_where_keys_are_not_to_be_had() -> None:
    """TokenReview, and then the same checks of the pod."""
    extra = {
        "authentication.kubernetes.io/pod-name": ["weather-1"],
        "authentication.kubernetes.io/pod-uid": ["pod-1"],
    }
    user = {"username": "system:serviceaccount:team1:weather", "extra": extra}
    status = {"authenticated": True, "audiences": ["kagenti-xds"], "user": user}
    bench = Bench(pod(), **{JWKS_PATH: errors.NotFound("404"), PATH: {"status": status}})
    assert (await bench(f"Bearer {token()}")).workload == DEPLOYMENT
    bench.pods.store.apply(Delete(pod()))
    with pytest.raises(Refused, match="does not exist"):
        await bench(f"Bearer {token()}")


async def test_a_strangers_signature_is_refused() -> None:
    """Not published, and the API server does not accept it either."""
    bench = Bench(pod(), **{PATH: {"status": {"authenticated": False}}})
    with pytest.raises(Refused, match="does not accept"):
        await bench(f"Bearer {token(Key('stranger'))}")


async def test_an_annotation_never_names_the_workload() -> None:
    """Owner references do (spec 03); a label of another workload changes nothing."""
    mine = _as_sent(labels={"kagenti.io/managed": "true", "app": "payroll", "kagenti.io/workload": "payroll"})
    identity = await Bench(**{POD: mine})(f"Bearer {token()}")
    assert identity.workload.name == "weather-1"


def test_claims_are_those_of_the_pod() -> None:
    """The bench's token is the pod's own."""
    assert claims()["kubernetes.io"]["pod"]["uid"] == pod().uid
