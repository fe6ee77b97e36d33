"""What is to be done about one object: the status to write where it differs, and the events to tell people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from kagenti.core.reconcile import conditions
from kagenti.core.reconcile.conditions import Condition
from kagenti.core.reconcile.judge import Judged
from kagenti_api.v1alpha1.agentruntime import (
    AS_DESIRED,
    CONFIG_PROPAGATED,
    NO_PODS,
    NO_REPLICA,
    NOT_FOUND,
    NOT_READ,
    NOT_REGISTERED,
    PENDING,
    PROXY_NOT_READY,
)

JSON = Any  # a status

OTHERS: Final = (CONFIG_PROPAGATED,)
"""Conditions that the xDS replicas write."""
_OTHERS_FIELDS: Final = ("propagation",)
# States that pass by themselves: every new pod of a healthy workload goes through some of them.
_QUIET: Final = (NOT_FOUND, NOT_READ, NO_PODS, NO_REPLICA, NOT_REGISTERED, PENDING, PROXY_NOT_READY)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of Kubernetes about an object."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows for one object.

    ``status`` is what our field manager is to own of it, None where the object has exactly that. ``judged`` is what was
    found of each pod, by uid, for whoever acts on pods. ``proxies`` ought to have a stream now, ``revision`` is what they
    should have (empty where the layers give none), ``acknowledged`` whether they all do.
    """

    status: JSON | None
    events: tuple[Event, ...] = ()
    judged: Mapping[str, Judged] = field(default_factory=dict)
    proxies: int = 0
    revision: str = ""
    acknowledged: bool = False


def planned(
    wanted: Mapping[str, JSON],
    concluded: Sequence[Condition],
    *,
    observed: Mapping[str, JSON],
    generation: int,
    now: str,
) -> Plan:
    """Returns the plan for a status without its conditions, and the conditions.

    Args:
        wanted: The status without conditions; None values are left out.
        concluded: The conditions; the last one is the summary, whose changes people are told.
        observed: The status of the object as it is.
        generation: Its ``metadata.generation``.
        now: RFC 3339.
    """
    before = conditions.observed_in(observed)
    written = conditions.as_written(concluded, observed=before, generation=generation, now=now)
    status = {key: value for key, value in wanted.items() if value is not None}
    status |= {"observedGeneration": generation, "conditions": written}
    if _by_type(status) == _by_type(_ours(observed)):
        return Plan(None)
    return Plan(status, tuple(_events(concluded, before)))


def _ours(observed: Mapping[str, JSON]) -> JSON:
    """Returns what of a status is the operator's."""
    mine = {key: value for key, value in observed.items() if key not in _OTHERS_FIELDS}
    own = [found for found in conditions.observed_in(observed) if found.get("type") not in OTHERS]
    return mine | {"conditions": own}


def _by_type(status: Mapping[str, JSON]) -> JSON:
    """Returns a status with its conditions by type: their order is the API server's."""
    return {**status, "conditions": {found.get("type"): found for found in status["conditions"]}}


def _events(concluded: Sequence[Condition], before: Sequence[Mapping[str, JSON]]) -> list[Event]:
    summary = concluded[-1]
    known = conditions.find(before, summary.type)
    if (known.get("status"), known.get("reason")) == (summary.status, summary.reason):
        return []
    if summary.reason in _QUIET:
        return []
    if summary.status == "True":
        return [Event("Normal", summary.reason, summary.message)] if known or summary.reason == AS_DESIRED else []
    return [Event("Warning", summary.reason, summary.message)]
