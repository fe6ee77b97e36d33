"""Our kinds as files or the cluster hold them, in the form in which core gathers layers."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import orjson

from kagenti import errors
from kagenti.cli.manifests import Document, plain
from kagenti.cli.schemas import check
from kagenti.core.workload import WorkloadRef, group_of
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw manifest
OUR_KINDS: Final = ("AgentRuntime", "AgentRuntimeConfig", "AgentRuntimeClusterConfig", "AgentCard")


@dataclass(frozen=True, slots=True)
class Held:
    """One object of ours, as core.layers reads it."""

    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    creation_timestamp: str
    target: WorkloadRef | None
    spec: bytes


@dataclass(slots=True)
class Holding:
    """Everything known: objects of ours, and the labels of namespaces."""

    objects: list[Held] = field(default_factory=list)
    namespaces: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def cluster_config(self) -> Held | None:
        """Returns AgentRuntimeClusterConfig default."""
        return next((held for held in self.objects if held.kind == "AgentRuntimeClusterConfig"), None)

    def namespace_config(self, namespace: str) -> Held | None:
        """Returns AgentRuntimeConfig default of a namespace."""
        return next((h for h in self.objects if h.kind == "AgentRuntimeConfig" and h.namespace == namespace), None)

    def runtimes_for(self, target: WorkloadRef) -> Sequence[Held]:
        """Returns every AgentRuntime that targets that top owner."""
        return [held for held in self.objects if held.kind == "AgentRuntime" and held.target == target]

    def add(self, manifest: Mapping[str, JSON], *, namespace: str) -> None:
        """Takes one raw manifest: an object of ours or a Namespace; others are left out."""
        metadata = manifest.get("metadata") or {}
        kind = str(manifest.get("kind"))
        if kind == "Namespace" and manifest.get("apiVersion") == "v1":
            self.namespaces[str(metadata.get("name"))] = metadata.get("labels") or {}
        elif kind in OUR_KINDS and group_of(str(manifest.get("apiVersion"))) == wellknown.GROUP:
            self.objects.append(_held(manifest, metadata, namespace))


def _held(manifest: Mapping[str, JSON], metadata: Mapping[str, JSON], namespace: str) -> Held:
    kind, spec = manifest["kind"], manifest.get("spec") or {}
    place = "" if kind == "AgentRuntimeClusterConfig" else metadata.get("namespace") or namespace
    reference = spec.get("targetRef") if kind == "AgentRuntime" else None
    target = None
    if reference:
        target = WorkloadRef(group_of(reference["apiVersion"]), reference["kind"], place, reference["name"])
    return Held(
        kind=kind,
        namespace=place,
        name=str(metadata.get("name") or ""),
        uid=str(metadata.get("uid") or ""),
        resource_version=str(metadata.get("resourceVersion") or ""),
        creation_timestamp=str(metadata.get("creationTimestamp") or ""),
        target=target,
        spec=orjson.dumps(spec),
    )


def from_documents(documents: Sequence[Document], *, namespace: str) -> Holding:
    """Returns what the files hold; raises ManifestError for an object of ours that the API server would refuse."""
    holding = Holding()
    for document in documents:
        if document.content is None:
            continue
        content = plain(document.content)
        if content.get("kind") in OUR_KINDS and group_of(str(content.get("apiVersion"))) == wellknown.GROUP:
            check(document, content)
        holding.add(content, namespace=namespace)
    return holding


def from_cluster(kubeconfig: str, *, namespace: str, extra: str = "") -> tuple[Holding, JSON]:
    """Returns what the cluster holds for a namespace, and the object at the path ``extra`` (None where it does not exist)."""
    return asyncio.run(_from_cluster(kubeconfig, namespace=namespace, extra=extra))


async def _from_cluster(kubeconfig: str, *, namespace: str, extra: str) -> tuple[Holding, JSON]:
    from kagenti.kube.client import KubeClient, connect

    ours, place = f"/apis/{wellknown.API_VERSION}", quote(namespace, safe="")
    paths = {
        "AgentRuntimeClusterConfig": f"{ours}/agentruntimeclusterconfigs",
        "AgentRuntimeConfig": f"{ours}/namespaces/{place}/agentruntimeconfigs",
        "AgentRuntime": f"{ours}/namespaces/{place}/agentruntimes",
    }
    async with KubeClient(connect(kubeconfig), user_agent="kagenti-cli") as client:
        bodies = await asyncio.gather(*(client.get(path) for path in paths.values()))
        found = await client.get(f"/api/v1/namespaces/{place}")
        try:
            wanted = orjson.loads(await client.get(extra)) if extra else None
        except errors.NotFound:
            wanted = None
    holding = Holding()
    holding.add({**orjson.loads(found), "kind": "Namespace", "apiVersion": "v1"}, namespace="")
    for kind, body in zip(paths, bodies, strict=True):
        for item in orjson.loads(body)["items"]:
            holding.add({**item, "kind": kind, "apiVersion": wellknown.API_VERSION}, namespace=namespace)
    return holding, wanted
