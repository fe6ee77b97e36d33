"""Patches of workloads: labels moved, renamed and cleaned, and what old webhooks stored inside pod templates taken out.

Each is a JSON patch that first tests the generation it was made from, so that it never meets another template.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kagenti.core import inject
from kagenti.core.inject.patch import Operation, Patch
from kagenti.core.migration.eras import Era
from kagenti.core.migration.images import split
from kagenti.core.migration.workloads import OldWorkload
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a part of a raw workload

IMAGES: Final = (
    "proxy-init",
    "spiffe-helper",
    "client-registration",
    "envoy-with-processor",
    "authbridge",
    "authbridge-unified",
    "authbridge-light",
    "authbridge-lite",
    "authbridge-envoy",
)
CONTAINERS: Final = (
    "proxy-init",
    "spiffe-helper",
    "kagenti-client-registration",
    "envoy-proxy",
    "authbridge",
    "authbridge-proxy",
)
VOLUMES: Final = {
    "shared-data": "emptyDir",
    "svid-output": "emptyDir",
    "spire-agent-socket": "",
    "spiffe-helper-config": "configMap",
    "envoy-config": "configMap",
    "authproxy-routes": "configMap",
    "authbridge-runtime-config": "configMap",
}
"""Volume → the source that the old webhook gave it; the socket was a hostPath before it was CSI."""
ANNOTATIONS: Final = tuple(
    f"{wellknown.PREFIX}{name}"
    for name in ("config-hash", "mtls-mode", "keycloak-client-credentials-secret-name", "authbridge-mode")
)
_NOT_FOR_PODS: Final = (
    f"{wellknown.PREFIX}framework",
    f"{wellknown.PREFIX}workload-type",
    f"{wellknown.PREFIX}description",
)


@dataclass(frozen=True, slots=True)
class WorkloadPatch:
    """The operations on one workload, what they do, and the workload as it will be."""

    workload: OldWorkload
    operations: tuple[Operation, ...]
    why: tuple[str, ...]

    @property
    def guarded(self) -> tuple[Operation, ...]:
        """The operations behind a test of the generation that they were made from, which a roll-out's status does not change."""
        generation = (self.workload.manifest.get("metadata") or {}).get("generation")
        if not generation:
            return self.operations
        return ({"op": "test", "path": "/metadata/generation", "value": generation}, *self.operations)


def clean(found: OldWorkload) -> tuple[list[Operation], list[str]]:
    """Returns what takes old sidecars, their volumes and annotations out of a template, and clauses that say so.

    A container goes by its name and image together: a user's own envoy-proxy stays. What kagenti injected stays too.
    """
    subject = found.subject
    patch, said = Patch(subject.path), []
    if inject.read(subject) is not None:
        return [], []
    left: list[JSON] = []
    for key in ("initContainers", "containers"):
        items = subject.spec.get(key) or ()
        gone = [index for index, item in enumerate(items) if is_old_sidecar(item)]
        left += [item for item in items if not is_old_sidecar(item)]
        said += [f"takes {items[index]['name']} out" for index in gone]
        if gone and len(gone) == len(items):
            patch.remove("spec", key)
            continue
        for index in reversed(gone):
            patch.remove("spec", key, index)
    if not said:
        return [], []
    said += _volumes(patch, subject.spec.get("volumes") or (), left)
    said += _group(patch, subject.spec)
    gone_keys = [key for key in ANNOTATIONS if key in subject.annotations]
    for key in gone_keys:
        patch.remove("metadata", "annotations", key)
    return patch.operations, [*said, *(f"takes annotation {key} out" for key in gone_keys)]


def is_old_sidecar(container: Mapping[str, JSON]) -> bool:
    """Whether a container is one that an old webhook stored: by its name and the name of its image."""
    image = split(str(container.get("image") or ""))[0].rpartition("/")[2]
    return container.get("name") in CONTAINERS and image in IMAGES


def _volumes(patch: Patch, volumes: Sequence[Mapping[str, JSON]], left: Sequence[Mapping[str, JSON]]) -> list[str]:
    used = {mount.get("name") for item in left for mount in item.get("volumeMounts") or ()}
    gone = [
        index
        for index, volume in enumerate(volumes)
        if volume.get("name") in VOLUMES
        and volume["name"] not in used
        and (not VOLUMES[volume["name"]] or VOLUMES[volume["name"]] in volume)
    ]
    if gone and len(gone) == len(volumes):
        patch.remove("spec", "volumes")
    else:
        for index in reversed(gone):
            patch.remove("spec", "volumes", index)
    return [f"takes volume {volumes[index]['name']} out" for index in gone]


def _group(patch: Patch, spec: Mapping[str, JSON]) -> list[str]:
    """The old webhook set fsGroup 0 where none was set (reference 1.8)."""
    context = spec.get("securityContext")
    if not isinstance(context, Mapping) or context.get("fsGroup") != 0:
        return []
    if len(context) == 1:
        patch.remove("spec", "securityContext")
    else:
        patch.remove("spec", "securityContext", "fsGroup")
    return ["takes fsGroup 0 out"]


