"""``kagenti inject`` and ``uninject``: the webhook's own functions on files; nothing is printed unless all went well."""

import datetime
import itertools
import sys
from collections.abc import Sequence

from kagenti.cli import catalogue, manifests, sharing, workloads
from kagenti.cli.catalogue import Holding
from kagenti.cli.evaluation import Evaluator
from kagenti.cli.manifests import Document
from kagenti.cli.setup import Setup
from kagenti.core import inject as injection
from kagenti.core import workload
from kagenti.core.admission.evaluate import Evaluation
from kagenti.core.workload import Subject
from kagenti.errors import ManifestError, UsageError


def inject(files: Sequence[str], *, namespace: str, setup: Setup, now: str, kubeconfig: str | None) -> int:
    """Prints the manifests injected and returns 0; prints nothing and returns 1 when a workload would be denied."""
    documents = manifests.read(files)
    found = [(document, workloads.subjects(document, namespace=namespace)) for document in documents]
    holding = catalogue.from_documents(manifests.unrolled(documents), namespace=namespace)
    if kubeconfig is not None:
        concerned = [subject for _, subjects in found for subject in subjects]
        holding, setup = _over_cluster(kubeconfig, holding, concerned, setup)
    evaluator = Evaluator(holding, setup, _time(now))
    all_of = [(subject, evaluator.evaluate(subject)) for _, subjects in found for subject in subjects]
    evaluations = iter(all_of)
    parts, denied = [], 0
    for document, subjects in found:
        operations: list[object] = []
        for subject, evaluation in itertools.islice(evaluations, len(subjects)):
            _tell(
                document, subject, evaluation, sharing.note(subject, evaluation, all_of, evaluator=evaluator), evaluator
            )
            operations += evaluation.patch
            denied += evaluation.decision.outcome == "Deny"
        parts.append((document, _changed(document, operations)))
    if denied:  # a part of the output, applied, would run bare what the webhook keeps out
        seen = sum(len(subjects) for _, subjects in found)
        sys.stderr.write(
            f"kagenti: nothing is printed: {denied} of {seen} workloads would be denied; mend them first\n"
        )
        return 1
    sys.stdout.write(manifests.joined(parts))
    return 0


def _over_cluster(kubeconfig: str, files: Holding, subjects: Sequence[Subject], setup: Setup) -> tuple[Holding, Setup]:
    """Returns what is held once the files are applied to the cluster, for every namespace that they name, and installed."""
    from kagenti.cli import cluster  # what talks to a cluster takes a fifth of a second to import
    from kagenti.kube.client import KubeClient

    async def work(client: KubeClient) -> tuple[Holding, Setup]:
        known = await cluster.holding(client, files.named | {subject.namespace for subject in subjects})
        both = files.over(known)
        await cluster.climb(client, both, subjects)
        return both, await cluster.as_installed(client, setup)

    return cluster.session(kubeconfig, work)


def _tell(
    document: Document, subject: Subject, evaluation: Evaluation, notes: Sequence[str], evaluator: Evaluator
) -> None:
    """Says what the author of a workload should know, and why its pods would be denied."""
    misplaced = workload.misplaced_label(subject) if evaluator.setup.target == "pods" else ""
    for warning in (*([misplaced] if misplaced else ()), *evaluation.warnings, *notes):
        _say(document, subject, f"warning: {warning}")
    if evaluation.decision.outcome == "Deny":
        _say(document, subject, f"denied ({evaluation.decision.reason}): {evaluation.decision.message}")


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
