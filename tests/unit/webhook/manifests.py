"""Objects and reviews as an API server sends them, trimmed to what the webhook's tests look at."""

from typing import Any

import orjson

from kagenti.kube import KINDS, StoredObject


def stored(kind: str, name: str, *, namespace: str = "", **spec: Any) -> StoredObject:
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": "1"}
    return KINDS[kind].decode(orjson.dumps({"metadata": metadata, "spec": spec}))


def agent_runtime(name: str = "weather", *, kind: str = "Deployment", api_version: str = "apps/v1") -> StoredObject:
    reference = {"apiVersion": api_version, "kind": kind, "name": "weather"}
    return stored("AgentRuntime", name, namespace="team1", type="agent", targetRef=reference)


def pod(*, label: str | None = None, owner: str | None = "weather-5d8f", **metadata: Any) -> dict[str, Any]:
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": "rs-1", "controller": True}
    return {
        "metadata": {
            "generateName": "weather-5d8f-",
            "labels": {"kagenti.io/inject": label} if label is not None else {},
            "ownerReferences": [reference] if owner else [],
        }
        | metadata,
        "spec": {"containers": [{"name": "app", "image": "example.test/weather:1"}]},
    }


def review(
    obj: Any, *, kind: str = "Pod", group: str = "", operation: str = "CREATE", **request: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "kind": {"group": group, "version": "v1", "kind": kind},
            "resource": {"group": group, "version": "v1", "resource": f"{kind.lower()}s"},
            "operation": operation,
            "namespace": "team1",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": obj,
        }
        | request,
    }


def runtime_review(**request: Any) -> dict[str, Any]:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather"}
    manifest = {"metadata": {"name": "weather"}, "spec": {"type": "agent", "targetRef": reference}}
    return review(manifest, kind="AgentRuntime", group="kagenti.io", name="weather", **request)
