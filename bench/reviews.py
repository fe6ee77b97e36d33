"""AdmissionReviews as an API server sends them, of a chosen size."""

from typing import Any

import orjson

JSON = Any  # a raw review


def pod(namespace: str, *, variables: int = 40, padding: int = 6000, label: bool = True) -> JSON:
    """A pod of a ReplicaSet, about 10 KB with the defaults."""
    container = {
        "name": "agent",
        "image": "ghcr.io/example/weather-agent:v1",
        "ports": [{"containerPort": 8081, "protocol": "TCP"}],
        "env": [{"name": f"VARIABLE_{number}", "value": "some value"} for number in range(variables)],
    }
    labels = {"app": "weather", **({"kagenti.io/inject": "enabled"} if label else {})}
    metadata = {
        "name": "weather",
        "namespace": namespace,
        "labels": labels,
        "annotations": {"example.com/notes": "x" * padding},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def review(manifest: JSON) -> bytes:
    """The review of that pod's creation."""
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "name": manifest["metadata"]["name"],
        "namespace": manifest["metadata"]["namespace"],
        "operation": "CREATE",
        "userInfo": {
            "username": "system:serviceaccount:kube-system:replicaset-controller",
            "groups": ["system:authenticated"],
        },
        "object": manifest,
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    return orjson.dumps({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
