"""Pod + sidecars → JSON patch; a fixed point: an injected pod that is as it should be gives no operations.

It does not matter what an earlier injection with other settings left behind: what the receipt lists and is no longer
wanted is taken away, so that the result is the one that the untouched pod would have.
"""

import datetime
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from kagenti.core.inject import compare, receipt
from kagenti.core.inject.patch import Operation, Patch
from kagenti.core.inject.receipt import MOST_FILES, Added, Stamp
from kagenti.core.inject.refusal import TOO_LARGE, Refusal
from kagenti.core.receipts import MOST_RECEIPT
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

_NAME: Final = operator.itemgetter("name")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")  # RFC 3339 section 5.6


class Injection(msgspec.Struct, frozen=True):
    """The operations that inject a pod, and what its author should know."""

    operations: tuple[Operation, ...]
    warnings: tuple[str, ...] = ()


class _Change(msgspec.Struct, frozen=True):
    """What was on the pod, what is to be: the receipt's word for the one, ours for the other.

    ``variables`` are the names of the environment variables that stand in each container now.
    """

    subject: Subject
    sidecars: Sidecars
    settings: ResolvedSettings
    before: Added
    added: Added
    recorded: Mapping[str, JSON]
    variables: Sequence[frozenset[str]]

    def keeps_empty(self, part: str) -> bool:
        """Whether the user had left that map or list empty."""
        return part in self.added.empty


def inject(
    subject: Subject,
    sidecars: Sidecars,
    *,
    settings: ResolvedSettings,
    stamp: Stamp,
    type_from_runtime: str = "",
) -> Injection | Refusal:
    """Returns the patch of the admitted object, or why it would be too large; the subject is not modified."""
    known = receipt.read(subject) or {}
    before = receipt.added_by(known)
    variables = _variables(subject)
    added = _added(subject, sidecars, before, variables, type_from_runtime=type_from_runtime)
    written = receipt.write(sidecars, added, settings=settings, stamp=stamp)
    if sidecars.files_size > MOST_FILES or len(written) > MOST_RECEIPT:
        message = (
            f"files of {sidecars.files_size} bytes (at most {MOST_FILES}) and a receipt of {len(written)} bytes (at most "
            f"{MOST_RECEIPT}) do not fit into the pod's annotations; shorten the settings, destinationRules first"
        )
        return Refusal(TOO_LARGE, message, "metadata.annotations")
    change = _Change(subject, sidecars, settings, before, added, receipt.settings_of(known), variables)
    patch = Patch(subject.path)
    _metadata(patch, change, _annotations(change, written, stamp), type_=type_from_runtime)
    _init_containers(patch, change)
    _environment(patch, change)
    _volumes(patch, change)
    _pull_secrets(patch, change)
    return Injection(tuple(patch.operations), sidecars.warnings)


def _variables(subject: Subject) -> list[frozenset[str]]:
    """Returns the names of each container's environment variables: looked at once, since a pod may have thousands."""
    return [frozenset(map(_NAME, container.get("env") or ())) for container in subject.spec.get("containers") or ()]


def _added(
    subject: Subject,
    sidecars: Sidecars,
    known: Added,
    variables: Sequence[frozenset[str]],
    *,
    type_from_runtime: str,
) -> Added:
    """Returns what of the user's parts is ours: what is not theirs, or what the receipt says we added before."""
    environment = {}
    for container, names in zip(subject.spec.get("containers") or (), variables, strict=True):
        theirs = names.difference(known.environment.get(container["name"], ()))
        environment[container["name"]] = tuple(name for name in sidecars.environment if name not in theirs)
    absent = wellknown.TYPE_LABEL not in subject.labels or wellknown.TYPE_LABEL in known.labels
    present = {entry.get("name") for entry in subject.spec.get("imagePullSecrets") or ()}
    secrets = present.difference(known.image_pull_secrets)
    return Added(
        environment=environment,
        annotations=tuple(
            key for key in sidecars.annotations if key not in subject.annotations or key in known.annotations
        ),
        labels=(wellknown.TYPE_LABEL,) if type_from_runtime and absent else (),
        image_pull_secrets=tuple(name for name in sidecars.image_pull_secrets if name not in secrets),
        volumes=tuple(volume["name"] for volume in sidecars.volumes),
        empty=tuple(name for name, value in _parts(subject) if value == type(value)() or name in known.empty),
    )


def _parts(subject: Subject) -> Iterator[tuple[str, JSON]]:
    """Yields the maps and lists that stand in the pod and that injection may add to."""
    metadata, spec = subject.template.get("metadata"), subject.spec
    parts = {
        "metadata": metadata,
        **{key: (metadata or {}).get(key) for key in ("annotations", "labels")},
        **{key: spec.get(key) for key in ("initContainers", "volumes", "imagePullSecrets")},
        **{f"env:{found['name']}": found.get("env") for found in spec.get("containers") or ()},
    }
    return ((name, value) for name, value in parts.items() if value is not None)


def _annotations(change: _Change, written: bytes, stamp: Stamp) -> dict[str, str]:
    sidecars = change.sidecars
    return {
        **sidecars.files,
        **{key: sidecars.annotations[key] for key in change.added.annotations},
        wellknown.RECEIPT_ANNOTATION: written.decode(),
        wellknown.CONFIG_HASH_ANNOTATION: change.settings.restart_revision,
        wellknown.INJECTED_AT_ANNOTATION: _injected_at(change.subject, stamp),
    }


