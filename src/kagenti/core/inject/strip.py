"""The inverse of injection: takes away what is ours and leaves what is the user's, byte for byte."""

from collections.abc import Mapping, Sequence
from typing import Any

from kagenti.core.inject import receipt
from kagenti.core.inject.patch import Operation, Patch
from kagenti.core.inject.receipt import Added
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a part of a raw pod


def carries_ours(subject: Subject) -> bool:
    """Whether anything that says "injected" is on the pod: receipt, managed label, or a file of ours."""
    if wellknown.MANAGED_LABEL in subject.labels:
        return True
    return any(key in _OURS or key.startswith(wellknown.CONFIG_PREFIX) for key in subject.annotations)


_OURS = (wellknown.RECEIPT_ANNOTATION, wellknown.CONFIG_HASH_ANNOTATION, wellknown.INJECTED_AT_ANNOTATION)


def uninject(subject: Subject) -> tuple[Operation, ...]:
    """Returns the operations that make the pod what it was before injection; none for a pod without anything of ours.

    Containers and volumes are taken away by our reserved names only where there is a receipt: without one they are the
    user's own. What the receipt says was added elsewhere is removed where it still stands.
    """
    known = receipt.read(subject)
    patch = Patch(subject.path)
    added = receipt.added_by(known or {})
    if known is not None:
        _drop(patch, subject, "initContainers", created="initContainers" in added.created, ours=_is_container)
        _environment(patch, subject, added)
        _drop(patch, subject, "volumes", created="volumes" in added.created, ours=_is_volume)
        secrets = set(added.image_pull_secrets)
        created = "imagePullSecrets" in added.created
        _drop(patch, subject, "imagePullSecrets", created=created, ours=lambda item: item.get("name") in secrets)
    _metadata(patch, subject, added)
    return tuple(patch.operations)


def _is_container(item: Mapping[str, JSON]) -> bool:
    return item.get("name") in wellknown.RESERVED_CONTAINERS


def _is_volume(item: Mapping[str, JSON]) -> bool:
    return str(item.get("name", "")).startswith(wellknown.RESERVED_VOLUME_PREFIX)


def _drop(
    patch: Patch, subject: Subject, key: str, *, created: bool, ours: Any
) -> None:  # Any: a predicate on raw items
    items: Sequence[Mapping[str, JSON]] | None = subject.spec.get(key)
    if items is None:
        return
    doomed = [index for index, item in enumerate(items) if ours(item)]
    if created and len(doomed) == len(items):
        patch.remove("spec", key)
        return
    for index in reversed(doomed):
        patch.remove("spec", key, index)


def _environment(patch: Patch, subject: Subject, added: Added) -> None:
    for number, container in enumerate(subject.spec.get("containers") or ()):
        names = set(added.environment.get(container.get("name", ""), ()))
        entries = container.get("env")
        if not names or entries is None:
            continue
        doomed = [index for index, entry in enumerate(entries) if entry.get("name") in names]
        if f"env:{container['name']}" in added.created and len(doomed) == len(entries):
            patch.remove("spec", "containers", number, "env")
            continue
        for index in reversed(doomed):
            patch.remove("spec", "containers", number, "env", index)


def _metadata(patch: Patch, subject: Subject, added: Added) -> None:
    metadata = subject.template.get("metadata") or {}
    gone = {
        "annotations": [
            key
            for key in metadata.get("annotations") or ()
            if key in _OURS or key in added.annotations or key.startswith(wellknown.CONFIG_PREFIX)
        ],
        "labels": [
            key for key in metadata.get("labels") or () if key == wellknown.MANAGED_LABEL or key in added.labels
        ],
    }
    emptied = all(len(keys) == len(metadata.get(part) or ()) for part, keys in gone.items())
    if "metadata" in added.created and emptied and set(metadata) <= set(gone):
        patch.remove("metadata")
        return
    for part, keys in gone.items():
        if keys and part in added.created and len(keys) == len(metadata[part]):
            patch.remove("metadata", part)
            continue
        for key in keys:
            patch.remove("metadata", part, key)
