"""Lists and single objects of a cluster, page by page; what this account may not read is noted, and the rest is read."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson

from kagenti import errors
from kagenti.cli import cluster
from kagenti.core.migration import eras, reasons
from kagenti.core.migration.report import Report
from kagenti.kube.client import KubeClient

JSON = Any  # a raw object

WORKLOADS: Final = {
    "Deployment": ("apps/v1", "deployments"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "DaemonSet": ("apps/v1", "daemonsets"),
    "ReplicaSet": ("apps/v1", "replicasets"),
    "CronJob": ("batch/v1", "cronjobs"),
    "Job": ("batch/v1", "jobs"),
    "Pod": ("v1", "pods"),
}


class Reader:
    """Reads lists and single objects; what is forbidden is a fault of the object, said once."""

    def __init__(self, client: KubeClient, report: Report) -> None:
        self._client, self._report = client, report
        self._refused: set[str] = set()

    async def items(self, path: str, what: str, kind: str, version: str, *, ours: bool = False) -> list[JSON]:
        """Returns every object of a list, page by page; none where it is forbidden or not served.

        ``ours`` are kagenti's own kinds: without a right to them there is nothing to compare with, but nothing is lost.
        """
        try:
            items = await cluster.every(self._client, path)
        except errors.Forbidden:
            if ours:
                self._report.warn(reasons.NO_ACCESS, what, "this account may not read it: it counts as empty")
            else:
                self.refuse(what)
            return []
        except errors.NotFound:
            return []
        return [{**item, "kind": kind, "apiVersion": version} for item in items]

    def refuse(self, what: str) -> None:
        """Notes that this account may not read something."""
        if what not in self._refused:
            self._refused.add(what)
            self._report.fault(
                reasons.NO_ACCESS,
                what,
                "this account may not read it; ask for the right, or leave it out with --namespace",
            )

    async def namespaces(self, names: Sequence[str]) -> list[JSON]:
        """Returns the named namespaces, or all."""
        if not names:
            return await self.items("/api/v1/namespaces", "Namespaces", "Namespace", "v1")
        found = [await self.one(f"/api/v1/namespaces/{quote(name, safe='')}", f"Namespace {name}") for name in names]
        return [{**one, "kind": "Namespace", "apiVersion": "v1"} for one in found if one is not None]

    async def one(self, path: str, what: str) -> JSON:
        """Returns an object; None where it does not exist or is forbidden."""
        try:
            return await cluster.read(self._client, path)
        except errors.Forbidden:
            self.refuse(what)
            return None

    async def config_maps(self, names: Sequence[str], known: Sequence[str]) -> list[JSON]:
        """Returns the old ConfigMaps by their names: of the whole cluster where that is allowed, else namespace by namespace."""
        found = []
        for place, *pair in eras.PAIRS:
            found += [await self._config_map(place, name) for name in pair]
        if not names:
            try:
                return [*filter(None, found), *await self._everywhere()]
            except errors.Forbidden:
                pass
        for place in names or known:
            found += [await self._config_map(place, name) for name in eras.NAMESPACE_MAPS]
        return [*filter(None, found)]

    async def _everywhere(self) -> list[JSON]:
        lists = await asyncio.gather(
            *(
                self._client.get("/api/v1/configmaps", params={"fieldSelector": f"metadata.name={name}"})
                for name in eras.NAMESPACE_MAPS
            )
        )
        return [
            {**item, "kind": "ConfigMap", "apiVersion": "v1"} for body in lists for item in orjson.loads(body)["items"]
        ]

    async def _config_map(self, place: str, name: str) -> JSON:
        path = f"/api/v1/namespaces/{quote(place, safe='')}/configmaps/{name}"
        return await self.one(path, f"ConfigMaps of namespace {place}")

    async def workloads(self, place: str) -> list[JSON]:
        """Returns the workloads of a namespace, pods included."""
        found = []
        for kind, (version, plural) in WORKLOADS.items():
            base = f"/apis/{version}" if "/" in version else f"/api/{version}"
            path = f"{base}/namespaces/{quote(place, safe='')}/{plural}"
            found += await self.items(path, f"{plural} of namespace {place}", kind, version)
        return found
