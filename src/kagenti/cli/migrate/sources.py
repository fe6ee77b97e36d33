"""The objects that a migration reads, from a dump or from a cluster; what may not be read becomes a fault, the rest is used."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import orjson

from kagenti import errors
from kagenti.cli import catalogue, cluster, manifests
from kagenti.cli.catalogue import Holding
from kagenti.cli.migrate import Scope
from kagenti.cli.named import Named
from kagenti.core import workload
from kagenti.core.migration import crs, eras, reasons
from kagenti.core.migration.report import Report
from kagenti.core.trigger import Mode
from kagenti.kube.client import KubeClient
from kagenti.kube.owners import OwnerReader
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw object

INJECTOR: Final = "kagenti-injector"
_HOOKS: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
_WORKLOADS: Final = {
    "Deployment": ("apps/v1", "deployments"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "DaemonSet": ("apps/v1", "daemonsets"),
    "ReplicaSet": ("apps/v1", "replicasets"),
    "CronJob": ("batch/v1", "cronjobs"),
    "Job": ("batch/v1", "jobs"),
    "Pod": ("v1", "pods"),
}
_PAGE: Final = "500"  # objects of one answer, as client-go


@dataclass(slots=True)
class Gathered:
    """Everything that was read. ``holding`` are objects of ours, namespaces and owners; ``workloads`` are tops of owner chains.

    ``patched_at`` is the path of a workload of another API group, by its name for people.
    """

    config_maps: list[JSON] = field(default_factory=list)
    namespaces: list[JSON] = field(default_factory=list)
    hooks: list[JSON] = field(default_factory=list)
    workloads: list[JSON] = field(default_factory=list)
    older: list[JSON] = field(default_factory=list)
    holding: Holding = field(default_factory=Holding)
    paths: dict[str, str] = field(default_factory=dict)

    @property
    def mode(self) -> Mode | None:
        """The trigger mode that is installed, as its webhook configuration shows; None without one."""
        for found in self.hooks:
            if found["metadata"].get("name") == INJECTOR:
                entries = {hook["name"].partition(".")[0] for hook in found.get("webhooks") or ()}
                by_label, by_cr = "inject-label" in entries, "inject-cr" in entries
                return "both" if by_label and by_cr else "label" if by_label else "cr" if by_cr else None
        return None

    @property
    def old_hooks(self) -> list[JSON]:
        """The configurations of old webhooks."""
        return [found for found in self.hooks if found["metadata"].get("name") in OLD_HOOKS]

    def providers(self) -> tuple[str, ...]:
        """Returns the identity providers that the cluster's config lists already."""
        config = self.holding.cluster_config()
        spec = orjson.loads(config.spec) if config is not None else {}
        listed = (spec.get("policy") or {}).get("identityProviders") or ()
        return tuple(str(url) for url in listed)


OLD_HOOKS: Final = frozenset(era.configuration for era in eras.ERAS.values())


def gather(scope: Scope, report: Report) -> Gathered:
    """Returns what the files or the cluster hold."""
    if scope.files:
        return from_files(scope)
    return cluster.session(scope.kubeconfig, lambda client: from_cluster(client, scope, report))


def from_files(scope: Scope) -> Gathered:
    """Returns what a dump holds; raises ManifestError for a file that is no YAML, or an object of ours that is invalid."""
    documents = manifests.unrolled(manifests.read(scope.files))
    found = Gathered(holding=catalogue.from_documents(documents, namespace="default"))
    for document in documents:
        if document.content is not None:
            _sort(manifests.plain(document.content), found)
    found.workloads = [one for one in found.workloads if _in(one, scope)]
    found.older = [one for one in found.older if _in(one, scope)]
    return found


def _in(found: JSON, scope: Scope) -> bool:
    return not scope.namespaces or (found["metadata"].get("namespace") or "default") in scope.namespaces


def _sort(found: JSON, into: Gathered) -> None:
    kind, group = str(found.get("kind")), workload.group_of(str(found.get("apiVersion")))
    if not isinstance(found.get("metadata"), Mapping):
        raise errors.ManifestError(f"{kind} has no metadata; dump it with kubectl get -o yaml")
    if (group, kind) == ("", "ConfigMap"):
        into.config_maps.append(found)
    elif (group, kind) == ("", "Namespace"):
        into.namespaces.append(found)
    elif kind == "MutatingWebhookConfiguration":
        into.hooks.append(found)
    elif group in crs.GROUPS:
        into.older.append(found)
    elif group != wellknown.GROUP and workload.template_path(found) is not None:
        into.workloads.append(found)


async def from_cluster(client: KubeClient, scope: Scope, report: Report) -> Gathered:
    """Returns what the cluster holds; one fault for each thing that this account may not read."""
    reader = _Reader(client, report)
    found = Gathered(namespaces=await reader.namespaces(scope.namespaces))
    found.hooks = await reader.items(
        _HOOKS, "MutatingWebhookConfigurations", "MutatingWebhookConfiguration", _HOOKS_KIND
    )
    found.config_maps = await reader.config_maps(
        scope.namespaces, [one["metadata"]["name"] for one in found.namespaces]
    )
    places = list(scope.namespaces) or _agent_namespaces(found)
    found.workloads = [one for place in places for one in await reader.workloads(place)]
    await _custom(client, found)
    found.holding = await _holding(reader, places, found)
    return found


