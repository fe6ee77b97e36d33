"""The control plane itself: real controllers make real pods, and KWOK brings them to life."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received
NAMESPACE = "plane"
CONTAINER = {"name": "app", "image": "example/app:1"}
NATIVE_SIDECAR = {"name": "helper", "image": "example/helper:1", "restartPolicy": "Always"}


def _template(name: str, **spec: JSON) -> JSON:
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": [CONTAINER], **spec}}


def _manifest(kind: str, name: str, spec: JSON) -> str:
    group = "batch/v1" if kind in ("Job", "CronJob") else "apps/v1"
    manifest = {"apiVersion": group, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
    return orjson.dumps(manifest).decode()


@pytest.fixture(scope="module")
def create(cluster: ControlPlane) -> Callable[[str], None]:
    """Creates a manifest in the tests' namespace."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    return lambda text: void(cluster.kubectl("create", "-f", "-", stdin=text))


def void(_: object) -> None:
    """Drops a value."""


def phases(cluster: ControlPlane, name: str) -> list[str]:
    """Returns the phases of the pods of that app."""
    items = orjson.loads(cluster.kubectl("get", "pods", "-n", NAMESPACE, "-l", f"app={name}", "-o", "json"))["items"]
    return [item["status"].get("phase", "") for item in items]


@pytest.mark.parametrize(
    ("kind", "count", "spec"),
    [("Deployment", 2, {"replicas": 2}), ("StatefulSet", 2, {"replicas": 2, "serviceName": "s"}), ("DaemonSet", 2, {})],
)
def test_a_deployment_a_statefulset_and_a_daemonset_run(
    kind: str, count: int, spec: JSON, cluster: ControlPlane, create: Callable[[str], None]
) -> None:
    """Their controllers create as many pods as asked for (a DaemonSet: one a node), and all run."""
    name = kind.lower()
    create(_manifest(kind, name, {**spec, "selector": {"matchLabels": {"app": name}}, "template": _template(name)}))
    wait_until(lambda: phases(cluster, name) == ["Running"] * count, 30, lambda: str(phases(cluster, name)))


def test_a_job_with_a_native_sidecar_completes(cluster: ControlPlane, create: Callable[[str], None]) -> None:
    """The Job controller counts the pod as succeeded although its sidecar never ends by itself."""
    template = _template("job", restartPolicy="Never", initContainers=[NATIVE_SIDECAR])
    create(_manifest("Job", "job", {"template": template}))
    wait_until(
        lambda: (
            "Complete"
            in cluster.kubectl("get", "job", "job", "-n", NAMESPACE, "-o", "jsonpath={.status.conditions[*].type}")
        ),
        30,
        lambda: str(phases(cluster, "job")),
    )


def test_a_cronjob_makes_jobs(cluster: ControlPlane, create: Callable[[str], None]) -> None:
    """A Job made from a CronJob has it as its controller, and its pod runs to the end."""
    template = _template("cron", restartPolicy="Never")
    create(_manifest("CronJob", "cron", {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}))
    cluster.kubectl("create", "job", "cron-now", "--from=cronjob/cron", "-n", NAMESPACE)
    wait_until(lambda: phases(cluster, "cron") == ["Succeeded"], 30, lambda: str(phases(cluster, "cron")))


def test_a_standalone_pod_runs_and_goes(cluster: ControlPlane, create: Callable[[str], None]) -> None:
    """A pod without a controller runs with an address, and is gone after its deletion."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "alone", "namespace": NAMESPACE, "labels": {"app": "alone"}},
    }
    create(orjson.dumps({**manifest, "spec": {"containers": [CONTAINER]}}).decode())
    wait_until(lambda: phases(cluster, "alone") == ["Running"], 30, lambda: str(phases(cluster, "alone")))
    assert cluster.kubectl("get", "pod", "alone", "-n", NAMESPACE, "-o", "jsonpath={.status.podIP}").startswith(
        "10.64."
    )
    cluster.kubectl("delete", "pod", "alone", "-n", NAMESPACE)
    assert phases(cluster, "alone") == []


def test_a_service_account_is_who_its_token_says(cluster: ControlPlane) -> None:
    """RBAC is on: the default account may not list pods."""
    path = cluster.service_account_kubeconfig("default", "default")
    with pytest.raises(RuntimeError, match="forbidden"):
        cluster.kubectl("--kubeconfig", str(path), "get", "pods")
