"""AgentRuntime: facts → status. Every condition is concluded by its own module; this one puts them together."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from kagenti.core import layers as gathering
from kagenti.core import propagation, settings, validation
from kagenti.core.layers import Sources
from kagenti.core.reconcile.conditions import Condition
from kagenti.core.reconcile.facts import Pod, RuntimeFacts, Surroundings, Tools
from kagenti.core.reconcile.identity import identity_ready, identity_status
from kagenti.core.reconcile.injected import pods_injected
from kagenti.core.reconcile.judge import Judged, judge
from kagenti.core.reconcile.plan import Plan, planned
from kagenti.core.reconcile.summary import phase_of, ready
from kagenti.core.reconcile.target import target_resolved
from kagenti.core.reconcile.verdicts import Given
from kagenti.core.settings.exporter import EXPORTERS, in_effect
from kagenti.core.settings.model import ResolvedSettings, Source
from kagenti.core.trigger import OwnerProof
from kagenti.core.workload import Subject, WorkloadRef
from kagenti_api.v1alpha1 import wellknown
from kagenti_api.v1alpha1.agentruntime import (
    CONFIG_INVALID,
    CONFIG_PROPAGATED,
    CONFIG_RESOLVED,
    RESOLVED,
)

JSON = Any  # a status, or a part of one

_NO_LABELS: Final[Mapping[str, str]] = {}
_MOST_FIELDS: Final = 128  # the CRD's bound of restartFields


def plan_runtime(facts: RuntimeFacts, tools: Tools) -> Plan:
    """Returns what follows for one AgentRuntime."""
    me = gathering.source_of("workload", facts.stored)
    winner = gathering.source_of("workload", gathering.pick_runtime(facts.rivals) or facts.stored)
    if winner != me:  # the pods are the winner's, and counted there
        facts = dataclasses.replace(facts, pods=())
    case = _case(facts, tools)
    concluded = [
        target_resolved(
            facts.stored.target,
            facts.target,
            me=me,
            rivals=[gathering.source_of("workload", rival) for rival in facts.rivals],
            winner=winner,
        ),
        _config_resolved(me, case),
        pods_injected(
            [(pod.name, case.judged[pod.uid]) for pod in facts.pods if pod.uid in case.judged],
            target=facts.target,
            namespace=facts.stored.namespace,
            coverage=facts.around.coverage,
            context=tools.context,
            rollout=facts.rollout,
        ),
    ]
    concluded += [identity_ready(case.resolved, case.injected)] if case.resolved else []
    propagated = _propagated(case)
    summary = ready([*concluded[:3], *propagated, *concluded[3:]])
    plan = planned(
        {"phase": phase_of(summary), "message": summary.message, **_status(case)},
        [*concluded, summary],
        observed=facts.status,
        generation=facts.generation,
        now=tools.time,
    )
    return dataclasses.replace(
        plan,
        judged=case.judged,
        proxies=case.proxies,
        revision=settings.short(case.resolved.live_revision) if case.resolved else "",
        acknowledged=any(found.status == "True" for found in propagated),
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """One AgentRuntime with what was found out about it; ``resolved`` None where a layer is unreadable."""

    facts: RuntimeFacts
    sources: Sources
    resolved: ResolvedSettings | None
    judged: Mapping[str, Judged]

    @property
    def injected(self) -> list[Pod]:
        """The pods that carry our sidecars."""
        return [pod for pod in self.facts.pods if self.judged[pod.uid].injected]

    @property
    def proxies(self) -> int:
        """Proxies that ought to have a stream."""
        return sum(1 for pod in self.injected if pod.running and wellknown.ENVOY_PROXY in pod.sidecars)


def _case(facts: RuntimeFacts, tools: Tools) -> _Case:
    around, layers = facts.around, tools.layers
    sources = layers.gather(cluster=around.cluster, namespace=around.namespace, runtimes=(facts.stored,))
    resolved = _resolve(facts, sources, tools)
    judged = judged_pods(
        facts.stored.target,
        facts.pods,
        sources=sources,
        around=around,
        tools=tools,
        resolved=resolved,
        proof=facts.proof,
        own_labels=facts.target.own_labels,
    )
    return _Case(facts, sources, resolved, judged)


def judged_pods(
    owner: WorkloadRef | None,
    pods: Sequence[Pod],
    *,
    sources: Sources,
    around: Surroundings,
    tools: Tools,
    resolved: ResolvedSettings | None = None,
    proof: OwnerProof | None = None,
    own_labels: Mapping[str, str] = _NO_LABELS,
) -> Mapping[str, Judged]:
    """Returns what each pod of a workload is, by uid; nothing for an AgentRuntime whose target cannot be read.

    Args:
        owner: The workload.
        pods: Its pods.
        sources: The layers in force.
        around: Its namespace.
        tools: What every plan needs.
        resolved: The settings that these layers give; None where they have not been asked for.
        proof: What was found of the owner where an exemption hangs on it.
        own_labels: Labels of ours on the workload's own metadata; they count with target workloads.
    """
    if owner is None:
        return {}
    labels = tuple(sorted(around.namespace_labels.items()))
    own = own_labels if tools.context.by_workload else _NO_LABELS
    rest = (owner, labels, around.coverage, proof, tools.context.installation, tuple(sorted(own.items())))
    given = Given(sources, resolved, rest)
    found = {}
    for pod in pods:
        look = functools.partial(_judge, pod, owner, own, sources, around, tools, proof)
        found[pod.uid] = tools.verdicts.of(pod.uid, pod.packed, given, look)
    return found


def _judge(
    pod: Pod,
    owner: WorkloadRef,
    own_labels: Mapping[str, str],
    sources: Sources,
    around: Surroundings,
    tools: Tools,
    proof: OwnerProof | None,
    sound: bool,  # noqa: FBT001  # what Verdicts tells has no name
) -> Judged:
    return judge(
        Subject(owner, pod.manifest(), labels_of_workload=own_labels),
        sources=sources,
        context=tools.context,
        namespace_labels=around.namespace_labels,
        coverage=around.coverage,
        now=tools.now,
        proof=proof,
        sound=sound,
    )


def _resolve(facts: RuntimeFacts, sources: Sources, tools: Tools) -> ResolvedSettings | None:
    """Returns what the next pod would get; an exempt one is bound by no Mandatory policy (spec 03)."""
    if sources.unreadable:
        return None
    namespace, target = facts.stored.namespace, facts.stored.target
    policy = settings.namespace_policy(
        sources.cluster, sources.namespace, name=namespace, labels=facts.around.namespace_labels
    )
    if target is not None and policy.mandatory and policy.exempt:
        account = next((Subject(target, pod.manifest()).service_account for pod in facts.pods), "default")
        nobody = WorkloadRef("", "", namespace, "")
        proved = facts.proof in (None, "holds") or policy.is_exempt(nobody, account)
        policy = settings.OPTIONAL if policy.is_exempt(target, account) and proved else policy
    return tools.context.resolver.resolve(sources.cluster, sources.namespace, sources.runtime, policy=policy)


def _config_resolved(me: Source, case: _Case) -> Condition:
    """From the same checks as the validating webhook: unreadable layers, contradictions, values without effect."""
    resolved = case.resolved
    faults = case.sources.unreadable or (resolved.errors if resolved else ())
    if faults:
        return Condition(CONFIG_RESOLVED, "False", CONFIG_INVALID, validation.sentences(faults))
    kept = [note for note in case.sources.notes if note.reason == CONFIG_INVALID]
    if kept:
        return Condition(CONFIG_RESOLVED, "False", CONFIG_INVALID, validation.sentences(kept))
    over = validation.overreach(me, resolved) if resolved else ()
    if over:
        return Condition(CONFIG_RESOLVED, "False", over[0].reason, validation.sentences(over))
    return Condition(CONFIG_RESOLVED, "True", RESOLVED, "the layers agree")


def _propagated(case: _Case) -> list[Condition]:
    """Returns what the replicas' entries say of the revision in force, for the summary; the condition is theirs."""
    if not case.proxies or case.resolved is None:
        return []
    entries = [found for found in case.facts.status.get("propagation") or () if isinstance(found, Mapping)]
    revision = settings.short(case.resolved.live_revision)
    found = propagation.conclude(entries, proxies=case.proxies, revision=revision)
    return [Condition(CONFIG_PROPAGATED, found.status, found.reason, found.message)]


