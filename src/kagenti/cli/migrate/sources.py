"""The objects that a migration reads, from a dump or from a cluster; what may not be read becomes a fault, the rest is used."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import orjson

from kagenti import errors
from kagenti.cli import catalogue, cluster, manifests, workloads
from kagenti.cli.catalogue import Holding
from kagenti.cli.manifests import Document
from kagenti.cli.migrate import Scope
from kagenti.cli.migrate.reader import WORKLOADS, Reader
from kagenti.cli.named import Named
from kagenti.core import installed, workload
from kagenti.core.admission.shape import fault_of_metadata
from kagenti.core.migration import crs, eras, shapes
from kagenti.core.migration.report import Report
from kagenti.core.trigger import Mode
from kagenti.kube.client import KubeClient
from kagenti.kube.owners import OwnerReader
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw object

_HOOKS: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


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
        return next(
            (installed.mode(found) for found in self.hooks if found["metadata"].get("name") == installed.INJECTOR), None
        )

    @property
    def old_hooks(self) -> list[JSON]:
        """The configurations of old webhooks."""
        return [found for found in self.hooks if eras.is_old_webhook(found)]

    def providers(self) -> tuple[str, ...]:
        """Returns the identity providers that the cluster's config lists already."""
        config = self.holding.cluster_config()
        spec = orjson.loads(config.spec) if config is not None else {}
        listed = (spec.get("policy") or {}).get("identityProviders") or ()
        return tuple(str(url) for url in listed)


def gather(scope: Scope, report: Report) -> Gathered:
    """Returns what the files or the cluster hold."""
    if scope.files:
        return from_files(scope)
    return cluster.session(scope.kubeconfig, lambda client: from_cluster(client, scope, report))


def from_files(scope: Scope) -> Gathered:
    """Returns what a dump holds; raises ManifestError for a file that is no YAML, or an object of ours that is invalid."""
    return manifests.of_dump(scope.files, lambda documents: _of_documents(manifests.unrolled(documents), scope))


def _of_documents(documents: Sequence[Document], scope: Scope) -> Gathered:
    found = Gathered(holding=catalogue.from_documents(documents, namespace="default"))
    for document in documents:
        if document.content is not None:
            _check(document)
            _sort(manifests.plain(document.content), found)
    found.workloads = [one for one in found.workloads if _in(one, scope)]
    found.older = [one for one in found.older if _in(one, scope)]
    return found


def _check(document: Document) -> None:
    """Raises ManifestError with file and line for an object that no API server would have given, as far as it is read here."""
    content = manifests.plain(document.content)
    kind = content["kind"]
    fault = fault_of_metadata(content.get("metadata"), "metadata")
    if not fault and not (content.get("metadata") or {}).get("name"):
        fault = "metadata.name: it is missing"
    if not fault and kind == "MutatingWebhookConfiguration":
        fault = shapes.fault_of_configuration(content)
    if fault:
        where, _, what = fault.partition(": ")
        raise errors.ManifestError(
            f"{document.at(where.split('.'))}: {kind} is invalid: {where}: {what}; dump it with kubectl get -o yaml"
        )
    workloads.subject_in(document, (), document.content, namespace="default")


def _in(found: JSON, scope: Scope) -> bool:
    return not scope.namespaces or (found["metadata"].get("namespace") or "default") in scope.namespaces


def _sort(found: JSON, into: Gathered) -> None:
    kind, group = str(found.get("kind")), workload.group_of(str(found.get("apiVersion")))
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
    reader = Reader(client, report)
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


async def _holding(reader: Reader, places: Iterable[str], found: Gathered) -> Holding:
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
    reader = Reader(client, report)
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
    version, plural = WORKLOADS[owner.kind]
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return f"{base}/namespaces/{quote(owner.namespace, safe='')}/{plural}/{quote(owner.name, safe='')}"
