"""One namespace of a team: its workload, pods, budgets, and what status says of its AgentRuntime."""

from typing import Any

from kagenti.core import rollout
from tests.e2e.admission.manifests import workload
from tests.e2e.api_client import ApiClient
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received

DEADLINE = 30  # seconds
NAME = "weather"


class Bench:
    """One namespace with the workload ``weather`` of a real controller."""

    def __init__(self, cluster: ControlPlane, api: ApiClient, namespace: str) -> None:
        self.cluster, self.api, self.namespace = cluster, api, namespace

    def pods(self) -> list[JSON]:
        """The pods that are not on their way out, by name."""
        found = self.api.items("Pod", self.namespace)
        live = [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]
        return sorted(live, key=lambda pod: pod["metadata"]["name"])

    def workload(self, kind: str = "Deployment") -> JSON:
        """The workload as it is."""
        return self.api.get(kind, self.namespace, NAME).body

    def settled(self, kind: str, count: int) -> None:
        """Waits until the workload has that many Ready pods and nothing under way."""

        def whole() -> bool:
            pods = self.pods()
            return len(pods) == count and all(map(ready, pods)) and not rollout.read(self.workload(kind)).rolling

        wait_until(whole, DEADLINE, lambda: f"{kind} not settled: {self.workload(kind)['status']}")

    def run(self, kind: str = "Deployment", *, replicas: int = 2, **spec: JSON) -> None:
        """Creates a workload, its pods with that much more of a spec, and waits until it is whole."""
        manifest = workload(kind, self.namespace, NAME)
        manifest["spec"]["template"]["spec"] |= spec
        if kind != "DaemonSet":
            manifest["spec"]["replicas"] = replicas
        assert self.api.create(manifest).ok
        self.settled(kind, replicas)

    def budget(self, name: str, **spec: JSON) -> None:
        """Creates a PodDisruptionBudget and waits until its controller has counted the pods, all of them healthy."""
        path = f"/apis/policy/v1/namespaces/{self.namespace}/poddisruptionbudgets"
        selector = {"matchLabels": {"app": NAME}}
        body = {"metadata": {"name": name}, "spec": {"selector": selector, **spec}}
        assert self.api.request("POST", path, body).ok

        def counted() -> bool:
            status = self.api.request("GET", f"{path}/{name}").body["status"]
            return bool(status.get("expectedPods")) and status["currentHealthy"] == status["expectedPods"]

        wait_until(counted, DEADLINE, lambda: f"budget {name} not counted")


def ready(pod: JSON) -> bool:
    """Whether the pod is Ready."""
    conditions = pod["status"].get("conditions") or ()
    return any(found["type"] == "Ready" and found["status"] == "True" for found in conditions)


def users(metadata: JSON) -> list[JSON]:
    """The field managers but for those of the status."""
    return [found for found in metadata["managedFields"] if found.get("subresource") != "status"]
