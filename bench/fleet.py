"""Workloads with AgentRuntimes and injected, running pods on a real API server, made without controllers in seconds.

No controller runs: Deployment, ReplicaSet and pods are created with the owner references that controllers would set, the
receipt is one that our webhook wrote, and the tokens come from the TokenRequest API, bound to their pods.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.plane.access import Plane

from bench.bulk import Request, send
from bench.creates import ENROLLED, runtime_for
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw object

PODS_EACH = 5  # of a workload
WORKLOADS_EACH = 10  # of a namespace
CLUSTER_CONFIG = "/apis/kagenti.io/v1alpha1/agentruntimeclusterconfigs/default"
CONTAINER = {"name": "agent", "image": "ghcr.io/example/weather-agent:v1", "ports": [{"containerPort": 8081}]}


def make_namespaces(plane: Plane, *names: str) -> None:
    """Creates enrolled namespaces and, as a controller would, their default accounts."""
    spaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": ENROLLED}} for name in names
    ]
    send(plane, [Request("POST", "/api/v1/namespaces", made) for made in spaces])
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    send(plane, [Request("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account) for name in names])


def controller_of(owner: JSON, kind: str) -> JSON:
    """Returns metadata's owner references of what that object controls."""
    reference = {"apiVersion": "apps/v1", "kind": kind, "name": owner["metadata"]["name"]}
    return [{**reference, "uid": owner["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}]


def make_owners(plane: Plane, places: list[tuple[str, str]]) -> list[JSON]:
    """Creates a Deployment and its ReplicaSet for each (namespace, name); returns the ReplicaSets."""
    deployments = [
        Request("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", _deployment(name))
        for namespace, name in places
    ]
    sets = []
    for (namespace, name), owner in zip(places, send(plane, deployments), strict=True):
        body = _deployment(name) | {"kind": "ReplicaSet"}
        body["metadata"] = {"name": f"{name}-5d8f9c7b6d", "ownerReferences": controller_of(owner, "Deployment")}
        sets.append(Request("POST", f"/apis/apps/v1/namespaces/{namespace}/replicasets", body))
    return send(plane, sets)


def _deployment(name: str) -> JSON:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [CONTAINER]}}
    spec = {"replicas": PODS_EACH, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def pod_of(owner: JSON, number: int, *, labels: JSON, annotations: JSON = None) -> Request:
    """The creation of a ReplicaSet's pod; the cluster's own token is not mounted, nothing here would use it."""
    metadata = {
        "name": f"{owner['metadata']['name']}-{number:05}",
        "labels": {"app": owner["spec"]["selector"]["matchLabels"]["app"], **labels},
        "annotations": annotations or {},
        "ownerReferences": controller_of(owner, "ReplicaSet"),
    }
    spec = {"containers": [CONTAINER], "serviceAccountName": "default", "automountServiceAccountToken": False}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    return Request("POST", f"/api/v1/namespaces/{owner['metadata']['namespace']}/pods", body)


def run(plane: Plane, pods: list[JSON]) -> list[JSON]:
    """Says of pods that they run, as a kubelet would; returns them so."""
    status = {"status": {"phase": "Running"}}
    paths = [f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}" for pod in pods]
    return send(plane, [Request("PATCH", f"{path}/status", status) for path in paths])


def tokens(plane: Plane, pods: list[JSON]) -> list[str]:
    """Returns a token of each pod for our xDS server, as the kubelet would project it."""
    requests = []
    for pod in pods:
        metadata = pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        spec = {"audiences": [wellknown.XDS_AUDIENCE], "expirationSeconds": 3600, "boundObjectRef": bound}
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/default/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        requests.append(Request("POST", path, body))
    return [answer["status"]["token"] for answer in send(plane, requests)]


def node_id(pod: JSON) -> str:
    """Returns the node id of a pod's Envoy (spec 04)."""
    metadata = pod["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}/{metadata['uid']}"


def injected_receipt(plane: Plane, namespace: str) -> str:
    """Returns the receipt that the installed webhook writes for such a pod (dry run)."""
    (owner,) = make_owners(plane, [(namespace, "receipt")])
    request = pod_of(owner, 0, labels={wellknown.INJECT_LABEL: "enabled"})
    (made,) = send(plane, [Request("POST", f"{request.path}?dryRun=All", request.body)])
    return str(made["metadata"]["annotations"][wellknown.RECEIPT_ANNOTATION])


@dataclass
class Fleet:
    """Pods and their streams' credentials, as many as have been grown; ``clients`` are (node id, token)."""

    plane: Plane
    receipt: str
    clients: list[tuple[str, str]] = field(default_factory=list)

    def grow(self, size: int, *, say: Callable[[str], None]) -> None:
        """Makes pods until there are ``size``, five of each workload, ten workloads in a namespace."""
        workloads = range(len(self.clients) // PODS_EACH, size // PODS_EACH)
        places = [(f"fleet-{number // WORKLOADS_EACH}", f"agent-{number}") for number in workloads]
        if not places:
            return
        make_namespaces(self.plane, *dict.fromkeys(namespace for namespace, _ in places))
        owners = make_owners(self.plane, places)
        paths = [f"/apis/kagenti.io/v1alpha1/namespaces/{namespace}/agentruntimes" for namespace, _ in places]
        runtimes = [Request("POST", path, runtime_for(name)) for path, (_, name) in zip(paths, places, strict=True)]
        send(self.plane, runtimes)
        marks = functools.partial(
            pod_of,
            labels={wellknown.MANAGED_LABEL: "true"},
            annotations={wellknown.RECEIPT_ANNOTATION: self.receipt},
        )
        pods = send(self.plane, [marks(owner, number) for owner in owners for number in range(PODS_EACH)])
        pods = run(self.plane, pods)
        self.clients += zip(map(node_id, pods), tokens(self.plane, pods), strict=True)
        say(f"{len(pods)} pods of {len(places)} workloads run, with an AgentRuntime each; tokens of all")


def cluster_config(keycloak: str, realm: str, *, rules: int) -> JSON:
    """The cluster's layer: an identity provider that answers, trusted by origin, and some destination rules."""
    client = {"keycloak": {"url": keycloak, "realm": realm, "adminCredentialsSecret": "keycloak-admin"}}
    hosts = [{"host": f"tool-{number}.tools.svc"} for number in range(rules)]
    found = [{"match": host, "target": {"audience": host["host"], "scopes": ["tool"]}} for host in hosts]
    identity = {"clientRegistration": client, "outbound": {"tokenExchange": {"destinationRules": found}}}
    spec = {"identity": identity, "policy": {"identityProviders": [keycloak]}}
    return {
        "apiVersion": "kagenti.io/v1alpha1",
        "kind": "AgentRuntimeClusterConfig",
        "metadata": {"name": "default"},
        "spec": spec,
    }


def change(validation: JSON) -> Request:
    """The change of what every proxy of the cluster asks of callers."""
    body = {"spec": {"identity": {"inbound": {"validation": validation}}}}
    return Request("PATCH", CLUSTER_CONFIG, body)
