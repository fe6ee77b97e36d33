"""One workload in memory, as the tables and the simulation of the rollout see it."""

import datetime
from typing import Any

from kagenti.core import rollout
from kagenti.core.rollout import Controller, Facts, Pod, Policy, Prospect, Webhook
from kagenti.core.workload import OwnerReference, WorkloadRef

JSON = Any  # a raw workload

NOW = datetime.datetime(2026, 11, 26, 12, 0, 0, tzinfo=datetime.UTC)
DEPLOYMENT = WorkloadRef("apps", "Deployment", "team1", "weather")
REPLICA_SET = OwnerReference("apps/v1", "ReplicaSet", "weather-7c9d8f", "rs")
GOOD = Prospect(injected=True, reason="AgentRuntime", message="AgentRuntime team1/weather targets it")
DENIED = Prospect(injected=False, reason="ProxyUid", message="its replacement would be denied (ProxyUid: user 1337)")
READY = Webhook(ready=True)


def pod(name: str = "weather-a", state: Any = "bare", **more: Any) -> Pod:
    """A Ready pod of a ReplicaSet; its UID is its name unless another is given."""
    values: dict[str, Any] = {"uid": name, "created": NOW, "owner": REPLICA_SET, "ready": True, **more}
    return Pod(name=name, state=state, **values)


def controller(**more: Any) -> Controller:
    """The controller of the Deployment; it keeps as many pods as there are unless ``desired`` says otherwise."""
    return Controller(("apps", "Deployment"), "weather", **more)


def facts(*pods: Pod, **more: Any) -> Facts:
    """Facts in which nothing stands in the way."""
    values: dict[str, Any] = {
        "target": DEPLOYMENT,
        "pods": pods,
        "controller": controller(desired=len([pod for pod in pods if pod.live])),
        "policy": Policy(),
        "webhook": READY,
        "circumstances": "one",
        "now": NOW,
        **more,
    }
    return Facts(**values)


def examined(found: Prospect, *pods: Pod) -> rollout.Memory:
    """The memory once these pods were put through the webhook's decision."""
    return rollout.Memory("one", prospects={pod.uid: found for pod in pods})


def evicting(victim: Pod, *others: Pod) -> rollout.Memory:
    """The memory of a leader whose eviction of ``victim`` was accepted while ``others`` were there."""
    step = rollout.step(facts(victim, *others), examined(GOOD, victim))
    assert step.action == rollout.Evict(victim)
    return rollout.told(step.memory, rollout.Outcome("Accepted"), now=NOW, pace=rollout.PACE)


def deployment(*, generation: int = 1, observed: int = 1, paused: bool = False, **status: int) -> JSON:
    """A raw Deployment of three replicas."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "weather", "namespace": "team1", "generation": generation},
        "spec": {"replicas": 3, **({"paused": True} if paused else {})},
        "status": {"observedGeneration": observed, "replicas": 3, "updatedReplicas": 3, **status},
    }
