"""Ready, phase and message: all derived from the other conditions, so that they cannot say something else."""

from collections.abc import Sequence
from typing import Final, Literal

from kagenti.core.reconcile.conditions import Condition, Status
from kagenti_api.v1alpha1.agentruntime import (
    AS_DESIRED,
    CONFIG_INVALID,
    CONFLICT,
    EVICTION_WITHHELD,
    NO_PODS,
    NOT_FOUND,
    NOT_READ,
    NOT_REGISTERED,
    NOT_REPLACED,
    NOT_TOP_OWNER,
    PENDING,
    PODS_INJECTED,
    PROXY_NOT_READY,
    READY,
    REPLACEMENT_STALE,
    RESTART_NOT_ALLOWED,
    RESTART_NOT_SUPPORTED,
    STALE_PODS,
    UNSUPPORTED_TARGET,
)

Phase = Literal["Pending", "Active", "Degraded", "Error"]

_ERRORS: Final = (CONFLICT, NOT_TOP_OWNER, UNSUPPORTED_TARGET, CONFIG_INVALID)  # somebody has to change an object
_PASSING: Final = (NOT_FOUND, NOT_READ, NO_PODS, PENDING, NOT_REGISTERED, PROXY_NOT_READY)


# Reasons of PodsInjected that go with True and leave pods behind what is desired.
_BEHIND: Final = (
    STALE_PODS,
    EVICTION_WITHHELD,
    NOT_REPLACED,
    REPLACEMENT_STALE,
    RESTART_NOT_ALLOWED,
    RESTART_NOT_SUPPORTED,
)


def ready(concluded: Sequence[Condition]) -> Condition:
    """Returns the summary: the first False, else the first Unknown, else True. Stale pods are not as desired."""
    statuses: tuple[Status, ...] = ("False", "Unknown")
    for status in statuses:
        for found in concluded:
            stale = status == "False" and found.type == PODS_INJECTED and found.reason in _BEHIND
            if found.status == status or stale:
                return Condition(READY, status, found.reason, found.message)
    said = next((found.message for found in concluded if found.type == PODS_INJECTED), "")
    return Condition(READY, "True", AS_DESIRED, said)


def phase_of(summary: Condition) -> Phase:
    """Returns the phase of a summary."""
    if summary.status == "True":
        return "Active"
    if summary.reason in _ERRORS:
        return "Error"
    return "Pending" if summary.reason in _PASSING else "Degraded"
