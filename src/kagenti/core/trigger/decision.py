"""Label, AgentRuntime and policy → a decision with its reason: the truth table of spec 03, and nothing else.

``decide`` speaks before settings are resolved, so that a pod without a trigger costs no merge; ``confirm`` completes
an Inject with what the settings say. Neither looks at containers: refusals of a pod's content are the injection's.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from kagenti.core.settings.model import Finding, ResolvedSettings, Source
from kagenti.core.trigger import reasons
from kagenti.core.trigger.coverage import CALLED, Coverage, Mode, entry_of
from kagenti.core.trigger.policy import FREE, OwnerProof, Policy, Standing, standing
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

Outcome = Literal["Inject", "Allow", "Deny"]
Trigger = Literal["Label", "AgentRuntime", "Mandatory"]

LABEL_VALUES: Final = (wellknown.INJECT_ENABLED, wellknown.INJECT_DISABLED)
_ALLOWED: Final = " or ".join(f'"{value}"' for value in LABEL_VALUES)


class Decision(msgspec.Struct, frozen=True):
    """What happens to one pod, and why.

    ``message`` is one sentence for people without the reason code. ``object`` names what decided, empty when nothing
    did. ``mandatory`` and ``exempt`` say how the policy stood. ``called`` is False where no entry covers the pod:
    then nothing of the decision happens at admission.
    """

    outcome: Outcome
    reason: str
    message: str
    trigger: Trigger | None = None
    object: str = ""
    warnings: tuple[str, ...] = ()
    mandatory: bool = False
    exempt: bool = False
    called: bool = True

    @property
    def injects(self) -> bool:
        """Whether the pod is to be injected."""
        return self.outcome == "Inject"


def decide(
    subject: Subject,
    *,
    mode: Mode,
    policy: Policy | None,
    runtime: Source | None,
    coverage: Coverage = CALLED,
    unreadable: Sequence[Finding] = (),
    proof: OwnerProof | None = None,
) -> Decision:
    """Returns the decision as far as it stands without settings; an Inject still needs ``confirm``.

    Args:
        subject: The pod, or a workload's template.
        mode: Trigger mode of the installation.
        policy: Policy of the namespace; None when a config kind that may state one is unreadable.
        runtime: The AgentRuntime that targets the top owner, if any.
        coverage: Whether any entry covers the namespace.
        unreadable: One finding per layer that is present and has no valid version.
        proof: What was found of the owner where an exemption hangs on it; None where nobody had to ask.
    """
    label = subject.inject_label
    if coverage.excluded:
        return Decision("Allow", coverage.excluded, coverage.why, object=str(runtime or ""), called=False)
    entry = entry_of(mode, label)
    if entry is None or (entry == "cr" and not coverage.enrolled):
        return _not_called(subject, coverage if entry else None, policy=policy, runtime=runtime)
    if label is not None and label not in LABEL_VALUES:
        message = (
            f'{subject.owner}: label {wellknown.INJECT_LABEL} is "{label[:63]}", want {_ALLOWED}; correct or remove it'
        )
        return Decision("Deny", reasons.INVALID_LABEL, message, object=_labelled(subject))
    if policy is None:
        return config_invalid(subject, unreadable)
    stands = standing(policy, subject, proof)
    if label == wellknown.INJECT_DISABLED:
        decision = _opted_out(subject, policy, mandatory=stands.mandatory)
    else:
        by_label = entry == "label"
        decision = _triggered(subject, by_label=by_label, policy=policy, runtime=runtime, mandatory=stands.mandatory)
    decision = _standing_in(decision, policy, stands)
    if not decision.injects:
        return decision
    return _before_settings(decision, subject, unreadable)


def confirm(
    decision: Decision,
    *,
    settings: ResolvedSettings,
    subject: Subject,
    runtime_type: str = "",
) -> Decision:
    """Returns an Inject decision completed by the resolved settings; any other decision comes back as it is.

    What is left to inject is known only once the sidecars are built: see ``nothing_left``.

    Args:
        decision: Answer of ``decide``.
        settings: The merged layers of this pod.
        subject: The same subject.
        runtime_type: ``spec.type`` of the AgentRuntime, which classifies a pod without a type label.
    """
    if not decision.injects:
        return decision
    if settings.errors:
        return _deny(decision, reasons.CONFIG_INVALID, _contradiction(subject, settings))
    if not decision.mandatory and not settings.flag("injection.enabled"):
        source = settings.origins["injection.enabled"].source
        message = f"{source} sets injection.enabled to false"
        return _allow(decision, reasons.INJECTION_DISABLED, message, by=str(source))
    excluded = _excluded_type(subject, settings, runtime_type)
    if excluded and not decision.mandatory:
        source = settings.origins["injection.types"].source
        return _warn(_allow(decision, reasons.TYPE_EXCLUDED, excluded, by=str(source)))
    unsupported = unsupported_field(subject)
    if unsupported:
        message = f"{subject.owner}: {unsupported} pods cannot be intercepted; {_way_out(decision)}"
        return _deny(decision, reasons.UNSUPPORTED_POD, message)
    if excluded:
        return msgspec.structs.replace(
            decision, warnings=(*decision.warnings, f"{reasons.TYPE_EXCLUDED}: {excluded}, injected because Mandatory")
        )
    return decision


def nothing_left(decision: Decision, subject: Subject) -> Decision:
    """Returns what becomes of an Inject decision when settings and the pod's own opt-outs leave no component."""
    says = "nothing is left to inject: identity and tracing, or every component, are switched off"
    if not decision.mandatory:
        return _warn(_allow(decision, reasons.NOTHING_TO_INJECT, says, by=decision.object))
    message = f"{subject.owner}: {says}, but injection is Mandatory here; kagenti explain shows which layer does it"
    return _deny(decision, reasons.MANDATORY_INJECTION, message)