def _metadata(patch: Patch, change: _Change, annotations: Mapping[str, str], *, type_: str) -> None:
    labels = {wellknown.MANAGED_LABEL: "true", **dict.fromkeys(change.added.labels, type_)}
    metadata = change.subject.template.get("metadata")
    if metadata is None:
        patch.add({"annotations": dict(annotations), "labels": labels}, "metadata")
        return
    patch.set_map(metadata.get("annotations"), annotations, "metadata", "annotations")
    for key in metadata.get("annotations") or ():
        stale = key.startswith(wellknown.CONFIG_PREFIX) or key in change.before.annotations
        if stale and key not in annotations:
            patch.remove("metadata", "annotations", key)
    patch.set_map(metadata.get("labels"), labels, "metadata", "labels")
    for key in metadata.get("labels") or ():
        if key == wellknown.TYPE_LABEL and key in change.before.labels and key not in labels:
            patch.remove("metadata", "labels", key)


def _injected_at(subject: Subject, stamp: Stamp) -> str:
    """Returns when the pod was injected: set once, kept under reinvocation, never taken from a pod without a receipt."""
    found = subject.annotations.get(wellknown.INJECTED_AT_ANNOTATION, "")
    if wellknown.RECEIPT_ANNOTATION not in subject.annotations or not _TIME.fullmatch(found):
        return stamp.now
    try:
        datetime.datetime.fromisoformat(found)
    except ValueError:  # the 40th of a month
        return stamp.now
    return found


def _init_containers(patch: Patch, change: _Change) -> None:
    """Puts ours first, in order; single ones are mended in place, another order is written anew."""
    current: Sequence[Mapping[str, JSON]] | None = change.subject.spec.get("initContainers")
    reserved = change.sidecars.reserved
    found = {str(item.get("name")): item for item in current or () if item.get("name") in reserved}
    ours = _settled(change, found)
    if current is None:
        patch.add(ours, "spec", "initContainers")
        return
    if not found:
        for index, container in enumerate(ours):
            patch.add(container, "spec", "initContainers", index)
        return
    names = [item.get("name") for item in current]
    if names[: len(ours)] == list(change.sidecars.names) and not reserved.intersection(names[len(ours) :]):
        for index, container in enumerate(ours):
            if container is not current[index]:
                patch.replace(container, "spec", "initContainers", index)
        return
    others = [item for item in current if item.get("name") not in reserved]
    patch.replace([*ours, *others], "spec", "initContainers")


def _settled(change: _Change, found: Mapping[str, Mapping[str, JSON]]) -> list[Mapping[str, JSON]]:
    mounts = _service_account_mounts(change.subject)
    ours = []
    for container in change.sidecars.init_containers:
        name = container["name"]
        present = found.get(name)
        as_configured = present is not None and _as_configured(change, change.sidecars.components[name])
        ours.append(compare.settled(container, present, mounts, as_configured=as_configured))
    return ours


def _as_configured(change: _Change, component: str) -> bool:
    """Whether the receipt records the image policy and resources that are configured now for a component."""
    base = f"components.{component}."
    ends = ("imagePullPolicy", *(f"resources.{a}.{b}" for a in ("requests", "limits") for b in ("cpu", "memory")))
    return all(change.recorded.get(base + end) == change.settings.get(base + end) for end in ends)


def _service_account_mounts(subject: Subject) -> list[JSON]:
    """Returns the mount that the ServiceAccount plugin gave the app's containers, and would give ours right after us.

    Giving it ourselves spares the API server a second call of this webhook for each injected pod (reinvocation).
    """
    for container in subject.spec.get("containers") or ():
        mounts = compare.kept_mounts(container)
        if mounts:
            return mounts
    return []


def _environment(patch: Patch, change: _Change) -> None:
    values = change.sidecars.environment
    containers = zip(change.subject.spec.get("containers") or (), change.variables, strict=True)
    for index, (container, names) in enumerate(containers):
        name = container["name"]
        wanted = [{"name": key, "value": values[key]} for key in change.added.environment[name]]
        ours = names.intersection((*change.added.environment[name], *change.before.environment.get(name, ())))
        keep = change.keeps_empty(f"env:{name}")
        patch.settle(container.get("env"), wanted, "spec", "containers", index, "env", ours=ours, keep_empty=keep)


def _volumes(patch: Patch, change: _Change) -> None:
    ours = change.before.owned_volumes | set(change.added.volumes)
    keep = change.keeps_empty("volumes")
    current = change.subject.spec.get("volumes")
    patch.settle(current, change.sidecars.volumes, "spec", "volumes", ours=ours, keep_empty=keep)


def _pull_secrets(patch: Patch, change: _Change) -> None:
    wanted = [{"name": name} for name in change.added.image_pull_secrets]
    ours = {*change.added.image_pull_secrets, *change.before.image_pull_secrets}
    keep = change.keeps_empty("imagePullSecrets")
    current = change.subject.spec.get("imagePullSecrets")
    patch.settle(current, wanted, "spec", "imagePullSecrets", ours=ours, keep_empty=keep)
