"""The validating webhook for our own kinds: rules across objects, and what people should know before they go on.

It fails open (spec 03): the merge ignores what it would have refused. It never changes anything, so that dry-run and
real requests get the same answer.
"""

from typing import Final

from kagenti.core.admission import desk as desks
from kagenti.core.admission import respond, targets
from kagenti.core.admission.config_write import ConfigWrite
from kagenti.core.admission.desk import Desk, View
from kagenti.core.admission.respond import Answer
from kagenti.core.admission.review import Request
from kagenti.core.admission.runtime_write import RuntimeWrite
from kagenti.core.admission.targets import TargetFacts
from kagenti.core.workload import WorkloadRef

__all__ = ["NOT_CHECKED", "Desk", "View", "needs", "validate"]

NOT_CHECKED: Final = "NotChecked"


def needs(request: Request) -> WorkloadRef | None:
    """Returns the target that the shell should look up, or None: only a new AgentRuntime says something about it."""
    if request.kind != "AgentRuntime" or request.operation != "CREATE":
        return None
    return targets.target_of(request.object, request.namespace)


def validate(request: Request, desk: Desk, *, target: TargetFacts = targets.UNKNOWN) -> Answer:
    """Returns the answer to a write of one of our kinds.

    Args:
        request: A request on our group.
        desk: What is known to this process.
        target: What the shell found of ``needs(request)``.
    """
    if not desk.view.synced():
        note = f"{NOT_CHECKED}: kagenti has not read the other objects yet; conflicts show in the status later"
        return respond.allowed(request, reason=NOT_CHECKED, warnings=(note,))
    if request.kind == "AgentRuntime":
        return RuntimeWrite(request, desk, target).answer()
    if request.kind in ("AgentRuntimeConfig", "AgentRuntimeClusterConfig"):
        return ConfigWrite(request, desk).answer()
    return respond.allowed(request, reason=desks.VALID)
