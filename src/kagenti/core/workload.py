"""One view of Pod, Deployment, StatefulSet, DaemonSet, Job, CronJob, ReplicaSet and any kind with a pod template.

Reads raw manifests and never changes them; decides nothing about injection.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw Kubernetes object: nested dict, list and scalars whose fields we must not lose

TEMPLATE_PATHS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("", "Pod"): (),
    ("apps", "Deployment"): ("spec", "template"),
    ("apps", "StatefulSet"): ("spec", "template"),
    ("apps", "DaemonSet"): ("spec", "template"),
    ("apps", "ReplicaSet"): ("spec", "template"),
    ("batch", "Job"): ("spec", "template"),
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
}
"""Where the pod template stands in each built-in kind; other kinds are looked at under ``spec.template``."""


def group_of(api_version: str) -> str:
    """Returns the API group of an apiVersion; the core group is the empty string."""
    return api_version.rpartition("/")[0]


class WorkloadRef(msgspec.Struct, frozen=True):
    """Names the top of an owner chain; the API version is dropped, so that v1 and v1beta1 references meet."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class OwnerReference(msgspec.Struct, frozen=True):
    """A controller reference as it stands in metadata."""

    api_version: str
    kind: str
    name: str
    uid: str

    @property
    def group(self) -> str:
        """API group of the owner."""
        return group_of(self.api_version)

    def workload(self, namespace: str) -> WorkloadRef:
        """Returns the owner as a workload of that namespace."""
        return WorkloadRef(self.group, self.kind, namespace, self.name)


class Subject(msgspec.Struct, frozen=True):
    """What a decision is about: a pod template and the workload that it belongs to.

    ``template`` has ``metadata`` and ``spec`` of a pod (for target pods it is the pod itself); raw, not modified.
    ``path`` is where it stands in the admitted object, as keys. ``owner`` is the top of the owner chain; for a
    standalone pod its kind is Pod, and its name may be empty as long as only generateName is known.
    ``labels_of_workload`` are the labels on the workload's own metadata, empty for target pods.
    """

    owner: WorkloadRef
    template: Mapping[str, JSON]
    path: tuple[str, ...] = ()
    labels_of_workload: Mapping[str, str] | None = None

    @property
    def namespace(self) -> str:
        """Namespace of the workload."""
        return self.owner.namespace

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the pod."""
        labels: Mapping[str, str] = (self.template.get("metadata") or {}).get("labels") or {}
        return labels

    @property
    def annotations(self) -> Mapping[str, str]:
        """Annotations of the pod."""
        annotations: Mapping[str, str] = (self.template.get("metadata") or {}).get("annotations") or {}
        return annotations

    @property
    def spec(self) -> Mapping[str, JSON]:
        """Pod spec, raw."""
        spec: Mapping[str, JSON] = self.template.get("spec") or {}
        return spec

    @property
    def inject_label(self) -> str | None:
        """Value of the inject label: the template's, else the workload's own (target workloads)."""
        value = self.labels.get(wellknown.INJECT_LABEL)
        if value is None and self.labels_of_workload:
            return self.labels_of_workload.get(wellknown.INJECT_LABEL)
        return value

    @property
    def type_label(self) -> str | None:
        """Value of the type label: the template's, else the workload's own (target workloads)."""
        value = self.labels.get(wellknown.TYPE_LABEL)
        if value is None and self.labels_of_workload:
            return self.labels_of_workload.get(wellknown.TYPE_LABEL)
        return value

    @property
    def service_account(self) -> str:
        """Name of the pod's service account."""
        name: str = self.spec.get("serviceAccountName") or self.spec.get("serviceAccount") or "default"
        return name


def misplaced_label(subject: Subject) -> str:
    """Returns a sentence for an inject label on the workload's own metadata, which its pods do not see; else empty.

    It triggers nothing with target pods (spec 03); the sentence names the one line to move.
    """
    own = (subject.labels_of_workload or {}).get(wellknown.INJECT_LABEL)
    if own is None or not subject.path or wellknown.INJECT_LABEL in subject.labels:
        return ""
    path = ".".join((*subject.path, "metadata", "labels"))
    return (
        f"label {wellknown.INJECT_LABEL} is on the {subject.owner.kind}'s own metadata, where its pods do not see it; "
        f"put it on the pod template: {path}"
    )


def controller_reference(manifest: Mapping[str, JSON]) -> OwnerReference | None:
    """Returns the controller reference of a raw object, or None (Kubernetes: at most one has ``controller: true``)."""
    for reference in (manifest.get("metadata") or {}).get("ownerReferences") or ():
        if reference.get("controller") is True:
            return OwnerReference(
                api_version=reference.get("apiVersion", ""),
                kind=reference.get("kind", ""),
                name=reference.get("name", ""),
                uid=reference.get("uid", ""),
            )
    return None


def reference_of(manifest: Mapping[str, JSON], *, namespace: str) -> WorkloadRef:
    """Returns a raw object's own reference; the name is empty while only generateName is known."""
    metadata = manifest.get("metadata") or {}
    return WorkloadRef(
        group=group_of(manifest.get("apiVersion", "")),
        kind=manifest.get("kind", ""),
        namespace=metadata.get("namespace") or namespace,
        name=metadata.get("name") or "",
    )


def template_path(manifest: Mapping[str, JSON]) -> tuple[str, ...] | None:
    """Returns where the pod template stands in a raw object, or None when it has none."""
    key = (group_of(manifest.get("apiVersion", "")), manifest.get("kind", ""))
    path = TEMPLATE_PATHS.get(key, ("spec", "template"))
    template = at(manifest, path)
    if not isinstance(template, Mapping) or not isinstance(template.get("spec"), Mapping):
        return None
    return path if isinstance(template["spec"].get("containers"), list) else None


def at(manifest: Mapping[str, JSON], path: tuple[str, ...]) -> JSON:
    """Returns what stands at that path of keys, or None."""
    node: JSON = manifest
    for key in path:
        if not isinstance(node, Mapping):
            return None
        node = node.get(key)
    return node


def subject_of(manifest: Mapping[str, JSON], *, namespace: str) -> Subject | None:
    """Returns a workload (target workloads, files) as the subject of a decision; None without a pod template."""
    path = template_path(manifest)
    if path is None:
        return None
    labels = (manifest.get("metadata") or {}).get("labels") or {}
    return Subject(
        owner=reference_of(manifest, namespace=namespace),
        template=at(manifest, path),
        path=path,
        labels_of_workload=labels if path else None,
    )
