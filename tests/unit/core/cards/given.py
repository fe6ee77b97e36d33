"""Pods and rounds in few words, for tests of cards."""

import datetime
from typing import Any

from kagenti.core import cards
from kagenti.core.cards import AgentPod, Failed, Fetched, Port, Round
from kagenti.core.workload import OwnerReference, WorkloadRef

JSON = Any  # manifests and statuses

NOW = datetime.datetime(2026, 11, 26, 12, 0, 0, tzinfo=datetime.UTC)
URL = "http://10.1.0.1:8081/.well-known/agent-card.json"
WEATHER = WorkloadRef("apps", "Deployment", "team1", "weather")


def owner(name: str, kind: str = "ReplicaSet") -> OwnerReference:
    """A controller; its uid is its name."""
    return OwnerReference("apps/v1", kind, name, name)


def pod(name: str, *, minute: int = 0, of: str = "weather-1", **given: Any) -> AgentPod:
    """A ready pod of a ReplicaSet, created at that minute."""
    content: dict[str, Any] = {
        "namespace": "team1",
        "name": name,
        "uid": f"uid-{name}",
        "created": f"2026-11-26T10:{minute:02}:00Z",
        "labels": {"app": "weather"},
        "owner": owner(of) if of else None,
        "ready": True,
        "ip": "10.1.0.1",
        "host_ips": ("10.0.0.1",),
        "ports": (Port(8081),),
    }
    return AgentPod(**{**content, **given})


def matched(*pods: AgentPod, workloads: dict[str, WorkloadRef] | None = None) -> cards.Matched:
    """The pods of a card; by default all of them are of one Deployment."""
    return cards.match(pods, {found.uid: WEATHER for found in pods} if workloads is None else workloads)


def went(*pods: AgentPod, outcome: Fetched | Failed, hashes: dict[str, str] | None = None) -> Round:
    """A round over these pods of one Deployment."""
    found = matched(*pods)
    return Round(found, cards.choose(found, {}), outcome, hashes or {})
