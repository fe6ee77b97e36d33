"""One pod, or template, and the layers above it → decision, settings, patch: what webhook, CLI and tests all call.

Composes trigger, settings, sidecars and inject in this order, and adds no rule of its own.
"""

import datetime
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from kagenti.core import envoy, inject, settings, trigger
from kagenti.core.admission.memo import SidecarMemo
from kagenti.core.installation import Installation
from kagenti.core.layers import Sources
from kagenti.core.settings.model import Finding, ResolvedSettings
from kagenti.core.sidecars import Sidecars
from kagenti.core.trigger import CALLED, Coverage, Decision, Mode, OwnerProof, Trigger
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1.fields import LAYERED_FIELDS

JSON = Any  # a JSON patch operation

RECEIPT_DROPPED: Final = "ReceiptDropped"


@dataclass(frozen=True, slots=True)
class Context:
    """What is the same for every evaluation of one process; ``by_workload`` says that templates are injected, not pods."""

    mode: Mode
    installation: Installation
    resolver: settings.Resolver
    by_workload: bool = False
    sidecars: SidecarMemo = field(default_factory=SidecarMemo, compare=False)


class Evaluation(msgspec.Struct, frozen=True):
    """What happens to one subject.

    ``patch`` is a list of JSON patch operations on the admitted object; empty when nothing changes. ``settings`` is
    None where no merge was needed. ``injection`` and ``sidecars`` are set when the decision injects, ``refusal`` when
    the pod's content forbids it. ``warnings`` start with their reason code where they have one.
    """

    decision: Decision
    patch: Sequence[JSON] = ()
    warnings: tuple[str, ...] = ()
    settings: ResolvedSettings | None = None
    injection: inject.Injection | None = None
    sidecars: Sidecars | None = None
    refusal: inject.Refusal | None = None

    @property
    def revision(self) -> str:
        """Short revision of the restart settings, for the audit log; empty where nothing was resolved."""
        return settings.short(self.settings.restart_revision) if self.settings else ""


def evaluate(
    subject: Subject,
    *,
    sources: Sources,
    context: Context,
    namespace_labels: Mapping[str, str],
    now: datetime.datetime,
    coverage: Coverage = CALLED,
    again: Trigger | None = None,
    proof: OwnerProof | None = None,
) -> Evaluation:
    """Returns what happens to a pod, or to a workload's template.

    Args:
        subject: The pod or template, raw, not modified.
        sources: The layers in force (``layers.LayerCache.gather``).
        context: What is the same for every evaluation.
        namespace_labels: Labels of the namespace: policies select by them, and PodSecurity states its level there.
        now: The clock, aware; becomes ``kagenti.io/injected-at`` where the pod has none.
        coverage: How the webhook's entries cover the namespace; CALLED where the API server has called.
        again: The trigger of an earlier injection that is to be kept although it is gone (target workloads).
        proof: What was found of the owner where an exemption hangs on it (``trigger.exempt_by_owner``).
    """
    decision, resolved = decide(
        subject,
        sources=sources,
        context=context,
        namespace_labels=namespace_labels,
        coverage=coverage,
        again=again,
        proof=proof,
    )
    return complete(
        decision, resolved, subject, sources=sources, context=context, namespace_labels=namespace_labels, now=now
    )


def complete(
    decision: Decision,
    resolved: ResolvedSettings | None,
    subject: Subject,
    *,
    sources: Sources,
    context: Context,
    namespace_labels: Mapping[str, str],
    now: datetime.datetime,
) -> Evaluation:
    """Returns what ``evaluate`` does, from what ``decide`` has found."""
    if not decision.injects or resolved is None:
        return _bare(decision, subject, sources, resolved)
    return _inject(decision, subject, sources, resolved, context, namespace_labels, now)


def decide(
    subject: Subject,
    *,
    sources: Sources,
    context: Context,
    namespace_labels: Mapping[str, str],
    coverage: Coverage = CALLED,
    again: Trigger | None = None,
    proof: OwnerProof | None = None,
) -> tuple[Decision, ResolvedSettings | None]:
    """Returns the decision before anything is built, and the settings where they were merged; arguments as ``evaluate``.

    An Inject may still become a denial, or nothing, by what the pod contains.
    """
    policy = policy_of(subject.namespace, sources=sources, namespace_labels=namespace_labels)
    decision = trigger.decide(
        subject,
        mode=context.mode,
        policy=policy,
        runtime=sources.runtime_source,
        coverage=coverage,
        unreadable=sources.unreadable,
        proof=proof,
    )
    if again is not None and decision.outcome == "Allow":
        decision = trigger.kept(decision, subject, again)
    if not decision.injects:
        return decision, None
    # For an exempt pod everything is as under Optional (spec 03): the locks of Mandatory do not bind it either.
    in_force = settings.OPTIONAL if decision.exempt else policy
    resolved = context.resolver.resolve(sources.cluster, sources.namespace, sources.runtime, policy=in_force)
    decision = trigger.confirm(decision, settings=resolved, subject=subject, runtime_type=sources.runtime_type)
    return decision, resolved


