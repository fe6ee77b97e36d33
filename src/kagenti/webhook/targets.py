"""Reads what the answer to a new AgentRuntime says of its target: one GET, one LIST, one second; unknown on failure."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import quote

import orjson

from kagenti import errors
from kagenti.core import workload
from kagenti.core.admission import targets
from kagenti.core.admission.targets import TargetFacts
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.kube import path_of

JSON = Any  # a raw Kubernetes object

BUDGET: Final = 1.0
"""Seconds for all reads about one target (spec 03)."""

_FAILURES: Final = (errors.ClusterError, orjson.JSONDecodeError, TimeoutError)


class Get(Protocol):
    """Reads one path as raw bytes; raises ClusterError."""

    async def get(self, path: str, *, params: Mapping[str, str] | None = None, timeout: float) -> bytes:
        """Returns the body."""


class Owners(Protocol):
    """Resolves controller references; raises ClusterError."""

    async def top_owner(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        """Returns the top of the chain, or None when the reference does not hold."""


class TargetReader:
    """Gathers the facts of one target at a time, within ``budget`` seconds."""

    def __init__(self, client: Get, owners: Owners, *, budget: float = BUDGET) -> None:
        self._budget = budget
        self._client = client
        self._owners = owners
        self.reads = 0

    async def facts(self, target: WorkloadRef) -> TargetFacts:
        """Returns what is known of a target within the budget; never raises for what the cluster says or fails to."""
        path = path_of((target.group, target.kind), target.namespace, target.name)
        if path is None:
            return targets.UNKNOWN
        deadline = asyncio.get_running_loop().time() + self._budget
        try:
            async with asyncio.timeout_at(deadline):
                manifest = await self._get(path)
        except errors.NotFound:
            return TargetFacts("missing")
        except _FAILURES:
            return targets.UNKNOWN
        try:
            async with asyncio.timeout_at(deadline):
                pods, more = await self._pods(target, manifest)
        except _FAILURES:
            pods, more = None, False
        return targets.facts_of(manifest, pods, more=more)

    async def _pods(self, target: WorkloadRef, manifest: Mapping[str, JSON]) -> tuple[Sequence[JSON] | None, bool]:
        """Returns the target's pods and whether the one LIST had further pages."""
        if target.kind == "Pod":
            return [manifest], False
        params = {"limit": str(targets.MOST_PODS)}
        selector = targets.pod_selector(manifest)
        if selector is not None:
            params["labelSelector"] = selector
        listed = await self._get(f"/api/v1/namespaces/{quote(target.namespace, safe='')}/pods", params)
        pods: list[JSON] = listed.get("items") or []
        more = bool((listed.get("metadata") or {}).get("continue"))
        if selector is not None:
            return pods, more
        return await self._owned(target, pods), more

    async def _owned(self, target: WorkloadRef, pods: Sequence[JSON]) -> list[JSON]:
        """Returns the pods whose chain ends at a target without a selector (a CronJob's); names only spare reads."""
        owned = []
        for pod in pods:
            reference = workload.controller_reference(pod)
            if reference is None or not reference.name.startswith(target.name):
                continue
            if await self._owners.top_owner(reference, target.namespace) == target:
                owned.append(pod)
        return owned

    async def _get(self, path: str, params: Mapping[str, str] | None = None) -> JSON:
        self.reads += 1
        return orjson.loads(await self._client.get(path, params=params, timeout=self._budget))
