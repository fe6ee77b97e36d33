"""``kagenti inject`` and ``uninject``: the webhook's own functions on files; nothing is printed unless all went well.

Decides as target pods does: what stands on a workload's own metadata is not seen by its pods.
"""

import datetime
import sys
from collections.abc import Sequence

from kagenti.cli import catalogue, manifests, workloads
from kagenti.cli.evaluation import Evaluator
from kagenti.cli.manifests import Document
from kagenti.core import inject as injection
from kagenti.core import workload
from kagenti.core.trigger import Mode
from kagenti.core.workload import Subject
from kagenti.errors import ManifestError, UsageError


def inject(
    files: Sequence[str], *, namespace: str, mode: Mode, enrolled: bool, now: str, kubeconfig: str | None
) -> int:
    """Prints the manifests injected and returns 0; prints nothing and returns 1 when a workload would be denied."""
    documents = manifests.read(files)
    holding = catalogue.from_documents(manifests.unrolled(documents), namespace=namespace)
    if kubeconfig is not None:
        known, _ = catalogue.from_cluster(kubeconfig, namespace=namespace)
        holding.objects += known.objects
        holding.namespaces = {**known.namespaces, **holding.namespaces}
    evaluator = Evaluator(holding, mode=mode, enrolled=enrolled, now=_time(now))
    parts, seen, denied = [], 0, 0
    for document in documents:
        operations: list[object] = []
        for subject in workloads.subjects(document, namespace=namespace):
            patch, refused = _evaluated(document, subject, evaluator)
            operations += patch
            seen, denied = seen + 1, denied + refused
        parts.append((document, _changed(document, operations)))
    if denied:  # a part of the output, applied, would run bare what the webhook keeps out
        sys.stderr.write(
            f"kagenti: nothing is printed: {denied} of {seen} workloads would be denied; mend them first\n"
        )
        return 1
    sys.stdout.write(manifests.joined(parts))
    return 0


def _evaluated(document: Document, subject: Subject, evaluator: Evaluator) -> tuple[Sequence[object], bool]:
    """Returns the patch of a workload, and whether its pods would be denied; says what its author should know."""
    evaluation = evaluator.evaluate(Subject(subject.owner, subject.template, subject.path))
    misplaced = workload.misplaced_label(subject)
    for warning in (*([misplaced] if misplaced else ()), *evaluation.warnings):
        _say(document, subject, f"warning: {warning}")
    denied = evaluation.decision.outcome == "Deny"
    if denied:
        _say(document, subject, f"denied ({evaluation.decision.reason}): {evaluation.decision.message}")
    return evaluation.patch, denied


def uninject(files: Sequence[str], *, namespace: str) -> int:
    """Prints the manifests without anything of ours; returns 0."""
    parts = []
    for document in manifests.read(files):
        found = workloads.subjects(document, namespace=namespace)
        steps = [step for subject in found for step in injection.uninject(subject)]
        parts.append((document, _changed(document, steps)))
    sys.stdout.write(manifests.joined(parts))
    return 0


def _changed(document: Document, operations: Sequence[object]) -> str:
    if not operations:
        return document.text
    expected = manifests.plain(document.content)
    manifests.apply(expected, operations)
    manifests.apply(document.content, operations)
    if manifests.plain(document.content) != expected:  # an anchor: one node in two places, changed in both
        raise ManifestError(
            f"{document.file}:{document.line}: parts that would change are shared by a YAML anchor; write them out"
        )
    return manifests.write(document.content, document)


def _say(document: Document, subject: Subject, text: str) -> None:
    sys.stderr.write(f"{document.at(subject.path or ('kind',))}: {text}\n")


def _time(text: str) -> datetime.datetime:
    if not text:
        return datetime.datetime.now(datetime.UTC)
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError as problem:
        raise UsageError(f"--now is {text!r}, want RFC 3339, for example 2026-11-24T12:00:00Z") from problem
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
