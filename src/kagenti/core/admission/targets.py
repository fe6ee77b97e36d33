"""What can be said of an AgentRuntime's target: how to ask for its pods, how many predate it, and the sentence for people.

The reads themselves are the shell's; where one fails the answer says "unknown", never an error (spec 03).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from kagenti.core import workload
from kagenti.core.workload import WorkloadRef

JSON = Any  # a raw Kubernetes object

MOST_PODS: Final = 500
"""Limit of the one LIST that counts pods (spec 03)."""


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What the shell found of a target.

    ``pods`` is the number of running pods that predate the AgentRuntime; None when it is not known. ``more`` says
    that the LIST had further pages. ``owned_by`` is the controller of the target itself. ``service_account`` is that of
    its template; empty when it is not known.
    """

    state: Literal["found", "missing", "unknown"]
    pods: int | None = None
    more: bool = False
    owned_by: WorkloadRef | None = None
    service_account: str = ""


UNKNOWN: Final = TargetFacts("unknown")


def target_of(manifest: Mapping[str, JSON], namespace: str) -> WorkloadRef | None:
    """Returns the target that an AgentRuntime names, or None where targetRef is absent or of another type."""
    reference = workload.at(manifest, ("spec", "targetRef"))
    if not isinstance(reference, Mapping):
        return None
    version, kind, name = (reference.get(key) for key in ("apiVersion", "kind", "name"))
    if not (isinstance(version, str) and isinstance(kind, str) and isinstance(name, str)):
        return None
    return WorkloadRef(workload.group_of(version), kind, namespace, name)


def pod_selector(manifest: Mapping[str, JSON]) -> str | None:
    """Returns the label selector of a workload's pods in query syntax; None where the workload has none."""
    selector = workload.at(manifest, ("spec", "selector"))
    if not isinstance(selector, Mapping):
        return None
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for requirement in selector.get("matchExpressions") or ():
        term = _term(requirement)
        if term is None:
            return None
        terms.append(term)
    return ",".join(terms) or None


def facts_of(
    target: Mapping[str, JSON], pods: Iterable[Mapping[str, JSON]] | None, *, more: bool = False
) -> TargetFacts:
    """Returns the facts of a target that exists.

    Args:
        target: The target, raw.
        pods: Its pods as listed, raw; None where they could not be listed.
        more: Whether the list had further pages.
    """
    owner = workload.controller_reference(target)
    namespace = (target.get("metadata") or {}).get("namespace") or ""
    return TargetFacts(
        state="found",
        pods=None if pods is None else sum(map(_running, pods)),
        more=more,
        owned_by=owner.workload(namespace) if owner else None,
        service_account=_service_account(target),
    )


def sentence(target: WorkloadRef, facts: TargetFacts, *, bare: str) -> str:
    """Returns what an AgentRuntime's author is told of its target.

    Args:
        target: The target.
        facts: What was found of it.
        bare: The value of ``rollout.bare`` in force: Evict or None.
    """
    if facts.state == "unknown":
        return f"targets {target}; whether it exists, and how many running pods predate this, is unknown"
    if facts.state == "missing":
        return f"targets {target}, which does not exist yet; its pods are configured when it does"
    if facts.pods is None:
        return f"targets {target}; how many running pods predate this is unknown"
    if facts.pods == 0 and not facts.more:
        return f"targets {target}; no running pod predates this"
    count = f"{facts.pods}{'+' if facts.more else ''} running pod{'' if facts.pods == 1 and not facts.more else 's'}"
    verb = "predates" if count.endswith("pod") else "predate"
    then = "they are evicted one by one" if bare == "Evict" else "they stay as they are until somebody replaces them"
    return f"targets {target}; {count} {verb} this without its settings: {then} (rollout.bare: {bare})"


def _service_account(target: Mapping[str, JSON]) -> str:
    subject = workload.subject_of(target, namespace=(target.get("metadata") or {}).get("namespace") or "")
    return subject.service_account if subject else ""


def _running(pod: Mapping[str, JSON]) -> bool:
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return False
    return (pod.get("status") or {}).get("phase") in ("Running", "Pending")


def _term(requirement: Mapping[str, JSON]) -> str | None:
    key, values = requirement.get("key", ""), ",".join(requirement.get("values") or ())
    forms = {
        "In": f"{key} in ({values})",
        "NotIn": f"{key} notin ({values})",
        "Exists": str(key),
        "DoesNotExist": f"!{key}",
    }
    return forms.get(requirement.get("operator", ""))
