"""The merge engine: cluster → namespace → workload over the built-in layer, with origin, authority, locks, revisions."""

from kagenti.core.settings.consistency import covers_path, inside
from kagenti.core.settings.difference import Change, changes
from kagenti.core.settings.identity import WorkloadValues, per_pod, values_for
from kagenti.core.settings.identity_provider import CONFIG_INVALID
from kagenti.core.settings.layer import BUILT_IN_LAYER, parse_layer, well_formed
from kagenti.core.settings.merge import LOCK_VIOLATION, UNAUTHORISED
from kagenti.core.settings.model import (
    Exemption,
    Finding,
    Layer,
    NamespaceRule,
    Origin,
    ResolvedSettings,
    Source,
    under,
)
from kagenti.core.settings.policy import MANDATORY_LOCKS, OPTIONAL, NamespacePolicy, namespace_policy, selects
from kagenti.core.settings.resolver import KnownNamespaces, Resolver, resolve
from kagenti.core.settings.revision import canonical, digest, effective_class, live_part, restart_part, short

__all__ = [
    "BUILT_IN_LAYER",
    "CONFIG_INVALID",
    "LOCK_VIOLATION",
    "MANDATORY_LOCKS",
    "OPTIONAL",
    "UNAUTHORISED",
    "Change",
    "Exemption",
    "Finding",
    "KnownNamespaces",
    "Layer",
    "NamespacePolicy",
    "NamespaceRule",
    "Origin",
    "ResolvedSettings",
    "Resolver",
    "Source",
    "WorkloadValues",
    "canonical",
    "changes",
    "covers_path",
    "digest",
    "effective_class",
    "inside",
    "live_part",
    "namespace_policy",
    "parse_layer",
    "per_pod",
    "resolve",
    "restart_part",
    "selects",
    "short",
    "under",
    "values_for",
    "well_formed",
]
