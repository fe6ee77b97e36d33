"""Which entry of the webhook configuration, if any, the API server calls for a pod of a namespace.

Mirrors what the chart renders (objectSelector, namespaceSelector), so that explain and the operator can say why
nothing was called. The webhook itself never asks: being called is the proof.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from kagenti import errors
from kagenti.core.trigger import reasons
from kagenti_api.v1alpha1 import wellknown

Mode = Literal["label", "cr", "both"]
Entry = Literal["label", "cr"]


def entry_of(mode: Mode, label: str | None) -> Entry | None:
    """Returns the entry that is called for a pod with that inject label; None where no entry exists for it.

    The objectSelectors of the two entries are disjoint in mode both, so each pod is called once (spec 03).
    """
    if mode == "cr":
        return "cr"
    if label is not None:
        return "label"
    return "cr" if mode == "both" else None


@dataclass(frozen=True, slots=True)
class Coverage:
    """Whether a namespace is enrolled, what would enrol it, and why (code, sentence) where no entry covers it at all."""

    enrolled: bool
    excluded: str = ""
    why: str = ""
    enrol: str = ""


CALLED: Final = Coverage(enrolled=True)
"""What the webhook passes: the API server has called, so the namespace was covered at that moment."""


def coverage_of(namespace: str, *, labels: Mapping[str, str], selector: str, release_namespace: str = "") -> Coverage:
    """Returns how the entries cover a namespace.

    Args:
        namespace: Name of the namespace.
        labels: Its labels.
        selector: ``webhook.namespaceSelector`` in kubectl's selector syntax.
        release_namespace: The namespace of the release, which no entry covers.
    """
    if namespace in wellknown.SYSTEM_NAMESPACES or (release_namespace and namespace == release_namespace):
        why = f"namespace {namespace} is never covered by the webhook; run agents elsewhere"
        return Coverage(enrolled=False, excluded=reasons.SYSTEM_NAMESPACE, why=why)
    if wellknown.BREAK_GLASS_LABEL in labels:
        why = f"namespace {namespace} carries {wellknown.BREAK_GLASS_LABEL}; remove it when the emergency is over"
        return Coverage(enrolled=False, excluded=reasons.BREAK_GLASS, why=why)
    return Coverage(enrolled=matches(selector, labels), enrol=_enrolment(namespace, selector))


def _enrolment(namespace: str, selector: str) -> str:
    """Returns the command that enrols a namespace; the selector where labels to be equal are not all it asks for."""
    asked = [requirement.replace("==", "=") for requirement in _requirements(selector)]
    if not asked or any("=" not in one or "!=" in one or "(" in one for one in asked):
        return f"label it so that webhook.namespaceSelector ({selector}) selects it"
    return f"kubectl label namespace {namespace} {' '.join(asked)}"


def matches(selector: str, labels: Mapping[str, str]) -> bool:
    """Returns whether labels satisfy a selector in kubectl's syntax; an empty selector matches everything.

    Raises:
        UsageError: The selector is not of that syntax.
    """
    return all(_holds(requirement, labels) for requirement in _requirements(selector))


def _requirements(selector: str) -> Iterator[str]:
    """Splits at commas outside parentheses."""
    depth, start = 0, 0
    for position, character in enumerate(selector):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            yield selector[start:position].strip()
            start = position + 1
    if selector[start:].strip():
        yield selector[start:].strip()


def _holds(requirement: str, labels: Mapping[str, str]) -> bool:
    for operator, positive in (("!=", False), ("==", True), ("=", True)):
        key, found, value = requirement.partition(operator)
        if found:
            return (labels.get(key.strip()) == value.strip()) is positive
    if "(" in requirement:
        return _in_set(requirement, labels)
    if requirement.startswith("!"):
        return requirement[1:].strip() not in labels
    if not requirement or " " in requirement:
        raise errors.UsageError(f'namespace selector has "{requirement}", want key=value, key!=value, key, !key or in')
    return requirement in labels


def _in_set(requirement: str, labels: Mapping[str, str]) -> bool:
    head, _, tail = requirement.partition("(")
    words = head.split()
    if len(words) != 2 or words[1] not in ("in", "notin") or not tail.endswith(")"):  # key, operator
        raise errors.UsageError(f'namespace selector has "{requirement}", want "key in (a, b)" or "key notin (a, b)"')
    values = {value.strip() for value in tail[:-1].split(",")}
    return (labels.get(words[0]) in values) is (words[1] == "in")
