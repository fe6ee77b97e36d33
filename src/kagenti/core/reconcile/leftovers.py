"""What xDS replicas leave in status when they end: entries of crashed ones, and a condition that nobody is left to correct."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from kagenti.core import propagation
from kagenti.core.reconcile import conditions
from kagenti.core.reconcile.facts import Tools
from kagenti_api.v1alpha1.agentruntime import CONFIG_PROPAGATED, NO_REPLICA

JSON = Any  # a status or a condition

_SAID: Final = (NO_REPLICA, propagation.NO_PROXIES)


def left_behind(status: Mapping[str, JSON], alive: Collection[str]) -> tuple[str, ...]:
    """Returns the names of replicas that have an entry and no longer exist.

    Args:
        status: The status of one of our objects.
        alive: Names of the xDS pods that exist, of those on their way out too: they take their entries with them.
    """
    return tuple(sorted(name for name in _replicas(status) if name not in alive))


def last_word(
    status: Mapping[str, JSON], alive: Collection[str], *, proxies: int, generation: int, tools: Tools
) -> JSON | None:
    """Returns ConfigPropagated as it has to be once no replica has an entry; None where one has, or that is said already.

    Whoever has proxies keeps the condition; the last one to go leaves it as it was.

    Args:
        status: The status of one of our objects.
        alive: Names of the xDS pods that exist.
        proxies: Proxies that ought to have a stream.
        generation: ``metadata.generation`` of the object.
        tools: The clock.
    """
    observed = conditions.find(conditions.observed_in(status), CONFIG_PROPAGATED)
    if not observed or observed.get("reason") in _SAID or any(name in alive for name in _replicas(status)):
        return None
    found = propagation.conclude((), proxies=proxies, revision="")
    return propagation.condition(found, observed=observed, generation=generation, now=tools.time)


def _replicas(status: Mapping[str, JSON]) -> set[str]:
    entries = (found for found in status.get("propagation") or () if isinstance(found, Mapping))
    return {name for found in entries if isinstance(name := found.get("replica"), str)}
