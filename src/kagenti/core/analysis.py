"""Coded findings over workloads and the layers above them, before anything goes wrong: what ``kagenti analyze`` tells.

Adds no rule of its own where one exists: refusals, warnings and notes are the webhook's, conflicts those of validation.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from kagenti.core import validation
from kagenti.core.admission.evaluate import Evaluation
from kagenti.core.migration.images import fault_of
from kagenti.core.settings.model import Finding, ResolvedSettings, Source
from kagenti.core.sidecars import RESERVED_CONTAINERS
from kagenti.core.trigger import Decision, reasons
from kagenti.core.workload import Subject, WorkloadRef, misplaced_label
from kagenti_api.v1alpha1 import wellknown
from kagenti_api.v1alpha1.agentruntime import NOT_FOUND

LABEL_ON_WORKLOAD = "LabelOnWorkload"
SIDECARS_IN_TEMPLATE = "SidecarsInTemplate"
_CLOSED: Final = (reasons.BREAK_GLASS, reasons.SYSTEM_NAMESPACE)  # to every entry, that of the label too


def of_workload(subject: Subject, evaluation: Evaluation, *, by_workload: bool) -> tuple[Finding, ...]:
    """Returns what the owner of one workload should mend or know; each finding says what to do.

    Args:
        subject: The workload as it stands in its own manifest.
        evaluation: What the webhook would make of it.
        by_workload: Whether templates are injected, not pods: then a label on the workload's own metadata counts.
    """
    found = [*_misplaced(subject, by_workload=by_workload), *_leftovers(subject, by_workload=by_workload)]
    decision, settings = evaluation.decision, evaluation.settings
    if decision.outcome == "Deny":
        found.append(Finding(decision.reason, decision.message.removeprefix(f"{subject.owner}: ")))
    found += uncalled(subject, decision)
    found += [_split(warning) for warning in evaluation.warnings]
    if settings is not None and decision.outcome != "Allow":
        found += [*settings.errors, *settings.findings, *images(settings)]
    return _distinct(found)


def uncalled(subject: Subject, decision: Decision) -> Iterator[Finding]:
    """Yields why the webhook is not called for pods that a label, an AgentRuntime or a policy asks to be injected."""
    if decision.called:
        return
    if decision.reason == reasons.POLICY_UNENFORCED:
        yield Finding(decision.reason, decision.message, objects=(f"Namespace {subject.namespace}",))
    # The object of such a decision is the AgentRuntime; nobody asks for any other pod of the namespace.
    elif decision.object or (decision.reason in _CLOSED and subject.inject_label == wellknown.INJECT_ENABLED):
        yield Finding(decision.reason, decision.message)


def _misplaced(subject: Subject, *, by_workload: bool) -> Iterator[Finding]:
    sentence = "" if by_workload else misplaced_label(subject)
    if sentence:
        yield Finding(LABEL_ON_WORKLOAD, sentence)


def _leftovers(subject: Subject, *, by_workload: bool) -> Iterator[Finding]:
    """Sidecars inside a template: of webhooks up to March 2026, or of target workloads before a switch."""
    if by_workload or not subject.path:
        return
    names = {item.get("name") for key in ("containers", "initContainers") for item in subject.spec.get(key) or ()}
    ours = sorted(names & set(RESERVED_CONTAINERS))
    if ours:
        told = f"its template holds {', '.join(ours)}, which every new pod brings along and the webhook refuses"
        yield Finding(SIDECARS_IN_TEMPLATE, f"{told}; `kagenti migrate labels` prints the patch that takes them out")


def images(settings: ResolvedSettings) -> Iterator[Finding]:
    """Yields a finding for each image of an injected container that may change, or was never published."""
    for path, value in settings.values.items():
        if (
            not path.endswith(".image")
            or not value
            or not settings.values.get(path.removesuffix("image") + "enabled", True)
        ):
            continue
        fault = fault_of(str(value))
        if fault is not None:
            origin = settings.origins.get(path)
            objects = (str(origin.source),) if origin else ()
            yield Finding(fault[0], f"{path}: {fault[1]}", path, objects)


def of_runtime(
    runtime: Source, target: WorkloadRef | None, *, rivals: Iterable[Source], present: Collection[WorkloadRef]
) -> tuple[Finding, ...]:
    """Returns what is wrong with one AgentRuntime whose workload does not show it: a kind without pods, or no target.

    Args:
        runtime: The AgentRuntime.
        target: What its targetRef names.
        rivals: Every AgentRuntime of that target.
        present: The workloads that are there.
    """
    if target is None:
        return ()
    found = [*validation.target_kind(target)]
    if target not in present and not found:
        told = f"{target} does not exist, or is of a kind that was not read; create it, or delete the AgentRuntime"
        found = [*validation.duplicate_target(runtime, target, rivals), Finding(NOT_FOUND, told, "spec.targetRef")]
    return tuple(found)


def _split(warning: str) -> Finding:
    """Returns a warning of the webhook, which begins with its code where it has one; else without a reason."""
    code, mark, rest = warning.partition(": ")
    return Finding(code, rest) if mark and code.isalpha() and code[:1].isupper() else Finding("", warning)


def _distinct(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Returns each thing once: what the merge found may also have been said as a warning."""
    return tuple({(one.reason, one.message): one for one in found}.values())