_HOOKS_KIND: Final = "admissionregistration.k8s.io/v1"


def _agent_namespaces(found: Gathered) -> list[str]:
    """Returns the namespaces with an old ConfigMap, an old label, or an object of ours."""
    keys = {era.namespace_label for era in eras.ERAS.values()} | {wellknown.ENROLLED_LABEL}
    names = {
        one["metadata"]["namespace"] for one in found.config_maps if one["metadata"]["name"] in eras.NAMESPACE_MAPS
    }
    names |= {one["metadata"]["name"] for one in found.namespaces if keys & set(one["metadata"].get("labels") or {})}
    return sorted(names)


class _Reader:
    """Reads lists and single objects; what is forbidden is a fault of the object, said once."""

    def __init__(self, client: KubeClient, report: Report) -> None:
        self._client, self._report = client, report
        self._refused: set[str] = set()

    async def items(self, path: str, what: str, kind: str, version: str, *, ours: bool = False) -> list[JSON]:
        """Returns every object of a list, page by page; none where it is forbidden or not served.

        ``ours`` are kagenti's own kinds: without a right to them there is nothing to compare with, but nothing is lost.
        """
        items: list[JSON] = []
        params = {"limit": _PAGE}
        try:
            while True:
                answer = orjson.loads(await self._client.get(path, params=params))
                items += answer.get("items") or ()
                following = (answer.get("metadata") or {}).get("continue")
                if not following:
                    break
                params = {**params, "continue": following}
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
        for kind, (version, plural) in _WORKLOADS.items():
            base = f"/apis/{version}" if "/" in version else f"/api/{version}"
            path = f"{base}/namespaces/{quote(place, safe='')}/{plural}"
            found += await self.items(path, f"{plural} of namespace {place}", kind, version)
        return found


async def _custom(client: KubeClient, found: Gathered) -> None:
    """Replaces pods by the workload of another API group that is the top of their chain, and drops those that have a built-in one."""
    reader = OwnerReader(client)
    tops: dict[tuple[str, str, str, str], JSON] = {}
    kept = []
    for one in found.workloads:
        reference = workload.controller_reference(one)
        if reference is None:
            kept.append(one)
        elif one["kind"] in ("Pod", "ReplicaSet") or (one["kind"] == "Job" and reference.group not in ("batch", "")):
            top = await reader.top_owner(reference, one["metadata"]["namespace"])
            if top is not None and (top.group, top.kind) not in workload.TEMPLATE_PATHS:
                tops.setdefault((top.group, top.kind, top.namespace, top.name), None)
    for group, kind, place, name in tops:
        try:
            known, manifest = await cluster.find(
                client, Named(kind.lower(), group, name, built_in=False), namespace=place
            )
        except errors.KagentiError:
            continue  # a kind that nobody serves, or that this account may not read: its pods stay what they are
        if manifest is not None and workload.template_path(manifest) is not None:
            kept.append(manifest)
            plural = await _plural(client, known)
            found.paths[f"{kind} {place}/{name}"] = (
                f"/apis/{known.api_version}/namespaces/{quote(place, safe='')}/{plural}/{quote(name, safe='')}"
            )
    found.workloads = kept


async def _plural(client: KubeClient, known: Named) -> str:
    served = await cluster.read(client, f"/apis/{known.api_version}")
    return next(str(one["name"]) for one in served["resources"] if one["kind"] == known.kind and "/" not in one["name"])


async def _holding(reader: _Reader, places: Iterable[str], found: Gathered) -> Holding:
    """Returns the objects of ours, the namespaces and the owners; of ours none where they are not served or may not be read."""
    base = f"/apis/{wellknown.API_VERSION}"
    lists = [("AgentRuntimeClusterConfig", f"{base}/agentruntimeclusterconfigs")]
    for place in places:
        lists += [
            (kind, f"{base}/namespaces/{quote(place, safe='')}/{plural}") for kind, plural in _IN_NAMESPACE.items()
        ]
    held = Holding()
    for kind, path in lists:
        for item in await reader.items(path, path, kind, wellknown.API_VERSION, ours=True):
            held.add(item, namespace="")
    for one in (*found.namespaces, *found.workloads):
        held.add(one, namespace="")
    return held


_IN_NAMESPACE: Final = {"AgentRuntimeConfig": "agentruntimeconfigs", "AgentRuntime": "agentruntimes"}


async def older(client: KubeClient, scope: Scope, report: Report) -> Gathered:
    """Returns the objects of the older API groups, and the workloads that cards target."""
    reader = _Reader(client, report)
    found = Gathered()
    for group in crs.GROUPS:
        for kind, plural in crs.KINDS.items():
            version = f"{group}/v1alpha1"
            items = await reader.items(f"/apis/{version}/{plural}", f"{plural}.{group}", kind, version)
            found.older += [one for one in items if _in(one, scope)]
    places = sorted({one["metadata"]["namespace"] for one in found.older if one["kind"] == "AgentCard"})
    found.workloads = [one for place in places for one in await reader.workloads(place)]
    return found


def path_of(owner: workload.WorkloadRef, found: Gathered) -> str:
    """Returns the API path of a workload."""
    known = found.paths.get(str(owner))
    if known:
        return known
    version, plural = _WORKLOADS[owner.kind]
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return f"{base}/namespaces/{quote(owner.namespace, safe='')}/{plural}/{quote(owner.name, safe='')}"
