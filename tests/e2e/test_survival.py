"""Failing closed must be survivable: with no webhook the cluster starts from nothing, and without our namespace it forgets us."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.e2e.admission.manifests import pod, runtime, workload
from tests.e2e.admission.observed import bare, injected
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import RELEASE_NAMESPACE, Installed, Options
from tests.e2e.operator_process import Operator
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received
MARK = {"kagenti.io/inject": "enabled"}
TEAM = "survivors"
KINDS = ("mutatingwebhookconfiguration", "validatingwebhookconfiguration")
ALWAYS = ("kube-system", "kube-public", "kube-node-lease", RELEASE_NAMESPACE)
"""Namespaces whose pods never wait for us."""


@pytest.fixture(scope="module")
def place() -> Iterator[ControlPlane]:
    """A plane of its own: its release's namespace is deleted."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="module")
def api(place: ControlPlane) -> Iterator[ApiClient]:
    """Its administrator."""
    client = ApiClient(place)
    yield client
    client.close()


@pytest.fixture(scope="module")
def installation(place: ControlPlane, api: ApiClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The default values, and an enrolled namespace."""
    made = Installed(place, Options(), folder=tmp_path_factory.mktemp("kagenti"))
    made.start()
    labels = {"kagenti.io/enrolled": "true"}
    assert api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM, "labels": labels}}).ok
    yield made
    made.webhook.stop()


def running(api: ApiClient, namespace: str, app: str) -> list[JSON]:
    """The running pods of an app."""
    found = api.items("Pod", namespace, labelSelector=f"app={app}")
    return [each for each in found if each["status"].get("phase") == "Running"]


def told(api: ApiClient, app: str) -> str:
    """What events say of pods of an app that could not be created."""
    events = api.request("GET", f"/api/v1/namespaces/{TEAM}/events").body["items"]
    named = [each for each in events if each["involvedObject"]["name"].startswith(app)]
    return " ".join(each["message"] for each in named if each["reason"] == "FailedCreate")


def test_with_every_webhook_down_only_triggered_pods_wait(
    installation: Installed, place: ControlPlane, api: ApiClient
) -> None:
    """System namespaces and our own start pods, labelled or not; triggered ones wait, say for what, and come up injected."""
    installation.webhook.stop()
    for namespace in ALWAYS:
        assert api.create(workload("Deployment", namespace, "vital", labels=MARK)).ok
    assert api.create(workload("DaemonSet", "kube-system", "cni")).ok
    assert api.create(workload("Deployment", "default", "plain")).ok
    assert api.create(runtime(TEAM, "by-runtime", kind="Deployment", target="by-runtime")).ok, (
        "our kinds can be written"
    )
    for name, labels in (("by-label", MARK), ("by-runtime", None)):
        assert api.create(workload("Deployment", TEAM, name, labels=labels)).ok
    for namespace, app in [
        *((namespace, "vital") for namespace in ALWAYS),
        ("kube-system", "cni"),
        ("default", "plain"),
    ]:
        wait_until(lambda: running(api, namespace, app), 20, lambda: f"{namespace}/{app} waits for us")  # noqa: B023
        assert all(bare(found) for found in running(api, namespace, app))
    for app, entry in (("by-label", "inject-label.kagenti.io"), ("by-runtime", "inject-cr.kagenti.io")):
        wait_until(lambda: f'failed calling webhook "{entry}"' in told(api, app), 20, lambda: told(api, app))  # noqa: B023
        assert running(api, TEAM, app) == []
    installation.webhook.start()
    for app in ("by-label", "by-runtime"):
        wait_until(lambda: running(api, TEAM, app), 60, lambda: f"{app} does not come up: {told(api, app)}")  # noqa: B023
        assert all(injected(found) for found in running(api, TEAM, app))


def owners(place: ControlPlane) -> list[list[tuple[str, str]]]:
    """Kind and name of the owners of both configurations."""
    listed = orjson.loads(place.kubectl("get", ",".join(KINDS), "-o", "json"))["items"]
    return [
        [(each["kind"], each["name"]) for each in item["metadata"].get("ownerReferences") or ()]
        for item in listed
        if "kagenti" in item["metadata"]["name"]
    ]


def test_the_release_namespace_owns_the_configurations_and_takes_them_along(
    installation: Installed, place: ControlPlane, api: ApiClient
) -> None:
    """Once the operator runs. Then everything of ours is gone at once, and no pod of anybody waits for it."""
    assert owners(place) == [[], []]
    operator = Operator(installation)
    operator.start()
    owned = [[("Namespace", RELEASE_NAMESPACE)]] * 2
    wait_until(lambda: owners(place) == owned, 30, lambda: f"{owners(place)}: {operator.log.read_text()[-1500:]}")
    operator.kill()
    installation.webhook.stop()
    before = running(api, TEAM, "by-label")
    assert not api.create(pod(TEAM, "waits", label="enabled")).ok
    # The namespace controller looks again after half of the pods' grace: 16 s, or twice that.
    place.kubectl("delete", "namespace", RELEASE_NAMESPACE, "--timeout=60s")
    wait_until(lambda: owners(place) == [], 30, lambda: f"still there: {owners(place)}")
    wait_until(lambda: api.create(pod(TEAM, "free", label="enabled")).ok, 20, lambda: "pods still wait")
    assert [found["metadata"]["uid"] for found in running(api, TEAM, "by-label")] == [
        found["metadata"]["uid"] for found in before
    ]
    guarded = api.merge(
        "Pod", TEAM, before[0]["metadata"]["name"], {"metadata": {"labels": {"kagenti.io/managed": None}}}
    )
    assert "kagenti.io/managed" in guarded.message, "the guards hold by the API server alone"
    place.kubectl("delete", "namespace", TEAM, "--timeout=60s")


def test_what_is_left_is_named_and_holds_up_nothing(place: ControlPlane) -> None:
    """Roles, policies and the CRDs are nobody's children: docs/install.md says how to delete them. None calls anybody."""
    kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
    left = [name for name in place.kubectl("get", kinds, "-o", "name").split() if "kagenti" in name]
    assert left
    page = (Path(__file__).resolve().parents[2] / "docs" / "install.md").read_text()
    command = next(line for line in page.splitlines() if line.startswith("kubectl delete clusterroles,"))
    place.kubectl(*command.split()[1:])
    left = [name for name in place.kubectl("get", kinds, "-o", "name").split() if "kagenti" in name]
    assert left == []