def kept(decision: Decision, subject: Subject, earlier: Trigger) -> Decision:
    """Returns the decision that keeps an earlier injection whose trigger is gone (target workloads, on UPDATE)."""
    message = f"{subject.owner} was injected before ({earlier}); sidecars go when the label is removed or disabled"
    return msgspec.structs.replace(
        decision, outcome="Inject", reason=reasons.KEPT, message=message, trigger=earlier, warnings=()
    )


def config_invalid(subject: Subject, unreadable: Sequence[Finding]) -> Decision:
    """Returns the denial for layers that are present and unreadable, naming each."""
    faults = "; ".join(finding.message for finding in unreadable) or "a layer is unreadable"
    message = f"{subject.owner}: {faults}; mend it, then the pod is created at the next try"
    names = ", ".join(name for finding in unreadable for name in finding.objects)
    return Decision("Deny", reasons.CONFIG_INVALID, message, object=names)


def not_ready(what: str, why: str) -> Decision:
    """Returns the denial for facts that could not be had; the caller may try again."""
    return Decision("Deny", reasons.NOT_READY, f"{what}: {why}; retry")


def unsupported_field(subject: Subject) -> str:
    """Returns the field that makes a pod uninjectable, with its value; empty when nothing does."""
    spec = subject.spec
    if spec.get("hostNetwork") is True:
        return "hostNetwork: true"
    system = spec.get("os")
    if isinstance(system, Mapping) and system.get("name") == "windows":
        return "os.name: windows"
    selector = spec.get("nodeSelector")
    if isinstance(selector, Mapping) and selector.get("kubernetes.io/os") == "windows":
        return "nodeSelector kubernetes.io/os: windows"
    return ""


def _standing_in(decision: Decision, policy: Policy, stands: Standing) -> Decision:
    """Completes a decision with how the policy stood; an exemption is named where nothing else decided."""
    if stands is FREE:
        return decision
    decision = msgspec.structs.replace(
        decision,
        mandatory=stands.mandatory,
        exempt=stands.exempt,
        warnings=(*decision.warnings, *stands.warnings),
    )
    if not stands.exempt or decision.reason != reasons.NO_TRIGGER:
        return decision
    message = f"{policy.declared_by} makes injection Mandatory and exempts this owner or service account"
    return msgspec.structs.replace(decision, reason=reasons.EXEMPT, message=message, object=str(policy.declared_by))


def _not_called(
    subject: Subject, coverage: Coverage | None, *, policy: Policy | None, runtime: Source | None
) -> Decision:
    """Says why no entry is called; ``coverage`` is None where the mode has no entry for such a pod."""
    if coverage is not None:
        reason = reasons.NOT_ENROLLED
        message = f"namespace {subject.namespace} is not enrolled; enrol it: {coverage.enrol}"
    elif runtime is not None:
        reason = reasons.LABEL_MISSING
        message = f"trigger mode is label: add {wellknown.INJECT_LABEL}: {wellknown.INJECT_ENABLED} to the pod template"
    else:
        reason, message = reasons.NO_TRIGGER, f"trigger mode is label and the pod has no label {wellknown.INJECT_LABEL}"
    if policy is not None and policy.mandatory and not policy.is_exempt(subject.owner, subject.service_account):
        reason = reasons.POLICY_UNENFORCED
        message = f"{policy.declared_by} makes injection Mandatory, but the webhook is not called: {message}"
    return Decision("Allow", reason, message, object=str(runtime or ""), called=False)


