"""The mutating webhook for target pods: what a request needs to know, and the answer once that is known.

Owner reads and strict lists are I/O, so the shell does them between ``needs`` and ``mutate_pod``; both are pure.
"""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kagenti.core import trigger, workload
from kagenti.core.admission import respond
from kagenti.core.admission.evaluate import Context, Evaluation, evaluate, policy_of
from kagenti.core.admission.respond import Answer
from kagenti.core.admission.review import Request
from kagenti.core.admission.shape import fault_of_template
from kagenti.core.layers import LayerCache, Stored
from kagenti.core.trigger import OwnerProof, reasons
from kagenti.core.workload import OwnerReference, Subject, WorkloadRef
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw pod or template

NOT_OURS: Final = "NotOurs"
"""Reason code for a request that no rendered rule sends: answered untouched."""


class Needs(msgspec.Struct, frozen=True):
    """What must be known before the answer.

    ``reference`` is the pod's controller reference, whose top owner is to be found; None for a standalone pod.
    ``standalone`` is the owner where there is no reference or it does not hold. ``runtimes`` says whether a miss in
    the index deserves a strict read: not for a pod that is denied or opted out whatever an AgentRuntime says.
    """

    reference: OwnerReference | None
    standalone: WorkloadRef
    runtimes: bool


class Facts(msgspec.Struct, frozen=True):
    """What the shell found: the top owner, the objects of ours for it, and the labels of the namespace.

    ``runtimes`` are those that target the owner (``layers.for_target`` narrows a strict read). ``namespace_labels``
    is None where the namespace could not be seen: the pod is then denied (NotReady), never decided without.
    ``proof`` is what was found of the owner where ``hangs_on_owner`` said that it matters.
    """

    owner: WorkloadRef
    cluster: Stored | None
    namespace: Stored | None
    runtimes: Sequence[Stored]
    namespace_labels: Mapping[str, str] | None
    proof: OwnerProof | None = None


def needs(request: Request) -> Needs:
    """Returns what must be known to answer a pod's request."""
    standalone = WorkloadRef("", "Pod", request.namespace, request.name)
    if not _is_ours(request):
        return Needs(None, standalone, runtimes=False)
    labels = (request.object.get("metadata") or {}).get("labels") or {}
    label = labels.get(wellknown.INJECT_LABEL)
    if label is not None and label not in trigger.LABEL_VALUES:
        return Needs(None, standalone, runtimes=False)
    reference = workload.controller_reference(request.object)
    return Needs(reference, standalone, runtimes=label != wellknown.INJECT_DISABLED)


def mutate_pod(
    request: Request, facts: Facts, *, context: Context, layers: LayerCache, now: datetime.datetime
) -> Answer:
    """Returns the answer to the creation of a pod.

    Args:
        request: A request on pods.
        facts: What the shell found for ``needs(request)``.
        context: What is the same for every request of this process.
        layers: Parsed layers of this process.
        now: The clock, aware; it becomes ``kagenti.io/injected-at`` of a pod that has none.
    """
    if not _is_ours(request):
        return respond.allowed(request, reason=NOT_OURS)
    fault = fault_of_template(request.object, "object")
    if fault:
        return respond.refused(request.uid, fault)
    if facts.namespace_labels is None:
        return not_ready(request, f"namespace {request.namespace} has not been seen yet")
    evaluation = evaluate(
        Subject(facts.owner, request.object),
        sources=layers.gather(cluster=facts.cluster, namespace=facts.namespace, runtimes=facts.runtimes),
        context=context,
        coverage=trigger.CALLED,
        namespace_labels=facts.namespace_labels,
        now=now,
        proof=facts.proof,
    )
    return answer_of(request, evaluation, owner=facts.owner)


def hangs_on_owner(template: Mapping[str, JSON], facts: Facts, *, layers: LayerCache) -> bool:
    """Whether a pod is exempt from Mandatory by its owner alone, which the shell has to prove first (decision 0007)."""
    if facts.cluster is None or facts.namespace_labels is None:
        return False
    sources = layers.gather(cluster=facts.cluster, namespace=facts.namespace, runtimes=facts.runtimes)
    policy = policy_of(facts.owner.namespace, sources=sources, namespace_labels=facts.namespace_labels)
    if policy is None or not (policy.mandatory and policy.exempt) or fault_of_template(template, "object"):
        return False
    return trigger.exempt_by_owner(policy, Subject(facts.owner, template))


def not_ready(request: Request, why: str) -> Answer:
    """Returns the denial for facts that could not be had now; ``why`` is one clause without full stop."""
    decision = trigger.not_ready(request.subject, why)
    # 503: clients and controllers take it for what it is, a reason to try again.
    return respond.denied(request, reason=decision.reason, message=decision.message, code=503)


def answer_of(request: Request, evaluation: Evaluation, *, owner: WorkloadRef) -> Answer:
    """Returns an evaluation as the answer to the request it is about; ``owner`` is the top owner, for the audit log."""
    decision = evaluation.decision
    audit = {"owner": str(owner)}
    if decision.trigger:
        audit["trigger"] = decision.trigger
    if decision.exempt:
        audit["policy"] = reasons.EXEMPT
    elif decision.mandatory:
        audit["policy"] = reasons.MANDATORY
    if evaluation.revision:
        audit["revision"] = evaluation.revision
    if decision.outcome == "Deny":
        return respond.denied(
            request, reason=decision.reason, message=decision.message, warnings=evaluation.warnings, audit=audit
        )
    if decision.injects:
        audit["decision"] = "injected"
    return respond.allowed(
        request, reason=decision.reason, warnings=evaluation.warnings, audit=audit, patch=evaluation.patch
    )


def _is_ours(request: Request) -> bool:
    return request.operation == "CREATE" and request.kind == "Pod" and not request.group and not request.subresource
