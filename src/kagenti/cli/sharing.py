"""Who else runs under a workload's service account, as far as files or the cluster show it: ``SharedIdentity`` (spec 01)."""

from collections.abc import Iterable

from kagenti.cli.evaluation import Evaluator
from kagenti.core import inject, validation
from kagenti.core.admission.evaluate import Evaluation
from kagenti.core.workload import Subject

Account = tuple[str, str]
"""Namespace and name of a service account."""


def account(subject: Subject) -> Account:
    """Returns the service account of a workload's pods."""
    return subject.namespace, subject.service_account


def note(
    subject: Subject, evaluation: Evaluation, others: Iterable[tuple[Subject, Evaluation]], *, evaluator: Evaluator
) -> list[str]:
    """Returns what the author of an injected workload should know of those that share its identity.

    Args:
        subject: The workload, as it stands in its manifest.
        evaluation: What becomes of its pods.
        others: Workloads and pods under any service account, itself among them; those that are not injected do not count.
        evaluator: Knows the top owners.
    """
    if evaluation.settings is None or not evaluation.decision.injects:
        return []
    owner = evaluator.seen(subject).owner
    sharers = {
        evaluator.seen(other).owner
        for other, found in others
        if account(other) == account(subject) and (found.decision.injects or inject.carries_ours(other))
    }
    notes = validation.shared_identity(
        subject.service_account, evaluation.settings, what=str(owner), others=sorted(map(str, sharers - {owner}))
    )
    return [f"{found.reason}: {found.message}" for found in notes]
