"""What one running pod is, by the webhook's own decision and comparison: current, stale, bare, opted out, foreign, tampered.

Nothing is believed that stands on the pod: its sidecars are compared with what the layers ask for now, and where they
differ, with what its receipt says they were built from (spec 06: receipts recomputed, not counted by label).
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from kagenti.core import inject
from kagenti.core.admission.evaluate import Context, Evaluation, complete, decide
from kagenti.core.inject import receipt as receipts
from kagenti.core.inject.patch import pointer
from kagenti.core.inject.refusal import FOREIGN_INTERCEPTOR, INTERCEPTION_NOT_ENFORCED, RESERVED_NAME
from kagenti.core.layers import Sources
from kagenti.core.reconcile.recorded import Case, certificates_alone, is_ours, tampered, telling
from kagenti.core.reconcile.staleness import certificates, differing
from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.trigger import Coverage, Decision, OwnerProof, Trigger, reasons
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw pod, receipt or JSON patch operation

State = Literal["current", "stale", "bare", "optedOut", "foreign", "tampered", "left"]
"""``left``: neither injected nor meant to be; its decision says why."""

_TYPE: Final = "type"
_AUTHORITY: Final = "xdsAuthority"
_FOREIGN: Final = (FOREIGN_INTERCEPTOR, RESERVED_NAME)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a pod is, and why.

    ``fields`` are the settings by which a stale pod is behind. ``reason`` and ``message`` are the decision's, or say what
    was tampered with. ``withheld`` is set for a bare pod whose replacement would be no better: why. ``weak`` is why
    interception is not enforced on it; empty where it is. ``injected`` says whether it carries our sidecars.
    """

    state: State
    reason: str
    message: str
    fields: tuple[str, ...] = ()
    withheld: str = ""
    weak: str = ""
    called: bool = True
    trigger: str = ""

    @property
    def injected(self) -> bool:
        """Whether the pod carries our sidecars as its receipt says."""
        return self.state in ("current", "stale")


def judge(
    subject: Subject,
    *,
    sources: Sources,
    context: Context,
    namespace_labels: Mapping[str, str],
    coverage: Coverage,
    now: datetime.datetime,
    proof: OwnerProof | None = None,
    sound: bool = False,
) -> Judged:
    """Returns what one running pod is.

    While the emergency door is open it is what it would be with the door closed, so that what came through is counted (spec
    03). A bare one stays all the same: its replacement would come through the same door.

    Args:
        subject: The pod as the API server has it, under the top of its owner chain.
        sources: The layers in force.
        context: What is the same for every evaluation, as the webhook has it: its authority stands in each pod.
        namespace_labels: Labels of the namespace.
        coverage: How the webhook's entries cover the namespace.
        now: The clock, aware; nothing of the result depends on it.
        proof: What was found of the owner where an exemption hangs on it.
        sound: Whether this very pod has been found to be as its receipt says; that is not asked again.
    """
    found = _covered(
        subject,
        sources=sources,
        context=context,
        namespace_labels=namespace_labels,
        coverage=coverage.closed or coverage,
        now=now,
        proof=proof,
        sound=sound,
    )
    if coverage.closed is None or found.state not in ("bare", "left"):
        return found
    withheld = coverage.why if found.state == "bare" else ""
    return replace(found, reason=coverage.excluded, message=coverage.why, withheld=withheld, called=False)


def _covered(
    subject: Subject,
    *,
    sources: Sources,
    context: Context,
    namespace_labels: Mapping[str, str],
    coverage: Coverage,
    now: datetime.datetime,
    proof: OwnerProof | None,
    sound: bool,
) -> Judged:
    recorded = receipts.read(subject)
    decision, resolved = decide(
        subject,
        sources=sources,
        context=context,
        namespace_labels=namespace_labels,
        coverage=coverage,
        # With target workloads what triggered a pod need not stand on it.
        again=_trigger(recorded) if context.by_workload else None,
        proof=proof,
    )
    if sound and recorded:
        outdated = _outdated(subject, recorded, decision, resolved, sources=sources, context=context)
        if outdated is not None:
            return outdated
    made = complete(
        decision, resolved, subject, sources=sources, context=context, namespace_labels=namespace_labels, now=now
    )
    if recorded is None:
        return _without_receipt(made)
    if not recorded:
        return _judged(made, "tampered", message="its receipt is not JSON")
    return _with_receipt(Case(subject, recorded, made, sources, context), sound=sound)


