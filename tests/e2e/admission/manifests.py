"""Manifests as users write them, trimmed to what matters, for the admission tests."""

from typing import Any

JSON = Any  # a Kubernetes object as a user writes it

CONTAINER = {"name": "agent", "image": "ghcr.io/example/weather-agent:v1", "ports": [{"containerPort": 8081}]}


def pod(
    namespace: str, name: str, *, label: str | None = None, labels: dict[str, str] | None = None, **spec: JSON
) -> JSON:
    """A standalone pod; ``label`` is the inject label's value."""
    marks = {"app": name, **(labels or {}), **({"kagenti.io/inject": label} if label is not None else {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": marks},
        "spec": {"containers": [CONTAINER], **spec},
    }


def workload(kind: str, namespace: str, name: str, *, labels: dict[str, str] | None = None, own: JSON = None) -> JSON:
    """A Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or CronJob; ``labels`` go to the pod template, ``own`` to itself."""
    template: JSON = {
        "metadata": {"labels": {"app": name, **(labels or {})}},
        "spec": {"containers": [dict(CONTAINER)]},
    }
    selector = {"matchLabels": {"app": name}}
    spec: JSON = {
        "Deployment": {"replicas": 1, "selector": selector, "template": template},
        "ReplicaSet": {"replicas": 1, "selector": selector, "template": template},
        "StatefulSet": {"replicas": 1, "serviceName": name, "selector": selector, "template": template},
        "DaemonSet": {"selector": selector, "template": template},
        "Job": {"template": template},
        "CronJob": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}},
    }[kind]
    if kind in ("Job", "CronJob"):
        template["spec"]["restartPolicy"] = "Never"
    group = "batch/v1" if kind in ("Job", "CronJob") else "apps/v1"
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name, **(own or {})}}
    return {"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec}


def runtime(namespace: str, name: str, *, kind: str, target: str, **spec: JSON) -> JSON:
    """An AgentRuntime for that target."""
    group = {"Pod": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}.get(kind, "apps/v1")
    return {
        "apiVersion": "kagenti.io/v1alpha1",
        "kind": "AgentRuntime",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"targetRef": {"apiVersion": group, "kind": kind, "name": target}, **spec},
    }


def config(namespace: str, **spec: JSON) -> JSON:
    """The AgentRuntimeConfig of a namespace."""
    return {
        "apiVersion": "kagenti.io/v1alpha1",
        "kind": "AgentRuntimeConfig",
        "metadata": {"name": "default", "namespace": namespace},
        "spec": spec,
    }