def policy_of(
    namespace: str, *, sources: Sources, namespace_labels: Mapping[str, str]
) -> settings.NamespacePolicy | None:
    """Returns the injection policy of a namespace; None while a config kind that may state one is unreadable."""
    if not sources.policy_readable:
        return None
    return settings.namespace_policy(sources.cluster, sources.namespace, name=namespace, labels=namespace_labels)


def _bare(
    decision: Decision, subject: Subject, sources: Sources, resolved: ResolvedSettings | None = None
) -> Evaluation:
    """Completes a decision without injection: nothing of ours stays on a pod that is not injected (spec 04)."""
    warnings = (*decision.warnings, *_notes(sources))
    if decision.outcome == "Deny" or not decision.called or not inject.carries_ours(subject):
        return Evaluation(decision, warnings=warnings, settings=resolved)
    dropped = f"{RECEIPT_DROPPED}: {subject.owner} is not injected ({decision.reason}): what says otherwise was removed"
    return Evaluation(decision, inject.uninject(subject), (*warnings, dropped), resolved)


def _inject(
    decision: Decision,
    subject: Subject,
    sources: Sources,
    resolved: ResolvedSettings,
    context: Context,
    namespace_labels: Mapping[str, str],
    now: datetime.datetime,
) -> Evaluation:
    locked = locked_paths(sources, mandatory=decision.mandatory)
    built = context.sidecars.build(resolved, subject=subject, installation=context.installation, locked=locked)
    if built.empty:
        return _bare(trigger.nothing_left(decision, subject), subject, sources, resolved)
    checked = inject.preflight(
        subject, built, resolved, mandatory=decision.mandatory, namespace_labels=namespace_labels, locked=locked
    )
    if isinstance(checked, inject.Refusal):
        return _refused(decision, subject, sources, resolved, checked)
    stamp = inject.Stamp(
        trigger=decision.trigger or "",
        now=_rfc3339(now),
        version=context.installation.version,
        layout=envoy.LAYOUT,
    )
    made = inject.inject(subject, built, settings=resolved, stamp=stamp, type_from_runtime=sources.runtime_type)
    if isinstance(made, inject.Refusal):
        return _refused(decision, subject, sources, resolved, made)
    warnings = (*decision.warnings, *_notes(sources), *checked, *made.warnings)
    return Evaluation(decision, made.operations, warnings, resolved, injection=made, sidecars=built)


def _rfc3339(now: datetime.datetime) -> str:
    """Returns a moment in UTC to the second; strftime takes ten times as long."""
    return now.astimezone(datetime.UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _refused(
    decision: Decision, subject: Subject, sources: Sources, resolved: ResolvedSettings, refusal: inject.Refusal
) -> Evaluation:
    where = ".".join((*subject.path, refusal.field))
    message = f"{subject.owner}: {where}: {refusal.message}"
    denial = msgspec.structs.replace(decision, outcome="Deny", reason=refusal.reason, message=message)
    return Evaluation(denial, warnings=_notes(sources), settings=resolved, refusal=refusal)


def _notes(sources: Sources) -> tuple[str, ...]:
    return tuple(_said(found) for found in sources.notes)


def _said(finding: Finding) -> str:
    return f"{finding.reason}: {finding.message}"


def locked_paths(sources: Sources, *, mandatory: bool) -> tuple[str, ...]:
    """Returns the settings that bind the pod's own labels and annotations: locks of the configs, and Mandatory's."""
    locks = (
        *(sources.cluster.locked if sources.cluster else ()),
        *(sources.namespace.locked if sources.namespace else ()),
        *(settings.MANDATORY_LOCKS if mandatory else ()),
    )
    return _leaves_under(locks) if locks else ()


@functools.lru_cache(maxsize=1024)
def _leaves_under(locks: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(path for path in LAYERED_FIELDS if any(settings.under(path, lock) for lock in locks))
