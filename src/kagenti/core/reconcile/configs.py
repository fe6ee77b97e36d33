"""The two config kinds: validity, whether their policy is enforced, whom they reach, and the revision in force.

Their conditions come from the checks of the validating webhook: parsing, ``validation.overreach``, the merge's own errors,
``Desk.unenforced``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kagenti.core import settings, validation
from kagenti.core.admission.desk import Desk
from kagenti.core.layers import Read, Stored
from kagenti.core.reconcile.conditions import Condition
from kagenti.core.reconcile.facts import Tools, Usage
from kagenti.core.reconcile.plan import Plan, planned
from kagenti.core.settings.model import Layer, LayerName
from kagenti_api.v1alpha1.agentruntime import CONFIG_INVALID
from kagenti_api.v1alpha1.configs import (
    ENFORCED,
    NOT_MANDATORY,
    POLICY_ENFORCED,
    VALID,
)

JSON = Any  # a status


@dataclass(frozen=True, slots=True)
class ConfigFacts:
    """Everything that the status of one config follows from, besides what the desk knows of other objects."""

    layer: LayerName
    stored: Stored
    generation: int
    status: Mapping[str, JSON]
    usage: Usage


def plan_config(facts: ConfigFacts, desk: Desk, tools: Tools) -> Plan:
    """Returns what follows for one config."""
    read = tools.layers.read(facts.layer, facts.stored)
    concluded = [_policy_enforced(read, desk), _valid(facts, read, desk)]
    revision = settings.short(settings.digest(dict(read.layer.values))) if read.layer is not None else None
    wanted = {"revision": revision, "namespaces": facts.usage.namespaces, "workloads": facts.usage.workloads}
    plan = planned(wanted, concluded, observed=facts.status, generation=facts.generation, now=tools.time)
    # Not counted here: enough to tell whether anybody could have acknowledged anything.
    return replace(plan, proxies=facts.usage.workloads)


def _valid(facts: ConfigFacts, read: Read, desk: Desk) -> Condition:
    if read.fault is not None:
        kept = f"; its last valid version {read.layer.source.resource_version} is in force" if read.layer else ""
        return Condition(VALID, "False", CONFIG_INVALID, f"{read.fault.message}{kept}")
    if read.layer is None:
        return Condition(VALID, "False", CONFIG_INVALID, "it cannot be read")
    namespaced = facts.layer == "namespace"
    resolved = desk.resolve(
        facts.stored.namespace,
        cluster=desk.cluster() if namespaced else read.layer,
        config=read.layer if namespaced else None,
        runtime=None,
    )
    over = validation.overreach(read.layer.source, resolved)
    if over:
        return Condition(VALID, "False", over[0].reason, f"without effect: {validation.sentences(over)}")
    if resolved.errors:
        told = f"triggered pods will be denied: {validation.sentences(resolved.errors)}"
        return Condition(VALID, "False", CONFIG_INVALID, told)
    notes = (*validation.notes(read.layer.source, resolved), *validation.exporters(read.layer))
    return Condition(VALID, "True", VALID, validation.sentences(notes) or "every value is in effect")


def _policy_enforced(read: Read, desk: Desk) -> Condition:
    layer: Layer | None = read.layer
    if layer is None:
        return Condition(POLICY_ENFORCED, "Unknown", CONFIG_INVALID, "its policy cannot be read")
    for fault in desk.unenforced(layer):
        return Condition(POLICY_ENFORCED, "False", fault.reason, fault.message)
    if layer.mandatory or any(rule.mandatory for rule in layer.namespaces):
        idle = "".join(f"; {found.message}" for found in desk.idle_rules(layer))
        return Condition(
            POLICY_ENFORCED, "True", ENFORCED, f"every pod that Mandatory is about passes the webhook{idle}"
        )
    return Condition(POLICY_ENFORCED, "True", NOT_MANDATORY, "it declares no Mandatory injection")
