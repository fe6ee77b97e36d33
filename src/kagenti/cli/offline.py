"""``kagenti inject`` and ``uninject``: the webhook's own functions on files; nothing is printed unless all went well."""

import datetime
import sys
from collections.abc import Sequence

from kagenti.cli import catalogue, manifests
from kagenti.cli.evaluation import Evaluator
from kagenti.cli.manifests import Document
from kagenti.core import inject as injection
from kagenti.core.trigger import Mode
from kagenti.core.workload import Subject, subject_of
from kagenti.errors import ManifestError, UsageError


def inject(
    files: Sequence[str], *, namespace: str, mode: Mode, enrolled: bool, now: str, kubeconfig: str | None
) -> int:
    """Prints the manifests injected; returns 0, or 1 when a workload would be denied."""
    documents = manifests.read(files)
    holding = catalogue.from_documents(documents, namespace=namespace)
    if kubeconfig is not None:
        known, _ = catalogue.from_cluster(kubeconfig, namespace=namespace)
        holding.objects += known.objects
        holding.namespaces = {**known.namespaces, **holding.namespaces}
    evaluator = Evaluator(holding, mode=mode, enrolled=enrolled, now=_time(now))
    texts, code = [], 0
    for document in documents:
        subject = _subject(document, namespace)
        if subject is None:
            texts.append(document.text)
            continue
        evaluation = evaluator.evaluate(subject)
        for warning in evaluation.warnings:
            _say(document, f"warning: {warning}")
        if evaluation.decision.outcome == "Deny":
            code = 1
            _say(document, f"denied ({evaluation.decision.reason}): {evaluation.decision.message}")
        texts.append(_changed(document, evaluation.patch))
    sys.stdout.write("".join(texts))
    return code


def uninject(files: Sequence[str], *, namespace: str) -> int:
    """Prints the manifests without anything of ours; returns 0."""
    texts = []
    for document in manifests.read(files):
        subject = _subject(document, namespace)
        texts.append(document.text if subject is None else _changed(document, injection.uninject(subject)))
    sys.stdout.write("".join(texts))
    return 0


def _subject(document: Document, namespace: str) -> Subject | None:
    if document.content is None:
        return None
    try:
        return subject_of(manifests.plain(document.content), namespace=namespace)
    except (AttributeError, TypeError, KeyError) as problem:
        raise ManifestError(f"{document.file}:{document.line}: the pod template cannot be read; mend it") from problem


def _changed(document: Document, operations: Sequence[object]) -> str:
    if not operations:
        return document.text
    manifests.apply(document.content, operations)
    return manifests.write(document.content, document)


def _say(document: Document, text: str) -> None:
    sys.stderr.write(f"{document.file}:{document.line}: {text}\n")


def _time(text: str) -> datetime.datetime:
    if not text:
        return datetime.datetime.now(datetime.UTC)
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError as problem:
        raise UsageError(f"--now is {text!r}, want RFC 3339, for example 2026-11-24T12:00:00Z") from problem
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
