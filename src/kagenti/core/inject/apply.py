"""Pod + sidecars → JSON patch; a fixed point: an injected pod that is as it should be gives no operations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kagenti.core.inject import compare, receipt
from kagenti.core.inject.patch import Operation, Patch
from kagenti.core.inject.receipt import MOST_FILES, MOST_RECEIPT, Added, Stamp
from kagenti.core.inject.refusal import TOO_LARGE, Refusal
from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.sidecars import Sidecars
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a part of a raw pod

TOUCH_LIST: Final = (
    "metadata.annotations: ours, config.kagenti.io/*, and prometheus.io/* where absent",
    "metadata.labels: kagenti.io/managed, and kagenti.io/type from an AgentRuntime",
    "spec.initContainers: ours, first",
    "spec.volumes: ours, last",
    "spec.imagePullSecrets: the configured ones, appended",
    "spec.containers[*].env: names that the container does not set, appended",
)
"""Everything in a pod that injection may change; nothing else is touched (spec 04)."""


@dataclass(frozen=True, slots=True)
class Injection:
    """The operations that inject a pod, and what its author should know."""

    operations: tuple[Operation, ...]
    warnings: tuple[str, ...] = ()


def inject(
    subject: Subject,
    sidecars: Sidecars,
    *,
    settings: ResolvedSettings,
    stamp: Stamp,
    type_from_runtime: str = "",
) -> Injection | Refusal:
    """Returns the patch of the admitted object, or why it would be too large; the subject is not modified."""
    known = receipt.read(subject)
    added = _added(subject, sidecars, receipt.added_by(known or {}), type_from_runtime=type_from_runtime)
    text = receipt.write(sidecars, added, settings=settings, stamp=stamp)
    size = sum(len(content.encode()) for content in sidecars.files.values())
    if size > MOST_FILES or len(text) > MOST_RECEIPT:
        return Refusal(
            TOO_LARGE,
            f"files of {size} and a receipt of {len(text)} bytes are more than 65536 and 32768",
            "metadata.annotations",
        )
    patch = Patch(subject.path)
    _metadata(patch, subject, sidecars, added, text=text, settings=settings, stamp=stamp, type_=type_from_runtime)
    _init_containers(patch, subject, sidecars)
    _environment(patch, subject, sidecars, added)
    _volumes(patch, subject, sidecars)
    secrets = [{"name": name} for name in _missing_secrets(subject, sidecars)]
    patch.append_all(subject.spec.get("imagePullSecrets"), secrets, "spec", "imagePullSecrets")
    return Injection(tuple(patch.operations), sidecars.warnings)


def _added(subject: Subject, sidecars: Sidecars, known: Added, *, type_from_runtime: str) -> Added:
    """Returns what of the user's parts is ours: what we add now, and what the receipt says we added before."""
    environment = {}
    for container in subject.spec.get("containers") or ():
        theirs = {entry.get("name") for entry in container.get("env") or ()} - set(
            known.environment.get(container["name"], ())
        )
        environment[container["name"]] = tuple(name for name in sidecars.environment if name not in theirs)
    annotations = tuple(
        key for key in sidecars.annotations if key not in subject.annotations or key in known.annotations
    )
    absent = wellknown.TYPE_LABEL not in subject.labels or wellknown.TYPE_LABEL in known.labels
    labels = (wellknown.TYPE_LABEL,) if type_from_runtime and absent else ()
    kept = [name for name in known.image_pull_secrets if name in sidecars.image_pull_secrets]
    secrets = tuple(dict.fromkeys([*kept, *_missing_secrets(subject, sidecars)]))
    created = tuple(dict.fromkeys([*known.created, *_created(subject, sidecars, environment)]))
    return Added(environment, annotations, labels, secrets, created)


