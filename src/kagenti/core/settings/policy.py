"""Mandatory injection: which namespaces, declared by whom, and who is exempt. The stricter of two layers wins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kagenti.core.settings.model import JSON, Exemption, Layer, NamespaceRule, Source
from kagenti.core.workload import WorkloadRef

MANDATORY_LOCKS: Final = (
    "injection.enabled",
    "injection.types",
    "components.proxyInit.enabled",
    "components.spiffeHelper.enabled",
    "components.clientRegistration.enabled",
    "components.envoyProxy.enabled",
    "identity.enabled",
    "identity.inbound.enabled",
    "identity.inbound.excludePorts",
    "identity.outbound.trafficInterception.excludePorts",
)
"""What Mandatory locks at the layer that declares it (spec 01)."""


@dataclass(frozen=True, slots=True)
class NamespacePolicy:
    """The injection policy of one namespace; ``declared_by`` is the highest layer that says Mandatory."""

    mandatory: bool = False
    declared_by: Source | None = None
    exempt: tuple[Exemption, ...] = ()

    def is_exempt(self, owner: WorkloadRef, service_account: str) -> bool:
        """Whether the cluster layer exempts that top owner or service account."""
        return any(_matches(entry, owner, service_account) for entry in self.exempt)


OPTIONAL: Final = NamespacePolicy()


def namespace_policy(
    cluster: Layer | None, namespace: Layer | None, *, name: str, labels: Mapping[str, str]
) -> NamespacePolicy:
    """Returns the policy of the namespace of that name and labels; exemptions come from the cluster layer alone."""
    rules = [rule for rule in cluster.namespaces if covers(rule, name, labels)] if cluster else []
    exempt = tuple(entry for rule in rules for entry in rule.exempt)
    if cluster is not None and any(rule.mandatory for rule in rules):
        return NamespacePolicy(mandatory=True, declared_by=cluster.source, exempt=exempt)
    if namespace is not None and namespace.mandatory:
        return NamespacePolicy(mandatory=True, declared_by=namespace.source, exempt=exempt)
    return NamespacePolicy(exempt=exempt) if exempt else OPTIONAL


def covers(rule: NamespaceRule, name: str, labels: Mapping[str, str]) -> bool:
    """Whether a rule of the cluster is about the namespace of that name and labels."""
    if rule.names:
        return name in rule.names
    return rule.selector is not None and selects(rule.selector, labels)


def _matches(entry: Exemption, owner: WorkloadRef, service_account: str) -> bool:
    if entry.service_account:
        return entry.service_account == service_account
    return (entry.group, entry.kind, entry.name) == (owner.group, owner.kind, owner.name)


def selects(selector: Mapping[str, JSON], labels: Mapping[str, str]) -> bool:
    """Whether a metav1.LabelSelector selects these labels (Kubernetes: all requirements must hold)."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    return all(_holds(requirement, labels) for requirement in selector.get("matchExpressions") or ())


def _holds(requirement: Mapping[str, JSON], labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.get("key", ""))
    values = requirement.get("values") or ()
    match requirement.get("operator"):
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return False
