"""What a pod's replacement would be: the webhook's own decision and injection, run on the pod as it is."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kagenti.core.admission import respond
from kagenti.core.admission.evaluate import Context, evaluate
from kagenti.core.admission.pods import NOT_OURS
from kagenti.core.admission.shape import fault_of_template
from kagenti.core.layers import Sources
from kagenti.core.trigger import Coverage, OwnerProof
from kagenti.core.workload import Subject, WorkloadRef

JSON = Any  # a raw pod


@dataclass(frozen=True, slots=True)
class Prospect:
    """Whether the replacement comes up injected; ``reason`` is the decision's code, ``message`` one clause for people."""

    injected: bool
    reason: str
    message: str


AS_ITS_TEMPLATE: Final = Prospect(
    injected=False,
    reason=NOT_OURS,
    message="its replacement would be as the workload's template is (webhook.target: workloads), which only a change"
    " of it renders anew; restart the workload",
)
"""With target workloads nobody is called for a pod."""


def prospect(
    pod: Mapping[str, JSON],
    *,
    owner: WorkloadRef,
    sources: Sources,
    context: Context,
    namespace_labels: Mapping[str, str],
    coverage: Coverage,
    now: datetime.datetime,
    proof: OwnerProof | None = None,
) -> Prospect:
    """Returns what the webhook would make of a new pod like this one.

    Args:
        pod: The running pod, raw and whole, not modified. What an earlier injection left on it changes nothing: the
            injection sets its own fields again (spec 04).
        owner: Its top owner.
        sources: The layers in force.
        context: What is the same for every evaluation; the webhook's own trigger mode and installation.
        namespace_labels: Labels of the namespace.
        coverage: How the webhook's entries cover the namespace: one that is not called injects nothing.
        now: The clock, aware.
        proof: What was found of the owner where an exemption hangs on it.
    """
    fault = fault_of_template(pod, "object")
    if fault:
        return Prospect(injected=False, reason=respond.BAD_REQUEST, message=fault)
    evaluation = evaluate(
        Subject(owner, pod),
        sources=sources,
        context=context,
        namespace_labels=namespace_labels,
        now=now,
        coverage=coverage,
        proof=proof,
    )
    decision = evaluation.decision
    if decision.injects:
        return Prospect(injected=True, reason=decision.reason, message=decision.message)
    how = "be denied" if decision.outcome == "Deny" else "come up without sidecars"
    return Prospect(
        injected=False,
        reason=decision.reason,
        message=f"its replacement would {how} ({decision.reason}: {decision.message})",
    )
