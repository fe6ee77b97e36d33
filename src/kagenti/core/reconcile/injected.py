"""PodsInjected: whether every pod of the workload carries the sidecars that it should, and what is wrong where one does not."""

from collections.abc import Collection, Sequence
from typing import Final

from kagenti.core import trigger
from kagenti.core.admission.evaluate import Context
from kagenti.core.reconcile.conditions import Condition
from kagenti.core.reconcile.facts import Rollout, Target, Undertaken
from kagenti.core.reconcile.judge import Judged, State
from kagenti.core.trigger import Coverage
from kagenti_api.v1alpha1 import wellknown
from kagenti_api.v1alpha1.agentruntime import (
    BARE_PODS,
    EVICTION_WITHHELD,
    FOREIGN_SIDECARS,
    GIVEN_UP,
    INJECTED,
    INTERCEPTION_NOT_ENFORCED,
    LABEL_MISSING,
    NO_PODS,
    NOT_ENROLLED,
    PODS_INJECTED,
    STALE_PODS,
    TAMPERED_PODS,
)

Named = tuple[str, Judged]
"""A pod's name, and what was found of it."""

_REPLACE: Final = "replace them: restart the workload"
_MOST_NAMES: Final = 5


def pods_injected(
    pods: Sequence[Named], *, target: Target, namespace: str, coverage: Coverage, context: Context, rollout: Rollout
) -> Condition:
    """Returns the condition, from the most to the least serious of what is wrong.

    Args:
        pods: What was found of each pod, by its name.
        target: The workload; decides where no pod speaks for it.
        namespace: Its namespace.
        coverage: How the webhook's entries cover that namespace.
        context: What is the same for every evaluation.
        rollout: What was undertaken for bare and stale pods.
    """
    if not pods:
        return _no_pods(target, namespace, coverage, context)
    for _, pod in _of(pods, "tampered"):
        return _false(TAMPERED_PODS, f"{_share(pods, 'tampered')}: {pod.message}; {_REPLACE}")
    for _, pod in _of(pods, "foreign"):
        return _false(FOREIGN_SIDECARS, f"{_share(pods, 'foreign')}: {pod.message}")
    for _, pod in pods:
        if not pod.called and not pod.injected:
            return _false(pod.reason, pod.message)
    if _of(pods, "bare"):
        return _bare(pods, rollout.bare)
    for _, pod in _of(pods, "optedOut", "left"):
        return _false(pod.reason, f"{_share(pods, 'optedOut', 'left')}: {pod.message}")
    return _all_injected(pods, rollout.stale)


def _no_pods(target: Target, namespace: str, coverage: Coverage, context: Context) -> Condition:
    """Without pods the template says whether the webhook would be called for them, with target workloads its owner too."""
    if target.state == "found":
        own = target.own_labels.get(wellknown.INJECT_LABEL) if context.by_workload else None
        entry = trigger.entry_of(context.mode, target.inject_label or own)
        if coverage.excluded:
            return _false(coverage.excluded, coverage.why)
        if entry is None:
            label = f"{wellknown.INJECT_LABEL}: {wellknown.INJECT_ENABLED}"
            where = "the workload or to its pod template" if context.by_workload else "the pod template"
            return _false(LABEL_MISSING, f"trigger mode is label: add {label} to {where}")
        if entry == "cr" and not coverage.enrolled:
            return _false(NOT_ENROLLED, f"namespace {namespace} is not enrolled; enrol it: {coverage.enrol}")
        if target.idle:
            return Condition(PODS_INJECTED, "True", NO_PODS, "the workload wants no pod now")
    return Condition(PODS_INJECTED, "Unknown", NO_PODS, "no pod runs yet")


def _bare(pods: Sequence[Named], undertaken: Undertaken | None) -> Condition:
    count = f"{_share(pods, 'bare')} have no sidecars"
    if undertaken is not None:
        return _false(undertaken.reason, _said(count, undertaken))
    withheld = next((pod.withheld for _, pod in pods if pod.withheld), "")
    if withheld:
        return _false(EVICTION_WITHHELD, f"{count} and are left alone: {withheld}")
    return _false(BARE_PODS, f"{count}; their replacements will have them")


def _said(count: str, undertaken: Undertaken) -> str:
    """Returns what people read; what was given up is read back by the next leader, so that it stands as it was said."""
    return undertaken.message if undertaken.reason in GIVEN_UP else f"{count}: {undertaken.message}"


def _all_injected(pods: Sequence[Named], undertaken: Undertaken | None) -> Condition:
    stale = _of(pods, "stale")
    if stale:
        fields = _listed({field for _, pod in stale for field in pod.fields})
        count = f"{_share(pods, 'stale')} have older restart settings{f' ({fields})' if fields else ''}"
        if undertaken is not None:
            return Condition(PODS_INJECTED, "True", undertaken.reason, _said(count, undertaken))
        return Condition(PODS_INJECTED, "True", STALE_PODS, count)
    for _, pod in pods:
        if pod.weak:
            return Condition(PODS_INJECTED, "True", INTERCEPTION_NOT_ENFORCED, pod.weak)
    return Condition(PODS_INJECTED, "True", INJECTED, f"all {len(pods)} pods carry the sidecars" if pods[1:] else _ONE)


_ONE: Final = "the pod carries the sidecars"


def _of(pods: Sequence[Named], *states: State) -> list[Named]:
    return [found for found in pods if found[1].state in states]


def _share(pods: Sequence[Named], *states: State) -> str:
    """Returns how many of the pods are in one of these states, and which."""
    found = _of(pods, *states)
    return f"{len(found)} of {len(pods)} pods ({_listed({name for name, _ in found})})"


def _listed(names: Collection[str]) -> str:
    """Returns the first few; a status is read by people, and the count is said beside it."""
    first = sorted(names)[:_MOST_NAMES]
    return ", ".join([*first, *(["…"] if len(names) > _MOST_NAMES else [])])


def _false(reason: str, message: str) -> Condition:
    return Condition(PODS_INJECTED, "False", reason, message)
