"""A cluster in memory for admission tests: objects of ours as a cache holds them, and requests as an API server sends them."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from kagenti.core import settings
from kagenti.core.admission.evaluate import Context
from kagenti.core.admission.pods import Facts
from kagenti.core.admission.review import Request, parse_review
from kagenti.core.installation import Installation
from kagenti.core.layers import LayerCache
from kagenti.core.workload import WorkloadRef, group_of

JSON = Any  # a raw Kubernetes object

NOW = datetime.datetime(2026, 11, 24, 12, 0, 0, tzinfo=datetime.UTC)
ENROLLED = {"kagenti.io/enrolled": "true"}
ENABLED = {"kagenti.io/inject": "enabled"}
CONTAINER = {"name": "agent", "image": "ghcr.io/example/weather-agent:v1", "ports": [{"containerPort": 8081}]}
OURS = ["spiffe-helper", "kagenti-client-registration", "envoy-proxy", "proxy-init"]
DEPLOYMENT = WorkloadRef("apps", "Deployment", "team1", "weather")


@dataclass(frozen=True)
class Stored:
    """One object of ours as a cache holds it."""

    namespace: str
    name: str
    spec: bytes
    uid: str = "u"
    resource_version: str = "1"
    creation_timestamp: str = "2026-11-01T00:00:00Z"
    target: WorkloadRef | None = None


def stored(namespace: str, name: str = "default", *, created: str = "2026-11-01T00:00:00Z", **spec: JSON) -> Stored:
    """One of our objects with that spec."""
    reference = spec.get("targetRef")
    target = None
    if reference:
        target = WorkloadRef(group_of(reference["apiVersion"]), reference["kind"], namespace, reference["name"])
    return Stored(namespace, name, orjson.dumps(spec), creation_timestamp=created, target=target)


def reference(kind: str = "Deployment", name: str = "weather", group: str = "apps/v1") -> JSON:
    """A targetRef."""
    return {"apiVersion": group, "kind": kind, "name": name}


@dataclass
class Cluster:
    """What the process knows."""

    cluster: Stored | None = None
    configs: dict[str, Stored] = field(default_factory=dict)
    agent_runtimes: list[Stored] = field(default_factory=list)
    labels: dict[str, Mapping[str, str]] = field(default_factory=lambda: {"team1": ENROLLED})
    is_synced: bool = True

    def synced(self) -> bool:
        return self.is_synced

    def cluster_config(self) -> Stored | None:
        return self.cluster

    def namespace_config(self, namespace: str) -> Stored | None:
        return self.configs.get(namespace)

    def runtimes_for(self, target: WorkloadRef) -> Sequence[Stored]:
        return [found for found in self.agent_runtimes if found.target == target]

    def runtimes(self, namespace: str | None) -> Iterable[Stored]:
        return [found for found in self.agent_runtimes if namespace is None or found.namespace == namespace]

    def namespaces(self) -> Iterable[str]:
        return list(self.labels)

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        return self.labels.get(namespace)

    def facts(self, owner: WorkloadRef) -> Facts:
        return Facts(
            owner,
            self.cluster,
            self.configs.get(owner.namespace),
            self.runtimes_for(owner),
            self.namespace_labels(owner.namespace),
        )


def context(mode: Any = "both") -> Context:
    """The context of one process."""
    return Context(mode, Installation(), settings.Resolver())


def layers() -> LayerCache:
    """A fresh cache."""
    return LayerCache()


def pod(*, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None, **spec: JSON) -> JSON:
    """A pod as the ReplicaSet controller sends it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "weather-7c9d8f-",
            "labels": {"app": "weather", **(labels or {})},
            **({"annotations": dict(annotations)} if annotations else {}),
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "weather-7c9d8f",
                    "uid": "rs",
                    "controller": True,
                }
            ],
        },
        "spec": {"containers": [CONTAINER], **spec},
    }


def workload(kind: str, *, labels: JSON = None, own: JSON = None, **spec: JSON) -> JSON:
    """A workload of that kind with a clean template."""
    template: JSON = {
        "metadata": {"labels": {"app": "weather", **(labels or {})}},
        "spec": {"containers": [dict(CONTAINER)]},
    }
    inner = {"template": template, **spec}
    if kind == "CronJob":
        inner = {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}, **spec}
    metadata = {"name": "weather", "namespace": "team1", "labels": dict(own or {})}
    group = "batch/v1" if kind in ("Job", "CronJob") else "apps/v1"
    return {"apiVersion": group, "kind": kind, "metadata": metadata, "spec": inner}


def request(
    new: JSON, *, old: JSON = None, operation: str | None = None, namespace: str = "team1", name: str | None = None
) -> Request:
    """The request of a write, through bytes as the API server sends them."""
    shown = new if new is not None else old
    group = group_of(shown["apiVersion"])
    verb = operation or ("UPDATE" if old is not None and new is not None else "DELETE" if new is None else "CREATE")
    body = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "uid-1",
            "kind": {"group": group, "version": "v1", "kind": shown["kind"]},
            "operation": verb,
            "namespace": namespace,
            "name": name if name is not None else shown["metadata"].get("name", ""),
            "object": new,
            "oldObject": old,
        },
    }
    return parse_review(orjson.dumps(body))


def ours(kind: str, name: str, *, namespace: str = "team1", **spec: JSON) -> JSON:
    """One of our objects as a manifest."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "kagenti.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
