"""Which entry of the webhook configuration, if any, the API server calls for a pod of a namespace.

Mirrors what the chart renders (objectSelector, namespaceSelector), so that explain and the operator can say why
nothing was called. The webhook itself never asks: being called is the proof.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from kagenti import errors
from kagenti.core.trigger import reasons
from kagenti_api.v1alpha1 import wellknown

Mode = Literal["label", "cr", "both"]
Entry = Literal["label", "cr"]
# Kubernetes, "Labels and Selectors": syntax and character set.
_NAME: Final = "[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
_KEY: Final = re.compile(f"([a-z0-9][-a-z0-9.]*/)?{_NAME}")
_VALUE: Final = re.compile(f"({_NAME})?")


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
    """Whether a namespace is enrolled, what would enrol it, and why (code, sentence) where no entry covers it at all.

    ``closed`` is how it is covered once the emergency door is closed again; None where it is not open.
    """

    enrolled: bool
    excluded: str = ""
    why: str = ""
    enrol: str = ""
    closed: "Coverage | None" = None


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
    covered = Coverage(enrolled=matches(selector, labels), enrol=_enrolment(namespace, selector))
    if wellknown.BREAK_GLASS_LABEL in labels:
        why = f"namespace {namespace} carries {wellknown.BREAK_GLASS_LABEL}; remove it when the emergency is over"
        return Coverage(enrolled=False, excluded=reasons.BREAK_GLASS, why=why, closed=covered)
    return covered


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
    held = [_holds(requirement, labels) for requirement in _requirements(selector)]  # each is read, also after a miss
    return all(held)


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
            key, (value,) = _checked(requirement, key.strip(), (value.strip(),))
            return (labels.get(key) == value) is positive
    if "(" in requirement:
        return _in_set(requirement, labels)
    if requirement.startswith("!"):
        return _checked(requirement, requirement[1:].strip())[0] not in labels
    return _checked(requirement, requirement)[0] in labels


def _checked(requirement: str, key: str, values: Sequence[str] = ()) -> tuple[str, Sequence[str]]:
    """Returns key and values of a requirement; raises UsageError for what no label can be."""
    if not (_KEY.fullmatch(key) and all(map(_VALUE.fullmatch, values))):
        raise errors.UsageError(f'namespace selector has "{requirement}", want key=value, key!=value, key, !key or in')
    return key, values


def _in_set(requirement: str, labels: Mapping[str, str]) -> bool:
    head, _, tail = requirement.partition("(")
    words = head.split()
    if len(words) != 2 or words[1] not in ("in", "notin") or not tail.endswith(")"):  # key, operator
        raise errors.UsageError(f'namespace selector has "{requirement}", want "key in (a, b)" or "key notin (a, b)"')
    key, values = _checked(requirement, words[0], [value.strip() for value in tail[:-1].split(",")])
    return (labels.get(key) in values) is (words[1] == "in")