def _opted_out(subject: Subject, policy: Policy, *, mandatory: bool) -> Decision:
    says = f"label {wellknown.INJECT_LABEL} is {wellknown.INJECT_DISABLED}"
    if not mandatory:
        return Decision("Allow", reasons.OPT_OUT, says, object=_labelled(subject))
    message = (
        f"{subject.owner}: {says}, but {policy.declared_by} makes injection Mandatory; "
        "remove the label or ask the platform for an exemption"
    )
    return Decision("Deny", reasons.MANDATORY_INJECTION, message, object=str(policy.declared_by))


def _triggered(
    subject: Subject, *, by_label: bool, policy: Policy, runtime: Source | None, mandatory: bool
) -> Decision:
    label = f"label {wellknown.INJECT_LABEL}: {wellknown.INJECT_ENABLED}"
    if by_label:
        return Decision("Inject", reasons.LABEL, label, trigger="Label", object=_labelled(subject))
    if runtime is not None:
        message = f"{runtime} targets {subject.owner}"
        return Decision("Inject", reasons.AGENT_RUNTIME, message, trigger="AgentRuntime", object=str(runtime))
    if mandatory:
        message = f"{policy.declared_by} makes injection Mandatory in namespace {subject.namespace}"
        return Decision("Inject", reasons.MANDATORY, message, trigger="Mandatory", object=str(policy.declared_by))
    if subject.inject_label is None:
        return Decision("Allow", reasons.NO_TRIGGER, f"no label and no AgentRuntime for {subject.owner}")
    message = f"trigger mode is cr: {label} does nothing; create an AgentRuntime for {subject.owner}"
    return _warn(Decision("Allow", reasons.LABEL_IGNORED, message, object=_labelled(subject)))


def _before_settings(decision: Decision, subject: Subject, unreadable: Sequence[Finding]) -> Decision:
    """Completes an Inject with what needs no settings: such a pod stays bare whatever they say, or cannot have any."""
    if decision.trigger == "AgentRuntime" and not decision.mandatory:
        unsupported = unsupported_field(subject)
        if unsupported:
            message = f"{unsupported} pods cannot be intercepted; {decision.object} does not change this pod"
            return _warn(_allow(decision, reasons.UNSUPPORTED_POD, message, by=decision.object))
    if not unreadable:
        return decision
    invalid = config_invalid(subject, unreadable)
    return msgspec.structs.replace(
        decision, outcome="Deny", reason=invalid.reason, message=invalid.message, object=invalid.object
    )


def _excluded_type(subject: Subject, settings: ResolvedSettings, runtime_type: str) -> str:
    kind = subject.type_label if subject.type_label is not None else runtime_type
    types = settings.items("injection.types")
    if not kind or kind in types:
        return ""
    allowed = ", ".join(types) or "none"
    return f'type "{kind[:63]}" ({wellknown.TYPE_LABEL}) is not in injection.types ({allowed})'


def _contradiction(subject: Subject, settings: ResolvedSettings) -> str:
    return f"{subject.owner}: {'; '.join(error.message for error in settings.errors)}"


def _way_out(decision: Decision) -> str:
    label = f"the label {wellknown.INJECT_LABEL}"
    if not decision.mandatory:
        return f"drop the field or {label}"
    also = f", and then drop {label}" if decision.trigger == "Label" else ""  # it triggers an exempt pod too
    return f"injection is Mandatory here: drop the field, or ask the platform for an exemption{also}"


def _labelled(subject: Subject) -> str:
    return f"label on {subject.owner}"


def _deny(decision: Decision, reason: str, message: str) -> Decision:
    return msgspec.structs.replace(decision, outcome="Deny", reason=reason, message=message)


def _allow(decision: Decision, reason: str, message: str, *, by: str) -> Decision:
    return msgspec.structs.replace(decision, outcome="Allow", reason=reason, message=message, object=by)


def _warn(decision: Decision) -> Decision:
    return msgspec.structs.replace(decision, warnings=(*decision.warnings, f"{decision.reason}: {decision.message}"))
