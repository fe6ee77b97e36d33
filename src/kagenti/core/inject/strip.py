"""The inverse of injection: takes away what is ours and leaves what is the user's, byte for byte."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from kagenti.core.inject import receipt
from kagenti.core.inject.patch import Operation, Patch
from kagenti.core.inject.receipt import Added
from kagenti.core.sidecars import RESERVED_CONTAINERS
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a part of a raw pod

_OURS: Final = (wellknown.RECEIPT_ANNOTATION, wellknown.CONFIG_HASH_ANNOTATION, wellknown.INJECTED_AT_ANNOTATION)


def carries_ours(subject: Subject) -> bool:
    """Whether anything that says "injected" is on the pod: receipt, managed label, or a file of ours."""
    if wellknown.MANAGED_LABEL in subject.labels:
        return True
    return any(key in _OURS or key.startswith(wellknown.CONFIG_PREFIX) for key in subject.annotations)


def uninject(subject: Subject, *, reserved: Collection[str] = RESERVED_CONTAINERS) -> tuple[Operation, ...]:
    """Returns the operations that make the pod what it was before injection; none for a pod without anything of ours.

    Containers and volumes are taken away by their reserved names, and only where there is a receipt: without one they
    are the user's own. What the receipt says was added elsewhere is removed where it still stands. ``reserved`` are the
    container names of every known layout.
    """
    known = receipt.read(subject)
    patch = Patch(subject.path)
    added = receipt.added_by(known or {})
    if known is not None:
        _drop(patch, subject, "initContainers", added, ours=lambda item: item.get("name") in reserved)
        _environment(patch, subject, added)
        _drop(patch, subject, "volumes", added, ours=lambda item: item.get("name") in added.owned_volumes)
        _drop(patch, subject, "imagePullSecrets", added, ours=lambda item: item.get("name") in added.image_pull_secrets)
    _metadata(patch, subject, added)
    return tuple(patch.operations)


def _drop(
    patch: Patch, subject: Subject, key: str, added: Added, *, ours: Callable[[Mapping[str, JSON]], bool]
) -> None:
    items: Sequence[Mapping[str, JSON]] | None = subject.spec.get(key)
    _drop_items(patch, items or (), "spec", key, ours=ours, keep_empty=key in added.empty)


def _drop_items(
    patch: Patch,
    items: Sequence[Mapping[str, JSON]],
    *keys: str | int,
    ours: Callable[[Mapping[str, JSON]], bool],
    keep_empty: bool,
) -> None:
    doomed = [index for index, item in enumerate(items) if ours(item)]
    if doomed and len(doomed) == len(items) and not keep_empty:
        patch.remove(*keys)
        return
    for index in reversed(doomed):
        patch.remove(*keys, index)


def _environment(patch: Patch, subject: Subject, added: Added) -> None:
    for number, container in enumerate(subject.spec.get("containers") or ()):
        name = container.get("name", "")
        names = added.environment.get(name, ())
        _drop_items(
            patch,
            container.get("env") or (),
            "spec",
            "containers",
            number,
            "env",
            ours=lambda entry, names=names: entry.get("name") in names,  # type: ignore[misc]  # bound early, on purpose
            keep_empty=f"env:{name}" in added.empty,
        )


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
    whole = {
        part for part, keys in gone.items() if keys and len(keys) == len(metadata[part]) and part not in added.empty
    }
    if whole and whole == set(metadata) and "metadata" not in added.empty:
        patch.remove("metadata")
        return
    for part, keys in gone.items():
        if part in whole:
            patch.remove("metadata", part)
            continue
        for key in keys:
            patch.remove("metadata", part, key)
