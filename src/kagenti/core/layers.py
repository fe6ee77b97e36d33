"""Stored objects → the layers in force for one workload: the one place where webhook, CLI and operator gather them.

Keeps what was parsed, per object and version, so that a merge costs no parsing, and the last valid version of an
object that no longer parses (spec 02, "unreadable layers fail closed"). Reads nothing itself, decides nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import orjson
from pydantic import BaseModel, ValidationError

from kagenti import errors
from kagenti.core import selfchecks, settings
from kagenti.core.settings.model import Finding, Layer, LayerName, Source
from kagenti.core.workload import WorkloadRef
from kagenti_api.v1alpha1 import wellknown
from kagenti_api.v1alpha1.configs import ClusterPolicy, NamespacePolicy

JSON = Any  # a raw manifest

KINDS: Final[Mapping[LayerName, str]] = {
    "cluster": "AgentRuntimeClusterConfig",
    "namespace": "AgentRuntimeConfig",
    "workload": "AgentRuntime",
}
# 10,000 AgentRuntimes are the largest fleet measured; a parsed layer is about 2 KiB.
MOST_LAYERS: Final = 16_384


class Stored(Protocol):
    """One object of ours as a cache holds it: its identity, and its spec as the bytes that were received."""

    @property
    def namespace(self) -> str:
        """Namespace; empty for the cluster's config."""

    @property
    def name(self) -> str:
        """Name."""

    @property
    def uid(self) -> str:
        """UID: a new object of the same name is another object."""

    @property
    def resource_version(self) -> str:
        """Version of the object, opaque."""

    @property
    def creation_timestamp(self) -> str:
        """When it was created, RFC 3339."""

    @property
    def target(self) -> WorkloadRef | None:
        """The target of an AgentRuntime; None for other kinds and where it cannot be read."""

    @property
    def spec(self) -> bytes:
        """JSON of ``.spec``."""


class Catalogue(Protocol):
    """What a process knows of the cluster's objects of ours; a cache in the webhook, files in the CLI."""

    def synced(self) -> bool:
        """Whether the first full lists have been read."""

    def cluster_config(self) -> Stored | None:
        """Returns AgentRuntimeClusterConfig default."""

    def namespace_config(self, namespace: str) -> Stored | None:
        """Returns AgentRuntimeConfig default of a namespace."""

    def runtimes_for(self, target: WorkloadRef) -> Sequence[Stored]:
        """Returns every AgentRuntime that targets that top owner."""

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        """Returns the labels of a namespace; None when it is not known."""


@dataclass(frozen=True, slots=True)
class Read:
    """One object, parsed: the layer in force, and what is wrong with the present version where it does not parse.

    ``layer`` None: unreadable, and no valid version is known. Both set: the last valid version is in force.
    """

    source: Source
    layer: Layer | None
    fault: Finding | None = None
    type: str = ""


class Sources(msgspec.Struct, frozen=True):
    """The layers above one workload, and what could not be had.

    ``runtime_type`` is ``spec.type`` of the AgentRuntime. ``unreadable`` has one finding per object without a valid
    version: settings must not be resolved then. ``policy_readable`` is False when one of those is a config kind.
    ``notes`` are findings that change nothing: a last valid version in force, an AgentRuntime that lost to another.
    """

    cluster: Layer | None = None
    namespace: Layer | None = None
    runtime: Layer | None = None
    runtime_source: Source | None = None
    runtime_type: str = ""
    unreadable: tuple[Finding, ...] = ()
    policy_readable: bool = True
    notes: tuple[Finding, ...] = ()


class LayerCache:
    """Parsed layers by object; beyond ``limit`` the one that has not changed for longest is forgotten."""

    def __init__(self, limit: int = MOST_LAYERS) -> None:
        self._limit = limit
        self._reads: dict[tuple[LayerName, str, str], tuple[str, str, Read]] = {}

    def __len__(self) -> int:
        return len(self._reads)

    def read(self, layer: LayerName, stored: Stored) -> Read:
        """Returns the layer of a stored object; parses only a version that has not been seen."""
        key = (layer, stored.namespace, stored.name)
        known = self._reads.get(key)
        if known is not None and known[1] == stored.resource_version and known[0] == stored.uid:
            return known[2]
        last = known[2] if known is not None and known[0] == stored.uid else None
        found = _parse(layer, stored, last)
        self._keep(key, (stored.uid, stored.resource_version, found))
        return found

    def gather(self, *, cluster: Stored | None, namespace: Stored | None, runtimes: Sequence[Stored] = ()) -> Sources:
        """Returns the layers in force for one workload.

        Args:
            cluster: The cluster's config; None where it does not exist.
            namespace: The namespace's config; None where it does not exist.
            runtimes: Every AgentRuntime that targets the workload; the oldest wins.
        """
        if cluster is None and namespace is None and not runtimes:
            return NO_SOURCES
        winner = pick_runtime(runtimes)
        reads = (
            self.read("cluster", cluster) if cluster is not None else None,
            self.read("namespace", namespace) if namespace is not None else None,
            self.read("workload", winner) if winner is not None else None,
        )
        return _sources(*reads, losers=[loser for loser in runtimes if loser is not winner])

    def _keep(self, key: tuple[LayerName, str, str], entry: tuple[str, str, Read]) -> None:
        self._reads.pop(key, None)
        self._reads[key] = entry
        if len(self._reads) > self._limit:
            del self._reads[next(iter(self._reads))]


