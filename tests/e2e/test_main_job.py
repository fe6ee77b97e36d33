"""The main job on any cluster: real controllers' pods come out injected by label and by AgentRuntime, and untouched by neither.

On kind the webhook is the chart's own Deployment, from the image of the Dockerfile, under a real kubelet.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.admission.manifests import runtime, workload
from tests.e2e.admission.observed import bare, injected, receipt
from tests.e2e.api_client import ApiClient
from tests.e2e.plane.access import Plane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received
NAMESPACE = "main-job"
DEADLINE = 60  # seconds; on kind the controllers share one machine with everything else

pytestmark = [pytest.mark.any_cluster, pytest.mark.usefixtures("kagenti")]


@pytest.fixture(scope="module")
def api(cluster: Plane, kagenti: None) -> Iterator[ApiClient]:
    """A client of the API server, with an enrolled namespace."""
    client = ApiClient(cluster)
    metadata = {"name": NAMESPACE, "labels": {"kagenti.io/enrolled": "true"}}
    answer = client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    assert answer.ok, answer.message
    yield client
    client.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}")


def made_pod(api: ApiClient, name: str) -> JSON:
    """Returns the pod that the controller made for that app."""
    found: list[JSON] = []

    def there() -> bool:
        found[:] = api.items("Pod", NAMESPACE, labelSelector=f"app={name}")
        return bool(found)

    wait_until(there, DEADLINE, lambda: f"no pod of {name}")
    return found[0]


def test_by_label(api: ApiClient) -> None:
    """The label on the pod template triggers."""
    answer = api.create(workload("Deployment", NAMESPACE, "by-label", labels={"kagenti.io/inject": "enabled"}))
    assert answer.ok, answer.message
    pod = made_pod(api, "by-label")
    assert injected(pod)
    assert receipt(pod)["trigger"] == "Label"


def test_by_agent_runtime(api: ApiClient) -> None:
    """An AgentRuntime next to a clean Deployment triggers; strict mode needs no pause between the two."""
    for manifest in (
        runtime(NAMESPACE, "by-runtime", kind="Deployment", target="by-runtime", type="agent"),
        workload("Deployment", NAMESPACE, "by-runtime"),
    ):
        answer = api.create(manifest)
        assert answer.ok, answer.message
    pod = made_pod(api, "by-runtime")
    assert injected(pod)
    assert receipt(pod)["trigger"] == "AgentRuntime"


def test_by_neither(api: ApiClient) -> None:
    """Nothing asked for it, nothing is on it."""
    answer = api.create(workload("Deployment", NAMESPACE, "by-neither"))
    assert answer.ok, answer.message
    assert bare(made_pod(api, "by-neither"))


def test_what_means_nothing_is_denied(api: ApiClient) -> None:
    """A value of the label that means nothing keeps the pod out, with the reason in the answer."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "odd", "namespace": NAMESPACE, "labels": {"kagenti.io/inject": "perhaps"}},
        "spec": {"containers": [{"name": "app", "image": "example/app:1"}]},
    }
    answer = api.create(manifest, dry_run=True)
    assert answer.status == 403
    assert "InvalidLabel" in answer.message
