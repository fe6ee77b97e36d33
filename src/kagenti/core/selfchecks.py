"""What one object of ours can say about itself: one named check for each CEL rule of the CRDs, in the same words.

The API server evaluates CEL; files, and whoever has no API server at hand, call these.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from kagenti.core.settings.model import Finding
from kagenti_api.v1alpha1.agentcard import AgentCardSpec
from kagenti_api.v1alpha1.agentruntime import AgentRuntimeSpec
from kagenti_api.v1alpha1.configs import ONE_NAME, Exemption, NamespacePolicyEntry
from kagenti_api.v1alpha1.identity import DestinationRule, TokenExchange
from kagenti_api.v1alpha1.meta import LabelSelector, Requirement
from kagenti_api.v1alpha1.trace import Trace

JSON = Any  # a raw manifest, or a part of it

INVALID: Final = "Invalid"
_RULES: Final = "spec.identity.outbound.tokenExchange.destinationRules"
_LONGEST_LABEL_KEY: Final = 317  # a DNS name, a slash and 63 characters
_LONGEST_ATTRIBUTE_KEY: Final = 253
_SHORTEST: Final = 5  # seconds
_LONGEST: Final = 24 * 3600
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS: Final = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
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
    seen = set()
    for rule in _destination_rules(manifest):
        match = _object(rule.get("match"))
        identity = (str(match.get("host")), match.get("port"))
        if identity in seen:
            yield Finding(INVALID, TokenExchange.RULES[0].message, _RULES)
            return
        seen.add(identity)


def exchange_has_target(manifest: Mapping[str, JSON]) -> Iterator[Finding]:
    """A destination rule that exchanges tokens says for which audience; rules of layers replace one another whole."""
    for index, rule in enumerate(_destination_rules(manifest)):
        if rule.get("action", "Exchange") == "Exchange" and "target" not in rule:
            yield Finding(INVALID, DestinationRule.RULES[0].message, f"{_RULES}[{index}].target")


def _destination_rules(manifest: Mapping[str, JSON]) -> list[Mapping[str, JSON]]:
    node: JSON = manifest
    for key in _RULES.split("."):
        node = _object(node).get(key)
    return [_object(rule) for rule in node] if isinstance(node, list) else []


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
        yield from _selector_can_match(entry.get("selector"), f"{place}.selector")
        exempt = entry.get("exempt")
        for number, one in enumerate(exempt if isinstance(exempt, list) else ()):
            item = _object(one)
            owner = [key in item for key in ("apiVersion", "kind", "name")]
            if any(owner) if "serviceAccount" in item else not all(owner):
                yield Finding(INVALID, Exemption.RULES[0].message, f"{place}.exempt[{number}]")


def selector_can_match(manifest: Mapping[str, JSON]) -> Iterator[Finding]:
    """AgentCard: operators with the values that they need, keys of a length that a label can have."""
    yield from _selector_can_match(_object(manifest.get("spec")).get("selector"), "spec.selector")


def _selector_can_match(selector: JSON, place: str) -> Iterator[Finding]:
    if any(not 0 < len(str(key)) <= _LONGEST_LABEL_KEY for key in _object(_object(selector).get("matchLabels"))):
        yield Finding(INVALID, LabelSelector.RULES[0].message, f"{place}.matchLabels")
    expressions = _object(selector).get("matchExpressions")
    for index, one in enumerate(expressions if isinstance(expressions, list) else ()):
        wants = _object(one).get("operator") in ("In", "NotIn")
        if wants != bool(_object(one).get("values")):
            yield Finding(INVALID, Requirement.RULES[0].message, f"{place}.matchExpressions[{index}]")


def attribute_keys_are_short(manifest: Mapping[str, JSON]) -> Iterator[Finding]:
    """Layered kinds: keys of trace.resourceAttributes, which a schema cannot bound."""
    attributes = _object(_object(_object(manifest.get("spec")).get("trace")).get("resourceAttributes"))
    if any(not 0 < len(str(key)) <= _LONGEST_ATTRIBUTE_KEY for key in attributes):
        yield Finding(INVALID, Trace.RULES[0].message, "spec.trace.resourceAttributes")


def sync_period_is_bounded(manifest: Mapping[str, JSON]) -> Iterator[Finding]:
    """AgentCard: no storm of requests, no card that is never fetched again."""
    period = _object(manifest.get("spec")).get("syncPeriod")
    if isinstance(period, str) and not _SHORTEST <= seconds(period) <= _LONGEST:
        yield Finding(INVALID, AgentCardSpec.RULES[0].message, "spec.syncPeriod")


def seconds(duration: str) -> Decimal:
    """Returns a Go-style duration in seconds."""
    return sum((Decimal(number) * _SECONDS[unit] for number, unit in _PART.findall(duration)), Decimal(0))


def _object(value: JSON) -> Mapping[str, JSON]:
    return value if isinstance(value, Mapping) else {}


Check = Callable[[Mapping[str, JSON]], Iterator[Finding]]
_LAYERED: Final[tuple[Check, ...]] = (rules_are_unique, exchange_has_target, attribute_keys_are_short)
CHECKS: Final[Mapping[str, tuple[Check, ...]]] = {
    "AgentCard": (selector_can_match, sync_period_is_bounded),
    "AgentRuntime": (target_is_named, *_LAYERED),
    "AgentRuntimeClusterConfig": (name_is_default, *_LAYERED, entries_choose),
    "AgentRuntimeConfig": (name_is_default, *_LAYERED),
}
"""The checks of each kind."""
