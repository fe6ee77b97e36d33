"""What one object of ours can say about itself: one named check for each CEL rule of the CRDs, in the same words.

The API server evaluates CEL; files, and whoever has no API server at hand, call these.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from kagenti.core.settings.model import Finding
from kagenti_api.v1alpha1.agentruntime import AgentRuntimeSpec
from kagenti_api.v1alpha1.configs import ONE_NAME, Exemption, NamespacePolicyEntry
from kagenti_api.v1alpha1.settings import TokenExchange

JSON = Any  # a raw manifest, or a part of it

INVALID: Final = "Invalid"
_RULES: Final = "spec.identity.outbound.tokenExchange"
_NO_WORKLOAD_REF, _NO_CARD, _HAS_TARGET, _ = AgentRuntimeSpec.RULES


def check_object(manifest: Mapping[str, JSON]) -> tuple[Finding, ...]:
    """Returns what is wrong with one raw manifest of our kinds; nothing for other kinds and for shapes a schema refuses."""
    checks = CHECKS.get(str(manifest.get("kind", "")), ())
    return tuple(finding for check in checks for finding in check(manifest))


def target_is_named(manifest: Mapping[str, JSON]) -> Iterator[Finding]:
    """AgentRuntime: no workloadRef, no card, a targetRef; in this order, so that the hint is reached."""
    spec = _object(manifest.get("spec"))
    if "workloadRef" in spec:
        yield Finding(INVALID, _NO_WORKLOAD_REF.message, "spec.workloadRef")
    elif "card" in spec:
        yield Finding(INVALID, _NO_CARD.message, "spec.card")
    elif "targetRef" not in spec:
        yield Finding(INVALID, _HAS_TARGET.message, "spec")


def rules_are_unique(manifest: Mapping[str, JSON]) -> Iterator[Finding]:
    """DestinationRules are unique by (match.host, match.port)."""
    node: JSON = manifest
    for key in (*_RULES.split("."), "destinationRules"):
        node = _object(node).get(key)
    seen = set()
    for rule in node if isinstance(node, list) else ():
        match = _object(_object(rule).get("match"))
        identity = (str(match.get("host")), match.get("port"))
        if identity in seen:
            yield Finding(INVALID, TokenExchange.RULES[0].message, f"{_RULES}.destinationRules")
            return
        seen.add(identity)


def name_is_default(manifest: Mapping[str, JSON]) -> Iterator[Finding]:
    """Config kinds: there is one object in its scope."""
    if _object(manifest.get("metadata")).get("name") != "default":
        yield Finding(INVALID, ONE_NAME.message, "metadata.name")


def entries_choose(manifest: Mapping[str, JSON]) -> Iterator[Finding]:
    """AgentRuntimeClusterConfig: an entry has names or selector; an exemption names an owner or a service account."""
    policy = _object(_object(manifest.get("spec")).get("policy"))
    entries = policy.get("namespaces")
    for index, raw in enumerate(entries if isinstance(entries, list) else ()):
        entry, place = _object(raw), f"spec.policy.namespaces[{index}]"
        if ("names" in entry) == ("selector" in entry):
            yield Finding(INVALID, NamespacePolicyEntry.RULES[0].message, place)
        exempt = entry.get("exempt")
        for number, one in enumerate(exempt if isinstance(exempt, list) else ()):
            item = _object(one)
            owner = all(key in item for key in ("apiVersion", "kind", "name"))
            if ("serviceAccount" in item) == owner:
                yield Finding(INVALID, Exemption.RULES[0].message, f"{place}.exempt[{number}]")


def _object(value: JSON) -> Mapping[str, JSON]:
    return value if isinstance(value, Mapping) else {}


Check = Callable[[Mapping[str, JSON]], Iterator[Finding]]
CHECKS: Final[Mapping[str, tuple[Check, ...]]] = {
    "AgentRuntime": (target_is_named, rules_are_unique),
    "AgentRuntimeClusterConfig": (name_is_default, rules_are_unique, entries_choose),
    "AgentRuntimeConfig": (name_is_default, rules_are_unique),
}
"""The checks of each kind."""
