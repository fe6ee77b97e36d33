"""The only writes to other people's objects: one pod evicted, one workload restarted; each answer becomes an outcome.

The Eviction API is asked, never the pod deleted, so that PodDisruptionBudgets are heard (Kubernetes, "API-initiated
eviction"). UIDs are preconditions: what has been replaced meanwhile is left alone.
"""

import datetime
from typing import Any, Final, Protocol
from urllib.parse import quote

import orjson

from kagenti import errors
from kagenti.core.rollout import Outcome
from kagenti.core.workload import WorkloadRef
from kagenti.kube import path_of

JSON = Any  # a raw object

MANAGER: Final = "kagenti-operator"
# Spelt as kubectl does, so that one restart is one restart whoever asks, and GitOps tools know what it is.
RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"
_BUDGET: Final = 10.0  # seconds for one write


class Client(Protocol):
    """Requests to the API server; each raises ClusterError."""

    async def get(self, path: str, *, timeout: float) -> bytes:
        """Returns an object."""

    async def post(self, path: str, body: JSON, *, timeout: float) -> bytes:
        """Creates an object."""

    async def apply(self, path: str, manifest: JSON, *, manager: str, timeout: float) -> bytes:
        """Returns an object after a forced server-side apply."""


class Disruptor:
    """Evicts and restarts; counts what was asked for by (deed, answer)."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.counts: dict[tuple[str, str], int] = {}

    async def read_pod(self, namespace: str, name: str) -> JSON | None:
        """Returns a pod, raw and whole; None where there is none of that name. Raises ClusterError."""
        try:
            return orjson.loads(await self._client.get(_pod(namespace, name), timeout=_BUDGET))
        except errors.NotFound:
            return None

    async def evict(self, namespace: str, name: str, uid: str) -> Outcome:
        """Asks for the eviction of that very pod; never raises ClusterError."""
        path = f"{_pod(namespace, name)}/eviction"
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"namespace": namespace, "name": name},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        try:
            await self._client.post(path, eviction, timeout=_BUDGET)
        except errors.ClusterError as error:
            return self._counted("evict", _outcome(error))
        return self._counted("evict", Outcome("Accepted"))

    async def restart(self, target: WorkloadRef, *, uid: str, now: datetime.datetime) -> Outcome:
        """Sets the restartedAt annotation on the template of that very workload of apps/v1; never raises ClusterError."""
        stamp = now.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        manifest = {
            "apiVersion": f"{target.group}/v1",
            "kind": target.kind,
            "metadata": {"name": target.name, "namespace": target.namespace, "uid": uid},
            "spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: stamp}}}},
        }
        try:
            changed = orjson.loads(await self._client.apply(_path(target), manifest, manager=MANAGER, timeout=_BUDGET))
        except errors.ClusterError as error:
            return self._counted("restart", _outcome(error))
        generation = (changed.get("metadata") or {}).get("generation") or 0
        return self._counted("restart", Outcome("Accepted", generation=generation))

    def _counted(self, deed: str, outcome: Outcome) -> Outcome:
        key = (deed, outcome.answer)
        self.counts[key] = self.counts.get(key, 0) + 1
        return outcome


def _pod(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"


def _path(target: WorkloadRef) -> str:
    path = path_of((target.group, target.kind), target.namespace, target.name)
    if path is None:
        raise errors.Defect(f"{target} is of a kind that is never restarted")
    return path


def _outcome(error: errors.ClusterError) -> Outcome:
    """Returns what a refusal means; an answer that never came may have been an acceptance."""
    message = str(error)
    match error:
        case errors.TooManyRequests():
            return Outcome("Refused", message, retry_after=error.retry_after)
        case errors.NotFound():
            return Outcome("Gone", message)
        case errors.Conflict():
            return Outcome("Conflict", message)
        case errors.Forbidden():
            return Outcome("Forbidden", message)
    return Outcome("Unknown", message)