NO_SOURCES: Final = Sources()
"""No config and no AgentRuntime: the built-in layer alone."""


def for_target(runtimes: Iterable[Stored], target: WorkloadRef) -> tuple[Stored, ...]:
    """Returns those of a strict read that target the owner: its selector knows kind and name, but no group.

    One whose target cannot be read stays: it matched at the API server, and must not be taken for an absent one.
    """
    return tuple(stored for stored in runtimes if stored.target is None or stored.target == target)


def pick_runtime(candidates: Iterable[Stored]) -> Stored | None:
    """Returns the AgentRuntime in force among those of one target: the oldest, then by name (spec 02)."""
    return min(candidates, key=lambda stored: (stored.creation_timestamp, stored.name), default=None)


def manifest_of(layer: LayerName, stored: Stored) -> JSON:
    """Returns a stored object as a raw manifest.

    Raises:
        ManifestError: Its spec is not JSON.
    """
    try:
        spec = orjson.loads(stored.spec) if stored.spec else {}
    except orjson.JSONDecodeError as error:
        source = source_of(layer, stored)
        raise errors.ManifestError(f"{source}: spec is not JSON ({error.msg}); apply it again") from error
    return {
        "apiVersion": wellknown.API_VERSION,
        "kind": KINDS[layer],
        "metadata": {
            "namespace": stored.namespace,
            "name": stored.name,
            "uid": stored.uid,
            "resourceVersion": stored.resource_version,
            "creationTimestamp": stored.creation_timestamp,
        },
        "spec": spec,
    }


def source_of(layer: LayerName, stored: Stored) -> Source:
    """Returns the object behind a layer, for people."""
    return Source(layer, KINDS[layer], stored.namespace, stored.name, stored.resource_version)


def parse(layer: LayerName, manifest: Mapping[str, JSON]) -> Layer:
    """Returns the layer of a raw manifest, whose policy is checked as strictly as its settings.

    A policy that cannot be read makes the whole object unreadable: a misspelt Mandatory must not fail open. An
    AgentRuntime has no policy; the API server prunes one, and so does this.

    Raises:
        ManifestError: Settings or policy do not validate; names object, field and value.
    """
    spec = manifest.get("spec")
    if not isinstance(spec, Mapping) or spec.get("policy") is None:
        return settings.parse_layer(layer, manifest)
    model = _POLICIES.get(layer)
    if model is None:
        bare = {key: value for key, value in spec.items() if key != "policy"}
        return settings.parse_layer(layer, {**manifest, "spec": bare})
    try:
        model.model_validate(spec["policy"])
    except ValidationError as problem:
        first = problem.errors()[0]
        path = ".".join(("spec", "policy", *map(str, first["loc"])))
        metadata = manifest.get("metadata") or {}
        source = Source(layer, KINDS[layer], metadata.get("namespace") or "", metadata.get("name") or "")
        raise errors.ManifestError(
            f"{source}: {path} is {str(first.get('input'))[:80]!r}: {first['msg']}; correct or remove it"
        ) from problem
    read = settings.parse_layer(layer, manifest)
    for fault in selfchecks.entries_choose(manifest):  # an entry that selects nothing would fail open
        raise errors.ManifestError(f"{read.source}: {fault.path}: {fault.message}; correct or remove it")
    return read


_POLICIES: Final[Mapping[LayerName, type[BaseModel]]] = {"cluster": ClusterPolicy, "namespace": NamespacePolicy}


def _parse(layer: LayerName, stored: Stored, last: Read | None) -> Read:
    source = source_of(layer, stored)
    try:
        manifest = manifest_of(layer, stored)
        parsed = parse(layer, manifest)
    except errors.ManifestError as error:
        text = str(error) if str(source) in str(error) else f"{source}: {error}"
        fault = Finding("ConfigInvalid", text, objects=(str(source),))
        return Read(source, last.layer, fault, last.type) if last else Read(source, None, fault)
    kind = manifest["spec"].get("type") if isinstance(manifest["spec"], dict) else None
    return Read(source, parsed, type=kind if isinstance(kind, str) else "")


def _sources(
    cluster: Read | None, namespace: Read | None, runtime: Read | None, *, losers: Sequence[Stored]
) -> Sources:
    present = [read for read in (cluster, namespace, runtime) if read is not None]
    notes = [_last_valid(read) for read in present if read.layer is not None and read.fault is not None]
    if runtime is not None:
        notes.extend(_conflict(loser, runtime.source) for loser in losers)
    configs = (read for read in (cluster, namespace) if read is not None)
    return Sources(
        cluster=cluster.layer if cluster else None,
        namespace=namespace.layer if namespace else None,
        runtime=runtime.layer if runtime else None,
        runtime_source=runtime.source if runtime else None,
        runtime_type=runtime.type if runtime else "",
        unreadable=tuple(read.fault for read in present if read.layer is None and read.fault is not None),
        policy_readable=all(read.layer is not None for read in configs),
        notes=tuple(notes),
    )


def _last_valid(read: Read) -> Finding:
    version = read.layer.source.resource_version if read.layer else ""
    why = read.fault.message if read.fault else ""
    return Finding("ConfigInvalid", f"{why}; its last valid version {version} is in force", objects=(str(read.source),))


def _conflict(loser: Stored, winner: Source) -> Finding:
    name = source_of("workload", loser)
    message = f"{name} targets the same workload as {winner}, which is older and in force; delete one"
    return Finding("Conflict", message, objects=(str(name), str(winner)))