def _created(subject: Subject, sidecars: Sidecars, environment: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns the lists and maps that do not exist yet and that the patch will make."""
    metadata = subject.template.get("metadata") or {}
    wanted = {
        "metadata": "metadata" not in subject.template,
        "annotations": "annotations" not in metadata,
        "labels": "labels" not in metadata,
        "initContainers": "initContainers" not in subject.spec,
        "volumes": "volumes" not in subject.spec,
        "imagePullSecrets": bool(sidecars.image_pull_secrets) and "imagePullSecrets" not in subject.spec,
    }
    made = [name for name, missing in wanted.items() if missing]
    containers = subject.spec.get("containers") or ()
    bare = [found["name"] for found in containers if environment.get(found["name"]) and "env" not in found]
    return [*made, *(f"env:{name}" for name in bare)]


def _missing_secrets(subject: Subject, sidecars: Sidecars) -> list[str]:
    present = {entry.get("name") for entry in subject.spec.get("imagePullSecrets") or ()}
    return [name for name in sidecars.image_pull_secrets if name not in present]


def _metadata(
    patch: Patch,
    subject: Subject,
    sidecars: Sidecars,
    added: Added,
    *,
    text: str,
    settings: ResolvedSettings,
    stamp: Stamp,
    type_: str,
) -> None:
    annotations = {
        **sidecars.files,
        **{key: sidecars.annotations[key] for key in added.annotations},
        wellknown.RECEIPT_ANNOTATION: text,
        wellknown.CONFIG_HASH_ANNOTATION: settings.restart_revision,
        wellknown.INJECTED_AT_ANNOTATION: _injected_at(subject, stamp),
    }
    labels = {wellknown.MANAGED_LABEL: "true", **dict.fromkeys(added.labels, type_)}
    if "metadata" not in subject.template:
        patch.add({"annotations": annotations, "labels": labels}, "metadata")
        return
    metadata = subject.template["metadata"]
    patch.set_map(metadata.get("annotations"), annotations, "metadata", "annotations")
    for key in metadata.get("annotations") or ():
        if key.startswith(wellknown.CONFIG_PREFIX) and key not in annotations:
            patch.remove("metadata", "annotations", key)
    patch.set_map(metadata.get("labels"), labels, "metadata", "labels")


def _injected_at(subject: Subject, stamp: Stamp) -> str:
    """Returns when the pod was injected: set once, kept under reinvocation, never taken from a pod without a receipt."""
    if wellknown.RECEIPT_ANNOTATION not in subject.annotations:
        return stamp.now
    return subject.annotations.get(wellknown.INJECTED_AT_ANNOTATION) or stamp.now


def _init_containers(patch: Patch, subject: Subject, sidecars: Sidecars) -> None:
    """Puts ours first, in order; single fields are mended in place, another order is written anew."""
    current: Sequence[Mapping[str, JSON]] | None = subject.spec.get("initContainers")
    mounts = _service_account_mounts(subject)
    ours = [_with_mounts(container, mounts) for container in sidecars.init_containers]
    if current is None:
        patch.add(ours, "spec", "initContainers")
        return
    reserved = [found for found in current if found.get("name") in wellknown.RESERVED_CONTAINERS]
    if not reserved:
        for index, container in enumerate(ours):
            patch.add(container, "spec", "initContainers", index)
        return
    if [found.get("name") for found in current[: len(ours)]] == list(sidecars.names) and len(reserved) == len(ours):
        for index, (found, container) in enumerate(zip(current, sidecars.init_containers, strict=False)):
            if not compare.same_container(found, container):
                kept = compare.kept_mounts(found) or mounts
                patch.replace(_with_mounts(container, kept), "spec", "initContainers", index)
        return
    others = [found for found in current if found.get("name") not in wellknown.RESERVED_CONTAINERS]
    patch.replace([*ours, *others], "spec", "initContainers")


def _service_account_mounts(subject: Subject) -> list[JSON]:
    """Returns the mount that the ServiceAccount plugin gave the app's containers, and would give ours right after us.

    Giving it ourselves spares the API server a second call of this webhook for each injected pod (reinvocation).
    """
    for container in subject.spec.get("containers") or ():
        mounts = compare.kept_mounts(container)
        if mounts:
            return mounts
    return []


def _with_mounts(container: Mapping[str, JSON], mounts: Sequence[JSON]) -> dict[str, JSON]:
    if not mounts:
        return dict(container)
    return {**container, "volumeMounts": [*(container.get("volumeMounts") or ()), *mounts]}


def _environment(patch: Patch, subject: Subject, sidecars: Sidecars, added: Added) -> None:
    for index, container in enumerate(subject.spec.get("containers") or ()):
        current = container.get("env")
        at = {entry.get("name"): place for place, entry in enumerate(current or ())}
        missing = []
        for name in added.environment.get(container["name"], ()):
            entry = {"name": name, "value": sidecars.environment[name]}
            if name not in at:
                missing.append(entry)
            elif current[at[name]] != entry:
                patch.replace(entry, "spec", "containers", index, "env", at[name])
        patch.append_all(current, missing, "spec", "containers", index, "env")


def _volumes(patch: Patch, subject: Subject, sidecars: Sidecars) -> None:
    current: Sequence[Mapping[str, JSON]] | None = subject.spec.get("volumes")
    wanted = {volume["name"]: volume for volume in sidecars.volumes}
    present = set()
    stale = []
    for index, volume in enumerate(current or ()):
        name = volume.get("name", "")
        if name in wanted:
            present.add(name)
            if volume != wanted[name]:
                patch.replace(wanted[name], "spec", "volumes", index)
        elif name.startswith(wellknown.RESERVED_VOLUME_PREFIX):
            stale.append(index)
    patch.append_all(current, [volume for name, volume in wanted.items() if name not in present], "spec", "volumes")
    for index in reversed(stale):
        patch.remove("spec", "volumes", index)
