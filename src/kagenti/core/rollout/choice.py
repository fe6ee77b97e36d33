"""Which pods are to be replaced, which of those may be, in which order, and what the next one has to wait for."""

import re
from collections.abc import Iterable
from typing import Final

from kagenti.core.rollout.controller import ENDING, Controller
from kagenti.core.rollout.facts import Facts, Pod, Policy

_ORDINAL: Final = re.compile(r"-(\d{1,9})$", re.ASCII)


def wanted(facts: Facts) -> tuple[Pod, ...]:
    """Returns the live pods that the policy asks to replace one by one, in the order of their replacement.

    Bare pods come before stale ones, those that serve nobody before those that do. Of equals the highest ordinal comes
    first, as the StatefulSet controller rolls (Kubernetes, "StatefulSets: Rolling Updates"), elsewhere the oldest.
    """
    found = [pod for pod in facts.live if asked_to_evict(pod, facts.policy)]
    return tuple(sorted(found, key=lambda pod: _rank(pod, facts.controller)))


def asked_to_evict(pod: Pod, policy: Policy) -> bool:
    """Whether the policy asks to evict pods of that state."""
    return (pod.state == "bare" and policy.bare == "Evict") or (pod.state == "stale" and policy.stale == "Evict")


def concerns(pod: Pod, policy: Policy) -> bool:
    """Whether the policy asks for anything to be done about a pod of that state, one by one or all at once."""
    return pod.live and (asked_to_evict(pod, policy) or (pod.state == "stale" and policy.stale == "Restart"))


def left_alone(pod: Pod, controller: Controller) -> str:
    """Returns why a pod is never evicted whatever its replacement would be, as one clause; empty when nothing says so."""
    owner = pod.owner
    if pod.mirror or (owner is not None and (owner.group, owner.kind) == ("", "Node")):
        return "its kubelet made it from a file; change the file"
    if owner is None:
        return "it has no controller, so that nothing would create it anew; delete and create it yourself"
    if (owner.group, owner.kind) in ENDING:
        return f"pods of a {owner.kind} are work under way; the next one is injected"
    if not controller.recreates(owner):
        return f"it is not known whether a {owner.kind} creates its pods anew; delete the pod yourself"
    return pod.withheld or controller.held_back


def blocked_by(facts: Facts, replaceable: Iterable[Pod]) -> str:
    """Returns what the next eviction has to wait for, as one clause; empty when the workload is whole.

    Read from the cluster alone, so that it holds for a leader that has just taken over: whoever evicted the pod that is
    missing now, no second one goes. ``replaceable`` pods that are not Ready are no reason to wait, but the cure.
    """
    ending = _first(pod for pod in facts.pods if pod.deleting and not pod.finished)
    if ending is not None:
        return f"pod {ending.name} to end"
    if facts.controller.rolling:
        return "the roll-out of its own controller to end"
    cured = {pod.uid for pod in replaceable}
    unready = _first(pod for pod in facts.live if not pod.ready and pod.uid not in cured)
    if unready is not None:
        return f"pod {unready.name} to be Ready"
    if facts.controller.desired is not None and len(facts.live) < facts.controller.desired:
        return "its controller to create the pods that are missing"
    return ""


def _first(pods: Iterable[Pod]) -> Pod | None:
    """Returns the first by name, so that what people read does not flap."""
    return min(pods, key=lambda pod: pod.name, default=None)


def _rank(pod: Pod, controller: Controller) -> tuple[bool, bool, int, float, str]:
    ordinal = _ORDINAL.search(pod.name) if controller.order == "ordinal" else None
    last = -int(ordinal.group(1)) if ordinal else 0
    return (pod.state != "bare", pod.ready, last, pod.created.timestamp(), pod.name)
