"""PodsInjected: whether every pod of the workload carries the sidecars that it should, and what is wrong where one does not."""

from collections.abc import Iterable, Sequence
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

_REPLACE: Final = "replace them: restart the workload"


def pods_injected(
    judged: Sequence[Judged], *, target: Target, namespace: str, coverage: Coverage, context: Context, rollout: Rollout
) -> Condition:
    """Returns the condition, from the most to the least serious of what is wrong.

    Args:
        judged: What was found of each pod.
        target: The workload; decides where no pod speaks for it.
        namespace: Its namespace.
        coverage: How the webhook's entries cover that namespace.
        context: What is the same for every evaluation.
        rollout: What was undertaken for bare and stale pods.
    """
    if not judged:
        return _no_pods(target, namespace, coverage, context)
    total = len(judged)
    for pod in _of(judged, "tampered"):
        return _false(TAMPERED_PODS, f"{_count(judged, 'tampered')} of {total} pods: {pod.message}; {_REPLACE}")
    for pod in _of(judged, "foreign"):
        return _false(FOREIGN_SIDECARS, f"{_count(judged, 'foreign')} of {total} pods: {pod.message}")
    for pod in (pod for pod in judged if not pod.called and not pod.injected):
        return _false(pod.reason, pod.message)
    if _count(judged, "bare"):
        return _bare(judged, rollout.bare)
    for pod in (pod for pod in judged if pod.state in ("optedOut", "left")):
        return _false(pod.reason, f"{sum(not each.injected for each in judged)} of {total} pods: {pod.message}")
    return _all_injected(judged, rollout.stale)


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


def _bare(judged: Sequence[Judged], undertaken: Undertaken | None) -> Condition:
    count = f"{_count(judged, 'bare')} of {len(judged)} pods have no sidecars"
    if undertaken is not None:
        return _false(undertaken.reason, _said(count, undertaken))
    withheld = next((pod.withheld for pod in judged if pod.withheld), "")
    if withheld:
        return _false(EVICTION_WITHHELD, f"{count} and are left alone: {withheld}")
    return _false(BARE_PODS, f"{count}; their replacements will have them")


def _said(count: str, undertaken: Undertaken) -> str:
    """Returns what people read; what was given up is read back by the next leader, so that it stands as it was said."""
    return undertaken.message if undertaken.reason in GIVEN_UP else f"{count}: {undertaken.message}"


def _all_injected(judged: Sequence[Judged], undertaken: Undertaken | None) -> Condition:
    total, stale = len(judged), _of(judged, "stale")
    if stale:
        fields = sorted({field for pod in stale for field in pod.fields})
        named = f" ({', '.join(fields[:5])}{', …' if len(fields) > 5 else ''})" if fields else ""
        count = f"{len(stale)} of {total} pods have older restart settings{named}"
        if undertaken is not None:
            return Condition(PODS_INJECTED, "True", undertaken.reason, _said(count, undertaken))
        return Condition(PODS_INJECTED, "True", STALE_PODS, count)
    for pod in (pod for pod in judged if pod.weak):
        return Condition(PODS_INJECTED, "True", INTERCEPTION_NOT_ENFORCED, pod.weak)
    return Condition(PODS_INJECTED, "True", INJECTED, f"all {total} pods carry the sidecars" if total > 1 else _ONE)


_ONE: Final = "the pod carries the sidecars"


def _of(judged: Iterable[Judged], state: State) -> list[Judged]:
    return [pod for pod in judged if pod.state == state]


def _count(judged: Iterable[Judged], state: State) -> int:
    return len(_of(judged, state))


def _false(reason: str, message: str) -> Condition:
    return Condition(PODS_INJECTED, "False", reason, message)