def labels(found: OldWorkload, era: Era) -> WorkloadPatch | None:
    """Returns the patch that brings a workload's labels to its pod template and cleans the template; None where all is right.

    Labels of a renamed prefix come under ours, ``client-registration-inject: "false"`` goes where it meant nothing.
    """
    wanted = dict(_from_workload(found)) | dict(_renamed(found.subject.labels, era))
    return _brought(found, era, wanted, clean(found))


def renamed(found: OldWorkload, era: Era) -> WorkloadPatch | None:
    """Returns the patch after which a template says to kagenti what it said to the old webhook, but for the trigger; None if it does."""
    wanted = {key: value for key, value in _renamed(found.subject.labels, era) if key != wellknown.INJECT_LABEL}
    return _brought(found, era, wanted, ([], []))


def _brought(
    found: OldWorkload, era: Era, wanted: Mapping[str, str], cleaned: tuple[list[Operation], list[str]]
) -> WorkloadPatch | None:
    """Returns the patch that cleans, adds the labels and renamed annotations that are missing, and takes an inverted label out."""
    operations, why = cleaned
    subject = found.subject
    more, said = _set_labels(found, {key: value for key, value in wanted.items() if key not in subject.labels})
    annotations = {key: value for key, value in _renamed(subject.annotations, era) if key not in subject.annotations}
    patch = Patch(subject.path)
    metadata = subject.template.get("metadata") or {}
    patch.set_map(metadata.get("annotations"), annotations, "metadata", "annotations")
    inverted = wellknown.COMPONENT_OPT_OUT_LABELS["clientRegistration"]
    if era.registration != "optsOut" and subject.labels.get(inverted) == "false":
        patch.remove("metadata", "labels", inverted)
        said.append(f'takes {inverted}: "false" out, which did nothing and would opt out now')
    said += [f"adds annotation {key}" for key in annotations]
    return _patch(found, [*operations, *more, *patch.operations], [*why, *said])


def _from_workload(found: OldWorkload) -> Iterator[tuple[str, str]]:
    for key, value in (found.subject.labels_of_workload or {}).items():
        if key.startswith(wellknown.PREFIX) and key not in _NOT_FOR_PODS:
            yield key, value


def _renamed(entries: Mapping[str, str], era: Era) -> Iterator[tuple[str, str]]:
    if era.prefix == wellknown.PREFIX:
        return
    for key, value in entries.items():
        if key.startswith(era.prefix):
            yield wellknown.PREFIX + key.removeprefix(era.prefix), value


def trigger(found: OldWorkload, *, kind: str = "") -> WorkloadPatch | None:
    """Returns the patch that labels a template as triggered, after cleaning it; ``kind`` is agent or tool where no label says."""
    operations, why = clean(found)
    wanted = {wellknown.INJECT_LABEL: wellknown.INJECT_ENABLED}
    if kind and wellknown.TYPE_LABEL not in found.subject.labels:
        wanted[wellknown.TYPE_LABEL] = kind
    missing = {key: value for key, value in wanted.items() if found.subject.labels.get(key) != value}
    more, said = _set_labels(found, missing)
    return _patch(found, [*operations, *more], [*why, *said])


def untrigger(found: OldWorkload) -> WorkloadPatch | None:
    """Returns the patch that takes the trigger label from template and workload, after cleaning; the type label stays."""
    operations, why = clean(found)
    patch, own = Patch(found.subject.path), Patch()
    said = []
    if found.subject.labels.get(wellknown.INJECT_LABEL) == wellknown.INJECT_ENABLED:
        patch.remove("metadata", "labels", wellknown.INJECT_LABEL)
        said.append(f"takes label {wellknown.INJECT_LABEL} out of the pod template")
    if (found.subject.labels_of_workload or {}).get(wellknown.INJECT_LABEL) == wellknown.INJECT_ENABLED:
        own.remove("metadata", "labels", wellknown.INJECT_LABEL)
        said.append(f"takes label {wellknown.INJECT_LABEL} from the workload")
    return _patch(found, [*operations, *patch.operations, *own.operations], [*why, *said])


def _set_labels(found: OldWorkload, wanted: Mapping[str, str]) -> tuple[list[Operation], list[str]]:
    patch = Patch(found.subject.path)
    metadata = found.subject.template.get("metadata")
    if metadata is None and wanted:
        patch.add({"labels": dict(wanted)}, "metadata")
    elif wanted:
        patch.set_map((metadata or {}).get("labels"), wanted, "metadata", "labels")
    return patch.operations, [f"sets label {key}: {value} on the pod template" for key, value in wanted.items()]


def _patch(found: OldWorkload, operations: list[Operation], why: list[str]) -> WorkloadPatch | None:
    return WorkloadPatch(found, tuple(operations), tuple(why)) if operations else None


def command(patch: WorkloadPatch) -> tuple[str, ...]:
    """Returns the words of the kubectl command that does the same."""
    owner = patch.workload.subject.owner
    kind = f"{owner.kind.lower()}.{owner.group}" if owner.group else owner.kind.lower()
    return ("kubectl", "patch", kind, owner.name, "-n", owner.namespace, "--type=json", "-p")