def _trigger(recorded: Mapping[str, JSON] | None) -> Trigger | None:
    found = recorded.get("trigger") if recorded else None
    return next((known for known in get_args(Trigger) if known == found), None)


def _without_receipt(made: Evaluation) -> Judged:
    decision = made.decision
    if decision.injects:
        return _judged(made, "bare")
    if decision.outcome == "Deny":
        if decision.reason in _FOREIGN:
            return _judged(made, "foreign")
        return _judged(made, "bare", withheld=f"its replacement would be denied: {decision.reason}: {decision.message}")
    return _judged(made, "optedOut" if decision.reason == reasons.OPT_OUT else "left")


def _outdated(
    subject: Subject,
    recorded: Mapping[str, JSON],
    decision: Decision,
    resolved: ResolvedSettings | None,
    *,
    sources: Sources,
    context: Context,
) -> Judged | None:
    """Returns what a sound pod is where its restart settings alone tell, which saves building its sidecars anew.

    A change of a config makes pods of hundreds of workloads stale at once. None where the type label or the CA of the
    xDS server may tell something more, or another version built the pod.
    """
    if not decision.injects or resolved is None or recorded.get("version") != context.installation.version:
        return None
    fields = differing(resolved, receipts.settings_of(recorded), same_version=True)
    label = subject.labels.get(wellknown.TYPE_LABEL, "")
    same_type = sources.runtime_type in ("", label) and not (recorded.get("labels") and not sources.runtime_type)
    bootstrap = subject.annotations.get(wellknown.ENVOY_CONFIG_ANNOTATION, "")
    if not fields or not same_type or certificates(bootstrap) != certificates(context.installation.xds_authority):
        return None
    return Judged("stale", decision.reason, decision.message, fields=fields, trigger=decision.trigger or "")


def _with_receipt(case: Case, *, sound: bool) -> Judged:
    made = case.made
    if made.injection is not None and not telling(case, made.patch):
        return _judged(made, "current")
    if not sound and not is_ours(case):
        return _judged(made, "tampered", message="its receipt is not one of ours")
    difference = "" if sound else tampered(case)
    if difference:
        return _judged(made, "tampered", message=f"{difference} is not as its receipt says{_suspects(case.subject)}")
    if case.newer:
        return _judged(made, "current")
    fields = _behind(case)
    if fields or not made.decision.injects or (case.same_version and telling(case, made.patch)):
        return _judged(made, "stale", fields=fields)
    return _judged(made, "current")


def _suspects(subject: Subject) -> str:
    """Returns who may have changed a pod after us, as a clause; a webhook that is called again behind ours has the last word."""
    names = inject.named(subject.annotations)
    return f"; {' and '.join(names)} changed this pod too: look at the webhooks called after ours" if names else ""


def _behind(case: Case) -> tuple[str, ...]:
    """Returns the restart settings that the next pod would have otherwise, and ``type`` where its label would differ."""
    resolved = case.made.settings
    if resolved is None:
        return ()
    paths = list(differing(resolved, case.restart, same_version=case.same_version))
    label = pointer("metadata", "labels", wellknown.TYPE_LABEL)
    if any(operation["path"] == label for operation in case.made.patch):
        paths.append(_TYPE)
    if any(certificates_alone(case, operation) for operation in case.made.patch):
        paths.append(_AUTHORITY)
    return tuple(paths)


def _judged(
    made: Evaluation, state: State, *, message: str = "", fields: tuple[str, ...] = (), withheld: str = ""
) -> Judged:
    decision = made.decision
    weak = next((said for said in made.warnings if said.startswith(f"{INTERCEPTION_NOT_ENFORCED}: ")), "")
    return Judged(
        state,
        decision.reason,
        message or decision.message,
        fields=fields,
        withheld=withheld,
        weak=weak.partition(": ")[2],
        called=decision.called,
        trigger=decision.trigger or "",
    )
