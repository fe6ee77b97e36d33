"""Our kinds, namespaces and owners as files or the cluster hold them, in the form in which core gathers layers."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from kagenti.cli.manifests import Document, plain
from kagenti.core import workload
from kagenti.core.admission.shape import fault_of_metadata
from kagenti.core.workload import OwnerReference, Subject, WorkloadRef, group_of
from kagenti.errors import ManifestError
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw manifest
OUR_KINDS: Final = ("AgentRuntime", "AgentRuntimeConfig", "AgentRuntimeClusterConfig", "AgentCard")
_MADE: Final = (("apps", "ReplicaSet"), ("batch", "Job"))  # kinds whose own controller is the top owner (spec 03)
_POD: Final = ("", "Pod")
_NEW: Final = "9999"  # of an object that does not exist yet: it is younger than all that do


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
    """Everything known: objects of ours, labels of namespaces, who controls what, and what the cluster said of owners.

    ``named`` are namespaces that objects name: they exist by the time the objects do. ``tops`` are top owners as read
    from the cluster, by namespace and reference; None for a reference that does not hold.
    """

    objects: dict[tuple[str, str, str], Held] = field(default_factory=dict)
    namespaces: dict[str, Mapping[str, str]] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    controllers: dict[WorkloadRef, OwnerReference] = field(default_factory=dict)
    tops: dict[tuple[str, OwnerReference], WorkloadRef | None] = field(default_factory=dict)
    _by_target: dict[WorkloadRef, list[Held]] | None = field(default=None, init=False, compare=False)

    def cluster_config(self) -> Held | None:
        """Returns AgentRuntimeClusterConfig default."""
        return self.objects.get(("AgentRuntimeClusterConfig", "", "default"))

    def namespace_config(self, namespace: str) -> Held | None:
        """Returns AgentRuntimeConfig default of a namespace."""
        return self.objects.get(("AgentRuntimeConfig", namespace, "default"))

    def runtimes_for(self, target: WorkloadRef) -> Sequence[Held]:
        """Returns every AgentRuntime that targets that top owner."""
        if self._by_target is None:  # looked up for each of thousands of workloads and pods
            self._by_target = {}
            for held in self.objects.values():
                if held.kind == "AgentRuntime" and held.target is not None:
                    self._by_target.setdefault(held.target, []).append(held)
        return self._by_target.get(target, ())

    def is_namespace(self, name: str) -> bool:
        """Whether a namespace of that name is known."""
        return name in self.namespaces or name in self.named

    def reference(self, subject: Subject) -> OwnerReference | None:
        """Returns the controller reference that leads up from a pod, ReplicaSet or Job; None for the top of a chain."""
        if (subject.owner.group, subject.owner.kind) == _POD:
            return workload.controller_reference(subject.template)
        return self.controllers.get(subject.owner)

    def top_of(self, subject: Subject) -> WorkloadRef:
        """Returns the top owner of a subject: as the cluster said, else as the files say, else what the reference says."""
        reference = self.reference(subject)
        if reference is None:
            return subject.owner
        key = (subject.namespace, reference)
        if key in self.tops:
            return self.tops[key] or subject.owner
        above = reference.workload(subject.namespace)
        further = self.controllers.get(above) if subject.owner.kind == "Pod" else None
        return further.workload(subject.namespace) if further else above

    def add(self, manifest: Mapping[str, JSON], *, namespace: str) -> None:
        """Takes one raw manifest: an object of ours, a Namespace or a controlled object; of others only the namespace."""
        metadata = manifest.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        kind, group = str(manifest.get("kind")), group_of(str(manifest.get("apiVersion")))
        if metadata.get("namespace"):
            self.named.add(str(metadata["namespace"]))
        if kind == "Namespace" and manifest.get("apiVersion") == "v1":
            name = str(metadata.get("name"))
            # The API server puts this label on every namespace; selectors and policies may ask for it.
            self.namespaces[name] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": name}
        elif kind in OUR_KINDS and group == wellknown.GROUP:
            held = _held(manifest, metadata, namespace)
            self.objects[held.kind, held.namespace, held.name] = held
            self._by_target = None
        elif (group, kind) in _MADE:
            reference = workload.controller_reference(manifest)
            if reference is not None:
                self.controllers[workload.reference_of(manifest, namespace=namespace)] = reference

    def over(self, known: "Holding") -> "Holding":
        """Returns what is held once the objects here are applied to what is known: they replace by kind, namespace and name.

        A namespace keeps the labels that a file does not name, as ``kubectl apply`` leaves those that others have set.
        """
        labels = {name: {**known.namespaces.get(name, {}), **own} for name, own in self.namespaces.items()}
        return Holding(
            objects={**known.objects, **{key: _applied(held, known.objects.get(key)) for key, held in self.objects.items()}},
            namespaces={**known.namespaces, **labels},
            named=known.named | self.named,
            controllers={**known.controllers, **self.controllers},
            tops={**known.tops, **self.tops},
        )  # fmt: skip


def _applied(held: Held, known: Held | None) -> Held:
    """Returns an object with the age that it will have: that of the object it replaces, or the youngest of all."""
    return dataclasses.replace(held, creation_timestamp=known.creation_timestamp if known else _NEW)


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
        kind, group = content["kind"], group_of(str(content.get("apiVersion")))
        ours = kind in OUR_KINDS and group == wellknown.GROUP
        if ours or (group, kind) in (*_MADE, ("", "Namespace")):
            _check_metadata(document, content)
        if ours:
            from kagenti.cli.schemas import check  # jsonschema takes a tenth of a second; most files have none of ours

            check(document, content)
        holding.add(content, namespace=namespace)
    return holding


def _check_metadata(document: Document, content: Mapping[str, JSON]) -> None:
    fault = fault_of_metadata(content.get("metadata"), "metadata")
    if fault:
        field, _, what = fault.partition(": ")
        where = document.at(re.findall(r"[^.\[\]]+", field))
        raise ManifestError(f"{where}: {content['kind']} is invalid: {field}: {what}; correct it")
