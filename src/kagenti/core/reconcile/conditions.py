"""Conditions in the shape of metav1.Condition: what is concluded, against what stands on the object."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

JSON = Any  # a condition as received

Status = Literal["True", "False", "Unknown"]

_LONGEST: Final = 2000  # characters of a message; the CRD allows more, people read less


@dataclass(frozen=True, slots=True)
class Condition:
    """One conclusion: the condition's type, its status, a reason code, one sentence for people."""

    type: str
    status: Status
    reason: str
    message: str


def as_written(
    conditions: Iterable[Condition], *, observed: Iterable[Mapping[str, JSON]], generation: int, now: str
) -> list[JSON]:
    """Returns conditions as they are written; the time of transition stays where the status does.

    Args:
        conditions: What is concluded.
        observed: The conditions of the object as it is.
        generation: ``metadata.generation`` that they speak of.
        now: RFC 3339.
    """
    known = {str(found.get("type")): found for found in observed}
    written = []
    for found in conditions:
        before = known.get(found.type, {})
        since = before.get("lastTransitionTime") if before.get("status") == found.status else None
        written.append(
            {
                "type": found.type,
                "status": found.status,
                "reason": found.reason,
                "message": found.message[:_LONGEST],
                "observedGeneration": generation,
                "lastTransitionTime": since or now,
            }
        )
    return written


def observed_in(status: Mapping[str, JSON]) -> Sequence[Mapping[str, JSON]]:
    """Returns the conditions of a status as received; what is no condition is left out."""
    return [found for found in status.get("conditions") or () if isinstance(found, Mapping)]


def find(conditions: Iterable[Mapping[str, JSON]], type_: str) -> Mapping[str, JSON]:
    """Returns the condition of that type; empty without one."""
    return next((found for found in conditions if found.get("type") == type_), {})
