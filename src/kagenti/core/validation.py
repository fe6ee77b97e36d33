"""Named checks across objects: what one object of ours means for others, as findings.

Shared by the validating webhook, which turns them into denials and warnings, and by reconcile, which turns them into
conditions. What a single object can show by itself is in ``core.selfchecks`` and in the CRDs' CEL rules.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from kagenti.core.settings.federated import by_service_account
from kagenti.core.settings.identity import per_pod
from kagenti.core.settings.model import Finding, Layer, ResolvedSettings, Source
from kagenti.core.settings.policy import covers
from kagenti.core.workload import WorkloadRef

CONFLICT: Final = "Conflict"
CONFIG_INVALID: Final = "ConfigInvalid"
NOT_TOP_OWNER: Final = "NotTopOwner"
UNSUPPORTED_TARGET: Final = "UnsupportedTarget"
SENT_AS_OTLP: Final = "SentAsOtlp"
EXPORTER_IGNORED: Final = "ExporterIgnored"
SHARED_IDENTITY: Final = "SharedIdentity"
NO_SUCH_NAMESPACE: Final = "NoSuchNamespace"
OVERREACH: Final = ("LockViolation", "Unauthorised")
"""Reason codes of values that a layer may not set (``core.settings``)."""

_NAMED: Final = 3  # other workloads that a message names
_NO_TEMPLATE: Final = frozenset(
    {("", "Secret"), ("", "ConfigMap"), ("", "Service"), ("", "ServiceAccount"), ("", "Namespace"), ("", "Node")}
)


def duplicate_target(candidate: Source, target: WorkloadRef, others: Iterable[Source]) -> tuple[Finding, ...]:
    """Returns a finding where another AgentRuntime has the same target (spec 02: the oldest is in force).

    Args:
        candidate: The AgentRuntime being written.
        target: Its target.
        others: The AgentRuntimes known for that target, the candidate possibly among them.
    """
    mine = (candidate.namespace, candidate.name)
    rivals = sorted((other for other in others if (other.namespace, other.name) != mine), key=lambda other: other.name)
    if not rivals:
        return ()
    names = ", ".join(map(str, rivals))
    message = f"{target} is already the target of {names}; change that one, or delete it first"
    return (Finding(CONFLICT, message, "spec.targetRef", (str(candidate), *map(str, rivals))),)


def overreach(candidate: Source, settings: ResolvedSettings) -> tuple[Finding, ...]:
    """Returns the findings of a merge that are about values the candidate may not set: locks and authority."""
    name = str(candidate)
    return tuple(found for found in settings.findings if found.reason in OVERREACH and found.objects[:1] == (name,))


def notes(candidate: Source, settings: ResolvedSettings) -> tuple[Finding, ...]:
    """Returns the other findings of a merge that name the candidate: remarks that change nothing."""
    name = str(candidate)
    found = (*settings.findings, *per_pod(settings))
    return tuple(one for one in found if one.reason not in OVERREACH and name in one.objects)


def exporters(layer: Layer) -> tuple[Finding, ...]:
    """Returns what the author of a layer should know of its trace exporters (spec 04): nothing is refused for it."""
    listed = layer.values.get("trace.exporters") or ()
    name = str(layer.source)
    found = [
        Finding(
            SENT_AS_OTLP,
            f"trace.exporters: jaeger at {exporter['endpoint']!r} is sent as OTLP; name the collector's OTLP port (4317)",
            "trace.exporters",
            (name,),
        )
        for exporter in listed
        if exporter["type"] == "jaeger"
    ]
    if len(listed) > 1:
        message = f"trace.exporters: 1 of {len(listed)} is in effect, the first otlp one; the others are ignored"
        found.append(Finding(EXPORTER_IGNORED, message, "trace.exporters", (name,)))
    return tuple(found)


def idle_rules(config: Layer, namespaces: Mapping[str, Mapping[str, str]]) -> tuple[Finding, ...]:
    """Returns which rules of ``policy.namespaces`` are about no namespace: declared ahead of it, or misspelt.

    Args:
        config: The cluster's layer.
        namespaces: The labels of every namespace, by name.
    """
    found = []
    for index, rule in enumerate(config.namespaces):
        path, missing = f"policy.namespaces[{index}]", sorted(rule.names - namespaces.keys())
        if missing:
            named = ", ".join(f"{name!r}" for name in missing[:_NAMED]) + (", …" if missing[_NAMED:] else "")
            what = f"{path}.names: no namespace is named {named}"
        elif not any(covers(rule, name, labels) for name, labels in namespaces.items()):
            what = f"{path}.selector selects no namespace"
        else:
            continue
        message = f"{what}; the rule holds as soon as there is one, if it is not misspelt"
        found.append(Finding(NO_SUCH_NAMESPACE, message, f"spec.{path}", (str(config.source),)))
    return tuple(found)


def shared_identity(
    service_account: str, settings: ResolvedSettings, *, what: str, others: Sequence[str] = ()
) -> tuple[Finding, ...]:
    """Returns the note that a workload shares its client with others of its service account (spec 01).

    Args:
        service_account: Of the workload's pods.
        settings: The settings in force.
        what: The workload, for people.
        others: Other injected workloads under that account, where they are known; ``default`` is taken for shared.
    """
    shared = _shared_by_account(settings)
    if not shared or not (others or service_account == "default"):
        return ()
    beside = f", like {', '.join(others[:_NAMED])}{', …' if others[_NAMED:] else ''}" if others else ""
    message = (
        f"{what} runs as service account {service_account!r}{beside}: {shared}; give it a serviceAccountName of its own"
    )
    return (Finding(SHARED_IDENTITY, message, "spec.serviceAccountName", tuple(others)),)


def _shared_by_account(settings: ResolvedSettings) -> str:
    """Returns what the workloads of one service account have in common; empty where the account names nothing."""
    if not settings.flag("identity.enabled"):
        return ""
    if settings.flag("identity.spiffe.enabled"):
        return "workloads of one service account share a SPIFFE id and a client"
    if by_service_account(settings.values):
        return "workloads of one service account have one token subject, and Keycloak refuses both of two such clients"
    return ""


def added(new: Iterable[Finding], old: Iterable[Finding]) -> tuple[Finding, ...]:
    """Returns the findings that an update adds: what stood there before is not the update's fault."""
    before = {(found.reason, found.path) for found in old}
    return tuple(found for found in new if (found.reason, found.path) not in before)


