"""TargetResolved: whether a targetRef names the top of an owner chain that has pods, and whose AgentRuntime is in force."""

from collections.abc import Sequence
from typing import Final

from kagenti.core import validation
from kagenti.core.reconcile.conditions import Condition
from kagenti.core.reconcile.facts import Target
from kagenti.core.settings.model import Source
from kagenti.core.workload import WorkloadRef
from kagenti_api.v1alpha1.agentruntime import (
    CONFLICT,
    FORBIDDEN,
    FOUND,
    NOT_FOUND,
    NOT_READ,
    TARGET_RESOLVED,
    UNSUPPORTED_TARGET,
)

_UNREADABLE: Final = "spec.targetRef cannot be read; name the workload by apiVersion, kind and name"


def target_resolved(
    reference: WorkloadRef | None, target: Target, *, me: Source, rivals: Sequence[Source], winner: Source
) -> Condition:
    """Returns the condition; the checks are those of the validating webhook (``core.validation``).

    Args:
        reference: What targetRef names; None where it cannot be read.
        target: What is known of that object.
        me: The AgentRuntime.
        rivals: Every AgentRuntime of that target, itself among them.
        winner: The one that is in force.
    """
    if reference is None:
        return _false(UNSUPPORTED_TARGET, _UNREADABLE)
    if winner != me and validation.duplicate_target(me, reference, rivals):
        return _false(CONFLICT, f"{winner} targets {reference} too, is older and in force; delete one of the two")
    for fault in validation.target_kind(reference, owned_by=target.owned_by):
        return _false(fault.reason, fault.message)
    match target.state:
        case "forbidden":
            return Condition(TARGET_RESOLVED, "Unknown", FORBIDDEN, f"{reference}: {target.why}")
        case "unread":
            return Condition(TARGET_RESOLVED, "Unknown", NOT_READ, f"{reference}: {target.why}")
        case "missing":
            return _false(NOT_FOUND, target.why or f"no {reference} exists; its pods are configured when it does")
    if not target.has_template:
        return _false(UNSUPPORTED_TARGET, f"{reference} has no pod template under spec.template; name a workload")
    return Condition(TARGET_RESOLVED, "True", FOUND, f"targets {reference}")


def _false(reason: str, message: str) -> Condition:
    return Condition(TARGET_RESOLVED, "False", reason, message)
