"""Workloads of a cluster, their pods and the layers above them, as they are now: what ``diff`` and ``status`` look at."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from kagenti import errors
from kagenti.cli import cluster
from kagenti.cli.catalogue import Holding
from kagenti.core.workload import Subject, WorkloadRef, subject_of
from kagenti.kube.client import KubeClient
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw object

_TEMPLATES: Final = {
    "Deployment": ("apps/v1", "deployments"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "DaemonSet": ("apps/v1", "daemonsets"),
    "CronJob": ("batch/v1", "cronjobs"),
    "Job": ("batch/v1", "jobs"),
}
# Of ReplicaSets only who controls them counts; a cluster keeps ten old ones for each Deployment.
_METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_FINISHED: Final = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is there: the layers and owners, the top owners that hold a pod template, and live pods by their top owner."""

    holding: Holding
    workloads: Sequence[Subject]
    pods: Mapping[WorkloadRef, Sequence[Subject]]
    runtimes: Sequence[JSON] = ()

    def subjects(self) -> Sequence[Subject]:
        """Returns one subject for each workload: its template, or a pod where no template of it was read."""
        known = {subject.owner for subject in self.workloads}
        return (*self.workloads, *(pods[0] for owner, pods in self.pods.items() if owner not in known))


async def named(client: KubeClient, namespace: str) -> Fleet:
    """Returns the workloads of a namespace that a person has named, of the whole cluster for an empty name.

    Raises:
        UsageError: There is no such namespace.
        ClusterError: As ``read``.
    """
    found = await read(client, {namespace} if namespace else None)
    if namespace and not found.holding.is_namespace(namespace):
        raise errors.UsageError(f"there is no namespace {namespace!r}; correct --namespace")
    return found


async def read(client: KubeClient, namespaces: Iterable[str] | None) -> Fleet:
    """Returns the workloads of some namespaces, of the whole cluster for None.

    Raises:
        ClusterError: Something of it may not be read, or the API server does not answer.
    """
    places = None if namespaces is None else sorted(namespaces)
    try:
        return await _read(client, places)
    except errors.Forbidden as problem:
        where = "for the whole cluster; --namespace asks for one" if places is None else f"in {', '.join(places)}"
        raise errors.Forbidden(
            f"{problem}; it takes the ClusterRole view {where}, and always kagenti-view for the whole cluster, where the "
            "cluster's config stands"
        ) from problem


async def _read(client: KubeClient, places: Sequence[str] | None) -> Fleet:
    holding = await cluster.holding(client, places)  # first: it says best that kagenti is not installed
    templates, pods, replica_sets, runtimes = await asyncio.gather(
        _templates(client, places),
        _list(client, "v1", "pods", places),
        _list(client, "apps/v1", "replicasets", places, accept=_METADATA),
        _list(client, wellknown.API_VERSION, "agentruntimes", places),
    )
    for manifest in (*({**item, "kind": "ReplicaSet", "apiVersion": "apps/v1"} for item in replica_sets), *templates):
        holding.add(manifest, namespace="")
    return Fleet(holding, list(_tops(holding, templates)), _by_owner(holding, pods), runtimes)


def _tops(holding: Holding, templates: Iterable[JSON]) -> Iterator[Subject]:
    """Yields the top owners; no pod is made of a Job that has ended, so that it counts only where it is targeted."""
    for manifest in templates:
        subject = subject_of(manifest, namespace="")
        if subject is None or holding.reference(subject) is not None:
            continue
        if not _ended(manifest) or holding.runtimes_for(subject.owner):
            yield subject


def _ended(manifest: JSON) -> bool:
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    done = any(one.get("type") in ("Complete", "Failed") and one.get("status") == "True" for one in conditions)
    return manifest["kind"] == "Job" and done


def _by_owner(holding: Holding, pods: Iterable[JSON]) -> dict[WorkloadRef, list[Subject]]:
    found: dict[WorkloadRef, list[Subject]] = {}
    for item in pods:
        gone = item["metadata"].get("deletionTimestamp") or (item.get("status") or {}).get("phase") in _FINISHED
        pod = subject_of({**item, "kind": "Pod", "apiVersion": "v1"}, namespace="")
        if pod is not None and not gone:
            found.setdefault(holding.top_of(pod), []).append(pod)
    return found


async def _templates(client: KubeClient, places: Sequence[str] | None) -> list[JSON]:
    kinds = _TEMPLATES.items()
    lists = await asyncio.gather(*(_list(client, version, plural, places) for _, (version, plural) in kinds))
    return [
        {**item, "kind": kind, "apiVersion": version}
        for (kind, (version, _)), items in zip(kinds, lists, strict=True)
        for item in items
    ]


async def _list(
    client: KubeClient, version: str, plural: str, places: Sequence[str] | None, *, accept: str = "application/json"
) -> list[JSON]:
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    scopes = [""] if places is None else [f"/namespaces/{quote(place, safe='')}" for place in places]
    lists = await asyncio.gather(*(cluster.every(client, f"{base}{scope}/{plural}", accept=accept) for scope in scopes))
    return [item for items in lists for item in items]
