"""AdmissionReviews as an API server sends them, of a chosen size."""

from dataclasses import dataclass
from typing import Any

import orjson

JSON = Any  # a raw review
SIZE = 10_000  # bytes of the review that the figures speak of (spec 08)


@dataclass(frozen=True)
class Owner:
    """A ReplicaSet as its pods name it."""

    name: str
    uid: str


def pod(namespace: str, owner: Owner, *, variables: int = 40, label: bool = True) -> JSON:
    """A pod as the ReplicaSet controller asks for it: no name yet, a controller reference, no status."""
    container = {
        "name": "agent",
        "image": "ghcr.io/example/weather-agent:v1",
        "ports": [{"containerPort": 8081, "protocol": "TCP"}],
        "env": [{"name": f"VARIABLE_{number}", "value": "some value"} for number in range(variables)],
    }
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner.name, "uid": owner.uid}
    metadata = {
        "generateName": f"{owner.name}-",
        "namespace": namespace,
        "labels": {"app": "weather", **({"kagenti.io/inject": "enabled"} if label else {})},
        "ownerReferences": [{**reference, "controller": True, "blockOwnerDeletion": True}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def padded(manifest: JSON) -> JSON:
    """The pod with an annotation that brings its review to SIZE; larger ones stay as they are."""
    annotations = {"example.com/notes": ""}
    manifest = {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}
    annotations["example.com/notes"] = "x" * max(0, SIZE - len(review(manifest)))
    return manifest


def review(manifest: JSON) -> bytes:
    """The review of that pod's creation."""
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
        "requestResource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": manifest["metadata"]["namespace"],
        "operation": "CREATE",
        "userInfo": {
            "username": "system:serviceaccount:kube-system:replicaset-controller",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
        },
        "object": manifest,
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    return orjson.dumps({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