def newly_broken(
    runtimes: Iterable[Source],
    *,
    before: Callable[[Source], ResolvedSettings | None],
    after: Callable[[Source], ResolvedSettings | None],
    limit: int,
) -> tuple[tuple[Source, Finding], ...]:
    """Returns the AgentRuntimes whose result a change would make inconsistent, each with its first fault.

    Args:
        runtimes: The AgentRuntimes below the changed config.
        before: Settings as they are; None where they cannot be had, then nothing is said of that one.
        after: Settings as they would be; None likewise.
        limit: How many AgentRuntimes are looked at: a merge takes about 0.1 ms, and the webhook has seconds.
    """
    broken = []
    for runtime in itertools.islice(runtimes, limit):
        resolved = after(runtime)
        if resolved is None or not resolved.errors:
            continue
        present = before(runtime)
        if present is not None and not present.errors:
            broken.append((runtime, resolved.errors[0]))
    return tuple(broken)


def target_kind(target: WorkloadRef, *, owned_by: WorkloadRef | None = None) -> tuple[Finding, ...]:
    """Returns what is wrong with a target: a kind that has no pods, or one in the middle of its owner chain.

    Args:
        target: What targetRef names.
        owned_by: The controller of the object that it names, where it exists and has one.
    """
    if (target.group, target.kind) in _NO_TEMPLATE:
        message = f"{target} has no pods; name a workload, for example a Deployment"
        return (Finding(UNSUPPORTED_TARGET, message, "spec.targetRef.kind"),)
    if owned_by is None or target.kind not in ("ReplicaSet", "Job", "Pod"):
        return ()
    message = f"{target} belongs to {owned_by}: name that one, the top of the owner chain"
    return (Finding(NOT_TOP_OWNER, message, "spec.targetRef", (str(target), str(owned_by))),)


def sentences(findings: Sequence[Finding]) -> str:
    """Returns findings as one line for people."""
    return "; ".join(found.message for found in findings)
