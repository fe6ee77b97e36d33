"""Certificates that the operator manages, on the real API server: rotation and roll-out while pods are being created."""

import base64
import datetime
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from kagenti import errors
from kagenti.core.certificates import bundle_of, patch_of, read
from kagenti.kube import KubeClient
from kagenti.kube.connection import connect
from kagenti.operator.certificates.issue import Pair, new_authority, new_leaf
from kagenti.operator.certificates.keeper import MANAGER
from tests.e2e.audit import OURS, READS, requests
from tests.e2e.certificates.load import Load
from tests.e2e.certificates.stage import HOST, INJECTOR, OVERLAP, SECRETS, VALIDATOR, Stage
from tests.e2e.installed import RELEASE_NAMESPACE, Installed
from tests.e2e.plane.control_plane import ControlPlane

JSON = Any  # Kubernetes objects

DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def stage(
    cluster: ControlPlane, install: Callable[..., Installed], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """The installation with certificates of its own, without any yet."""
    with Stage(cluster, tmp_path_factory.mktemp("certificates"), install(mode="both")) as stage:
        yield stage


def test_a_new_installation_gets_its_certificates(stage: Stage) -> None:
    """Both CAs and both leaves, the caBundle of every entry, and nothing else in the configurations."""
    stage.register()
    left = 'kagenti_operator_certificate_seconds_left{certificate="ca",of="xds"}'
    with stage.operator() as operator:
        stage.until(lambda: stage.material("xds").leaf, 15, "no certificate for the xDS server")
        # Shown once the look that made them has ended; one that failed, of the webhook's too, is repeated after two seconds.
        stage.until(lambda: operator.metric(left) > 3640 * 86400, 15, "no CA of ten years among the figures")
        stage.until(lambda: _published(stage), 15, "the caBundle is not the webhook's CA everywhere")
    webhook, xds = stage.material("webhook"), stage.material("xds")
    assert webhook.leaf is not None
    assert HOST in webhook.leaf.names
    assert webhook.signing not in xds.anchors
    for path in (INJECTOR, VALIDATOR):
        found = stage.api.request("GET", path).body
        assert bundle_of(found) == webhook.anchors
        (ours,) = [entry for entry in found["metadata"]["managedFields"] if entry["manager"] == MANAGER]
        assert list(ours["fieldsV1"]) == ["f:webhooks"]
        for owned in ours["fieldsV1"]["f:webhooks"].values():
            assert owned == {"f:clientConfig": {"f:caBundle": {}}}


def test_the_mode_is_switched_by_a_tool_that_applies_server_side(stage: Stage) -> None:
    """To one entry and back, as Helm 4, Flux and Argo CD do: we keep no entry alive, and the caBundle is filled in again."""
    stage.install()
    stage.register(mode="label")
    assert [entry["name"] for entry in stage.injector()["webhooks"]] == ["inject-label.kagenti.io"]
    stage.register()
    assert bundle_of(stage.injector()) == ()
    with stage.operator():
        stage.until(lambda: bundle_of(stage.injector()) == stage.material("webhook").anchors, 15, "no caBundle again")


async def test_a_deleted_configuration_is_not_made_again(stage: Stage) -> None:
    """What was read before ``helm uninstall`` deleted it cannot bring it back, nor reach one that was made anew."""
    stage.install()
    patch = patch_of(
        stage.api.request("GET", VALIDATOR).body, read(new_authority("another", life=DAY, now=_now()).certificate)
    )
    kind = "application/json-patch+json"
    stage.api.request("DELETE", VALIDATOR)
    async with KubeClient(connect(str(stage.plane.kubeconfig))) as client:
        with pytest.raises(errors.NotFound):
            await client.request("PATCH", VALIDATOR, body=orjson.dumps(patch), content_type=kind)
        assert stage.api.request("GET", VALIDATOR).status == 404
        stage.register()
        with pytest.raises(errors.ClusterError):
            await client.request("PATCH", VALIDATOR, body=orjson.dumps(patch), content_type=kind)
    assert bundle_of(stage.api.request("GET", VALIDATOR).body) == ()


def test_no_secret_but_ours_can_be_made_or_read(stage: Stage) -> None:
    """RBAC knows the name in a server-side apply; any other name, and a POST, is refused."""
    account = f"--as=system:serviceaccount:{RELEASE_NAMESPACE}:kagenti-operator"
    manifest = '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"other","namespace":"kagenti-system"}}'
    for command in (
        ("apply", "--server-side", account, "-f", "-"),
        ("create", account, "-f", "-"),
    ):
        with pytest.raises(RuntimeError, match="forbidden"):
            stage.plane.kubectl(*command, stdin=manifest)
    for verb, name in (("get", "other"), ("list", ""), ("watch", ""), ("delete", SECRETS[0]), ("update", SECRETS[0])):
        what = ("secrets", name) if name else ("secrets",)
        with pytest.raises(RuntimeError):
            stage.plane.kubectl("auth", "can-i", verb, "/".join(what), account, "-n", RELEASE_NAMESPACE, "--quiet")


def test_leaf_and_ca_rotate_while_pods_are_created(stage: Stage, team: Callable[..., str]) -> None:
    """Old enough to be renewed, then the CA deleted, then the leaf: 500 pods, no failure, none bare."""
    stage.install()
    old = _grow_old(stage)
    stage.fleet()
    begun = time.monotonic()
    with Load(stage.plane, team(), least=500) as load, stage.operator() as operator:
        for act in (_nothing, _delete_ca, _delete_leaf):
            act(stage)
            old = _another_leaf(stage, old, after=act.__name__)
        steps = {
            step: operator.metric(f'kagenti_operator_certificate_steps_total{{of="webhook",step="{step}"}}')
            for step in ("CreateSuccessor", "PromoteSuccessor", "CreateAuthority", "IssueLeaf")
        }
    assert load.faults == {}
    assert load.made >= 500
    assert time.monotonic() - begun > 2 * OVERLAP, "a new CA has signed before it was known"
    assert steps["CreateSuccessor"] == steps["PromoteSuccessor"] == steps["CreateAuthority"] == 1
    assert steps["IssueLeaf"] >= 3
    ports = {replica.port for replica in stage.replicas}
    # One look of the balancer that comes too late on a busy machine is none of theirs.
    stage.until(lambda: ports <= stage.balancer.ready, 15, "a replica is not ready at the end")


def test_replicas_are_replaced_while_pods_are_created(stage: Stage, team: Callable[..., str]) -> None:
    """As a Deployment does, one more first: 1,000 pods, no failure, none bare."""
    stage.install()
    stage.fleet()
    with Load(stage.plane, team(), least=1000) as load:
        for old in tuple(stage.replicas):
            stage.replica()
            stage.retire(old)
    assert load.faults == {}
    assert load.made >= 1000


def test_secrets_were_touched_by_the_operator_alone_and_by_name(stage: Stage) -> None:
    """The audit log: four Secrets of the release's namespace, read and applied; nobody else of us asked for one."""
    asked = [request for request in requests(stage.plane.audit_log, user=OURS) if request.resource == "secrets"]
    assert {request.user for request in asked} == {f"{OURS}kagenti-operator"}
    assert {(request.namespace, request.name) for request in asked} == {(RELEASE_NAMESPACE, name) for name in SECRETS}
    assert {request.verb for request in asked} == {"get", "patch"}
    assert {request.verb for request in requests(stage.plane.audit_log, user=f"{OURS}kagenti-webhook")} <= READS


def _published(stage: Stage) -> bool:
    """Whether there is a leaf for the webhook, and both configurations trust the CA beside it."""
    webhook = stage.material("webhook")
    bundles = [bundle_of(stage.api.request("GET", path).body) for path in (INJECTOR, VALIDATOR)]
    return webhook.leaf is not None and all(bundle == webhook.anchors for bundle in bundles)


def _another_leaf(stage: Stage, old: str, *, after: str) -> str:
    """Waits until every replica shows one leaf, another than ``old``, and no change of CA is under way; returns its fingerprint."""
    seen = [""]

    def shown() -> str:
        found = stage.material("webhook")
        if found.leaf is None or found.signing is None or found.successor is not None:
            return ""
        try:
            served = {found.leaf.fingerprint, *(replica.served() for replica in stage.replicas)}
        except OSError:  # no answer within its time, on a busy machine
            return ""
        return served.pop() if len(served) == 1 and found.leaf.issued_by(found.signing) else ""

    def another() -> bool:
        seen.append(shown())
        return seen[-1] not in ("", old)

    stage.until(another, 30, f"{after}: no other leaf")
    return seen[-1]


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _grow_old(stage: Stage) -> str:
    """Replaces the webhook's CA and leaf by such as have lived two thirds; returns the leaf's fingerprint."""
    authority = new_authority("kagenti webhook CA", life=365 * DAY, now=_now() - 250 * DAY)
    leaf = new_leaf({HOST, f"{HOST}.cluster.local"}, authority=authority, life=90 * DAY, now=_now() - 61 * DAY)
    for secret, pair, more in (
        ("kagenti-webhook-ca", authority, {}),
        ("kagenti-webhook-tls", leaf, {"ca.crt": authority.certificate}),
    ):
        stage.api.request("DELETE", stage.path(secret))
        answer = stage.api.request("POST", stage.path(secret).rpartition("/")[0], _secret(secret, pair, more))
        assert answer.ok, answer.message
    stage.register(bundle=authority.certificate)
    return read(leaf.certificate)[0].fingerprint


def _secret(name: str, pair: Pair, more: dict[str, bytes]) -> JSON:
    content = {"tls.crt": pair.certificate, "tls.key": pair.key, **more}
    data = {key: base64.b64encode(value).decode() for key, value in content.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "kubernetes.io/tls", "data": data}


def _nothing(stage: Stage) -> None:
    """The operator finds by itself what has grown old."""


def _delete_ca(stage: Stage) -> None:
    stage.api.request("DELETE", stage.path("kagenti-webhook-ca"))


def _delete_leaf(stage: Stage) -> None:
    stage.api.request("DELETE", stage.path("kagenti-webhook-tls"))
