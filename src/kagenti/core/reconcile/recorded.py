"""A pod against its receipt: what injecting again would change, and what is not as the receipt says.

Nothing is believed that stands on the pod: where a receipt does not explain what is there, somebody has been at it.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from kagenti import errors
from kagenti.core import inject, settings
from kagenti.core.admission.evaluate import Context, Evaluation, locked_paths
from kagenti.core.inject import receipt as receipts
from kagenti.core.inject.patch import pointer
from kagenti.core.layers import Sources
from kagenti.core.receipts import parse
from kagenti.core.reconcile.staleness import same_but_certificates
from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.settings.pod import for_pod
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw receipt or JSON patch operation

_RECEIPT: Final = pointer("metadata", "annotations", wellknown.RECEIPT_ANNOTATION)
_CONFIG_HASH: Final = pointer("metadata", "annotations", wellknown.CONFIG_HASH_ANNOTATION)
_BOOTSTRAP: Final = pointer("metadata", "annotations", wellknown.ENVOY_CONFIG_ANNOTATION)
# What differs between pods that are built alike, or between versions that build alike.
_CIRCUMSTANCES: Final = ("liveRevision", "trigger", "version")


@dataclass(frozen=True, slots=True)
class Case:
    """One pod with a receipt, and what the webhook would make of it now."""

    subject: Subject
    recorded: Mapping[str, JSON]
    made: Evaluation
    sources: Sources
    context: Context

    @property
    def restart(self) -> Mapping[str, JSON]:
        """The restart settings that the receipt records."""
        return receipts.settings_of(self.recorded)

    @property
    def same_version(self) -> bool:
        """Whether this version built the pod: another one may have built the same settings otherwise."""
        return bool(self.recorded.get("version") == self.context.installation.version)

    @property
    def newer(self) -> bool:
        """Whether a newer version built the pod, with containers that this one may not know: not ours to replace."""
        return receipts.is_newer(self.recorded)


def telling(case: Case, operations: Sequence[JSON]) -> list[JSON]:
    """Returns what injecting again would change besides the circumstances that the receipt records."""
    found = [operation for operation in operations if operation["path"] != _RECEIPT]
    written = next((operation.get("value") for operation in operations if operation["path"] == _RECEIPT), None)
    if written is not None and _content(orjson.loads(written)) != _content(case.recorded):
        found += [operation for operation in operations if operation["path"] == _RECEIPT]
    return found


def _content(receipt: Mapping[str, JSON]) -> JSON:
    return {key: value for key, value in receipt.items() if key not in _CIRCUMSTANCES}


def certificates_alone(case: Case, operation: JSON) -> bool:
    """Whether an operation would give the pod another CA of the xDS server, and change nothing else of that file."""
    if operation["path"] != _BOOTSTRAP or "value" not in operation:
        return False
    found = case.subject.annotations.get(wellknown.ENVOY_CONFIG_ANNOTATION, "")
    return same_but_certificates(operation["value"], found)


def is_ours(case: Case) -> bool:
    """Whether the receipt has the form of one, and if this version wrote it, settings that it can have written."""
    try:
        parse(case.subject.annotations.get(wellknown.RECEIPT_ANNOTATION, ""))
    except errors.ManifestError:
        return False
    return not case.same_version or settings.well_formed(case.restart)


def tampered(case: Case) -> str:
    """Returns what of the pod is not as its receipt says; empty when all is."""
    annotations = case.subject.annotations
    files = case.recorded.get("files")
    for key, digest in files.items() if isinstance(files, Mapping) else ():
        if hashlib.sha256(str(annotations.get(key, "")).encode()).hexdigest() != digest:
            return f"annotation {key}"
    present = {container.get("name") for container in case.subject.spec.get("initContainers") or ()}
    for name in case.recorded.get("containers") or ():
        if name not in present:
            return f"container {name}"
    return _rebuilt_otherwise(case) if case.same_version and case.made.settings is not None else ""


def _rebuilt_otherwise(case: Case) -> str:
    """Builds the pod's sidecars again from its receipt, and returns the first part that comes out otherwise."""
    today, locked = case.made.settings, locked_paths(case.sources, mandatory=case.made.decision.mandatory)
    if today is None:
        return ""
    own = _as_recorded(today, case.restart)
    context, subject = case.context, case.subject
    built = context.sidecars.build(own, subject=subject, installation=context.installation, locked=locked)
    if list(built.names) != case.recorded.get("containers"):
        return ""  # other opt-outs bind it today than then: nothing that the pod could be held against
    stamp = inject.Stamp(
        trigger=str(case.recorded.get("trigger")),
        now="",
        version=context.installation.version,
        layout=case.recorded.get("layout") or 0,
    )
    labels = case.recorded.get("labels") or ()
    given = subject.labels.get(wellknown.TYPE_LABEL, "") if wellknown.TYPE_LABEL in labels else ""
    made = inject.inject(subject, built, settings=own, stamp=stamp, type_from_runtime=given)
    if isinstance(made, inject.Refusal):
        return ""
    # The CA is the installation's, and may have changed since; the file is as it was written then (its hash was right).
    differing = telling(case, made.operations)
    left = [found for found in differing if not certificates_alone(case, found)]
    if len(left) < len(differing):
        left = [found for found in left if found["path"] != _RECEIPT or not _files_alone(case, found)]
    return _part(left) if left else ""


def _files_alone(case: Case, operation: JSON) -> bool:
    """Whether the receipt would change in the hashes of files only."""
    written, recorded = _content(orjson.loads(operation["value"])), _content(case.recorded)
    return bool({**written, "files": None} == {**recorded, "files": None})


def _as_recorded(today: ResolvedSettings, restart: Mapping[str, JSON]) -> ResolvedSettings:
    """Returns the settings that a pod was built from; what only lives in Envoy is today's."""
    own = for_pod(today, restart)
    recorded = settings.canonical(dict(restart))
    return dataclasses.replace(
        own,
        values={**own.values, **restart},
        restart_json=recorded,
        restart_revision=hashlib.sha256(recorded).hexdigest(),
    )


def _part(operations: Sequence[JSON]) -> str:
    """Returns what the first operation that is about more than our bookkeeping would mend, for people."""
    paths = [operation["path"] for operation in operations]
    first = next((path for path in paths if path not in (_RECEIPT, _CONFIG_HASH)), paths[0])
    return ".".join(key.replace("~1", "/").replace("~0", "~") for key in first.split("/")[1:])
