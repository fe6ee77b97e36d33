"""Our kinds, or the whole installation, taken away under everybody: nothing is stuck, nothing stale, nothing on new pods."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.admission import manifests
from tests.e2e.admission.effects import stored
from tests.e2e.api_client import ApiClient
from tests.e2e.controller.conftest import Statuses
from tests.e2e.installed import ROOT, Installed
from tests.e2e.operator_process import Operator
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.ports import free_port
from tests.e2e.plane.waiting import wait_until
from tests.e2e.xds_process import Xds

JSON = Any  # a Kubernetes object

NOTHING = '_cache_objects{resource="agentruntimes"} 0.0\n'
CRDS = sorted((ROOT / "generated" / "crds").glob("*.yaml"))


@pytest.fixture
def processes(install: Callable[..., Installed]) -> Iterator[tuple[Operator, Xds]]:
    """The leading operator and an xDS server, beside the installation's webhook."""
    installation = install()
    operator = Operator(installation, "kagenti-operator-removal")
    xds = Xds(installation, address="127.0.0.1", replica="kagenti-xds-removal", port=free_port())
    try:
        xds.start(wait=False)
        operator.start()
        wait_until(xds.ready, 40, xds.log.read_text)
        yield operator, xds
    finally:
        operator.stop()
        xds.stop()


def create(api: ApiClient, *objects: JSON) -> None:
    """Creates them in this order."""
    for found in objects:
        answer = api.create(found)
        assert answer.ok, answer.message


def agent(api: ApiClient, namespace: str, name: str) -> None:
    """An AgentRuntime, then a Deployment that only it triggers."""
    create(
        api,
        manifests.runtime(namespace, name, kind="Deployment", target=name),
        manifests.workload("Deployment", namespace, name),
    )


def marks(pod: JSON) -> list[str]:
    """What a pod has of ours."""
    metadata, spec = pod["metadata"], pod["spec"]
    keys = (*metadata.get("annotations", {}), *metadata["labels"], *metadata.get("finalizers", ()))
    names = [one["name"] for one in (*spec.get("initContainers", ()), *spec["containers"])]
    return [key for key in keys if "kagenti" in key] + [name for name in names if name != "agent"]


def next_pod(api: ApiClient, namespace: str) -> JSON:
    """Deletes the one pod of a namespace; returns the one that its controller makes."""
    (pod,) = api.items("Pod", namespace)
    assert api.delete("Pod", namespace, pod["metadata"]["name"]).ok
    others: list[JSON] = []

    def made() -> bool:
        others[:] = [one for one in api.items("Pod", namespace) if one["metadata"]["uid"] != pod["metadata"]["uid"]]
        return bool(others)

    wait_until(made, 30, lambda: "no pod is made")
    return others[0]


def test_our_kinds_may_go_under_everybody_and_come_back(
    api: ApiClient, cluster: ControlPlane, team: Callable[..., str], statuses: Statuses, installation: Installed,
    processes: tuple[Operator, Xds],
) -> None:  # fmt: skip
    """Then the next pods are bare; the operator ends once, and waits; with the CRDs all of them work as before."""
    operator, xds = processes
    namespace = team()
    create(api, manifests.config(namespace, trace={"sampling": {"rate": 0.5}}))  # before the pod that is to have it
    agent(api, namespace, "weather")
    statuses.until(namespace, "weather", lambda found: (found.get("pods") or {}).get("current") == 1)
    names = [path.stem for path in CRDS]
    cluster.kubectl("delete", "crd", *names, "--timeout=60s")
    try:
        assert marks(next_pod(api, namespace)) == []
        wait_until(lambda: not operator.alive, 30, lambda: "the operator goes on without its kinds")
        operator.start(leads=False)  # as a kubelet does, once: it stands by, and says what for
        wait_until(lambda: "CRDs are missing" in operator.log.read_text(), 30, operator.log.read_text)
        assert not operator.leads
        assert xds.alive
        for page in (installation.webhook.get, xds.page):
            wait_until(lambda: NOTHING in (page("/metrics") or ""), 15, lambda: str(page("/metrics")))  # noqa: B023
    finally:
        cluster.kubectl("apply", "--server-side", "-f", str(CRDS[0].parent))
        cluster.kubectl("wait", "--for=condition=Established", "crd", *names, "--timeout=60s")
    # Each kind is served a moment after its CRD says so, and not all at once.
    stored(api, manifests.config(namespace, policy={"locked": ["trace"]}))
    stored(api, manifests.runtime(namespace, "weather", kind="Deployment", target="weather"))
    wait_until(lambda: operator.leads, 30, operator.log.read_text)
    # Bare by then, and replaced: operator and webhook agree about what the new objects say.
    statuses.until(namespace, "weather", lambda found: (found.get("pods") or {}).get("current") == 1, within=60)
    refused = manifests.runtime(namespace, "late", kind="Deployment", target="late", trace={"sampling": {"rate": 1}})
    wait_until(lambda: "locked" in api.create(refused, dry_run=True).message, 30, lambda: "the webhook's config is old")
    seen = '_cache_objects{resource="agentruntimes"} 1.0\n'
    wait_until(lambda: seen in (xds.page("/metrics") or ""), 30, lambda: "the xDS server does not hear of it")


def test_with_its_label_a_workload_loses_all_that_is_ours(
    api: ApiClient, team: Callable[..., str], installation: Installed
) -> None:
    """Taken off the pod template by its author: the pods that follow carry nothing of ours."""
    namespace = team(enrolled=False)
    create(api, manifests.workload("Deployment", namespace, "weather", labels={"kagenti.io/inject": "enabled"}))
    wait_until(lambda: api.items("Pod", namespace), 30, lambda: "no pod")
    (before,) = api.items("Pod", namespace)
    assert "envoy-proxy" in marks(before)
    path = api.path("Deployment", namespace, "weather")
    without = {"spec": {"template": {"metadata": {"labels": {"kagenti.io/inject": None}}}}}
    assert api.request("PATCH", path, without).ok

    def replaced() -> bool:
        uids = {pod["metadata"]["uid"] for pod in api.items("Pod", namespace)}
        return bool(uids) and before["metadata"]["uid"] not in uids

    wait_until(replaced, 30, lambda: str(api.items("Pod", namespace)))
    assert [marks(pod) for pod in api.items("Pod", namespace)] == [[]]


def test_a_namespace_goes_with_all_that_is_ours(
    api: ApiClient, team: Callable[..., str], statuses: Statuses, processes: tuple[Operator, Xds]
) -> None:
    """Deleted in one piece while everybody watches; and made again, it begins from nothing."""
    namespace = team()
    agent(api, namespace, "weather")
    create(api, manifests.config(namespace))
    statuses.until(namespace, "weather", lambda found: (found.get("pods") or {}).get("current") == 1)
    assert api.request("DELETE", f"/api/v1/namespaces/{namespace}").ok
    wait_until(lambda: api.get("Namespace", "", namespace).status == 404, 60, lambda: f"{namespace} is stuck")
    marked = {"name": namespace, "labels": {"kagenti.io/enrolled": "true"}}
    create(api, {"apiVersion": "v1", "kind": "Namespace", "metadata": marked})
    agent(api, namespace, "weather")
    statuses.until(namespace, "weather", lambda found: (found.get("pods") or {}).get("current") == 1)
    assert processes[0].leads