def _status(case: _Case) -> JSON:
    """Returns the status without conditions, phase and message."""
    judged = tuple(case.judged.values())
    counts = Counter(pod.state for pod in judged)
    pods = {
        "total": len(judged),
        "injected": sum(pod.injected for pod in judged),
        **{state: counts[state] for state in ("current", "stale", "bare", "optedOut", "foreign", "tampered")},
    }
    if case.resolved is None:
        return {"pods": pods, "configuredPods": pods["current"]}
    return {
        "pods": pods,
        "configuredPods": pods["current"],
        "identity": identity_status(case.resolved, case.injected),
        "trace": _trace(case.resolved),
        "config": _config(case.resolved, judged),
    }


def _trace(resolved: ResolvedSettings) -> JSON:
    found: dict[str, JSON] = {"exportersConfigured": 1 if in_effect(resolved.items(EXPORTERS)) else 0}
    rate = resolved.get("trace.sampling.rate")
    return found | ({"samplingRate": rate} if rate is not None else {})


def _config(resolved: ResolvedSettings, judged: Sequence[Judged]) -> JSON:
    live, restart = resolved.live_revision, resolved.restart_revision
    fields = sorted({field for pod in judged for field in pod.fields})
    return {
        "revision": settings.short(settings.digest([live, restart])),
        "liveRevision": settings.short(live),
        "restartRevision": settings.short(restart),
        "restartFields": fields[:_MOST_FIELDS],
    }


def status_of(raw: bytes) -> Mapping[str, JSON]:
    """Returns a status as a cache holds it, decoded; empty where it is no object."""
    found = orjson.loads(raw) if raw else {}
    return found if isinstance(found, dict) else {}
