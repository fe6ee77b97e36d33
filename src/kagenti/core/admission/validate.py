"""The validating webhook for our own kinds: rules across objects, and what people should know before they go on.

It fails open (spec 03): the merge ignores what it would have refused. It never changes anything, so that dry-run and
real requests get the same answer.
"""

from collections.abc import Generator

from kagenti.core.admission import desk as desks
from kagenti.core.admission import respond, targets
from kagenti.core.admission.config_write import ConfigWrite
from kagenti.core.admission.desk import Desk, View
from kagenti.core.admission.reach import NOT_CHECKED
from kagenti.core.admission.respond import Answer
from kagenti.core.admission.review import Request
from kagenti.core.admission.runtime_write import RuntimeWrite
from kagenti.core.admission.targets import TargetFacts
from kagenti.core.workload import WorkloadRef

__all__ = ["NOT_CHECKED", "Desk", "View", "answer_in_steps", "needs", "validate"]


def needs(request: Request) -> WorkloadRef | None:
    """Returns the target that the shell should look up, or None: only a new AgentRuntime says something about it."""
    if request.kind != "AgentRuntime" or request.operation != "CREATE":
        return None
    return targets.target_of(request.object, request.namespace)


def validate(request: Request, desk: Desk, *, target: TargetFacts = targets.UNKNOWN) -> Answer:
    """Returns the answer to a write of one of our kinds, however long it takes; a server takes the steps."""
    steps = answer_in_steps(request, desk, target=target)
    try:
        next(steps)
        while True:
            steps.send(True)  # noqa: FBT003  # what a generator is sent has no name
    except StopIteration as end:
        answer: Answer = end.value
        return answer


def answer_in_steps(
    request: Request, desk: Desk, *, target: TargetFacts = targets.UNKNOWN
) -> Generator[None, bool, Answer]:
    """Returns the answer to a write of one of our kinds, in steps of less than a millisecond.

    Between two steps the caller may do other work; what it sends says whether there is time for more. Told that there
    is not, the answer is given from what is known by then, and says so.

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
        return (yield from ConfigWrite(request, desk).steps())
    return respond.allowed(request, reason=desks.VALID)
