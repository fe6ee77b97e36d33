"""The two cluster-wide files: feature gates and platform values, read with the old webhook's types and checks.

What the old webhook refused as a whole was never in force, so nothing of it is carried (reference 6.1, 6.2).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kagenti.core.migration import platform_checks, reasons, texts
from kagenti.core.migration.eras import Era
from kagenti.core.migration.keys import GATES, PLATFORM, Key
from kagenti.core.migration.report import Report, quoted

JSON = Any  # a raw ConfigMap, or a value in it

_WHOLE: Final = ("ibac", "tokenExchange.defaultScopes")  # read below this level by nobody
_EMPTY: Final = Key("ignored", why="an empty value left what was compiled in")


def gates(objects: Mapping[tuple[str, str], JSON], era: Era, report: Report) -> tuple[Mapping[str, bool], str]:
    """Returns gate → value as written, and the place; empty where there is no readable file."""
    place, found = _file(objects, era, era.gates, GATES, report)
    for name, value in found.items():
        if value is not None and not isinstance(value, bool):
            report.fault(reasons.WRONG_TYPE, place, f"{name} is {quoted(value)}, want true or false", name)
            return {}, place
    return _without_empty({str(name): value for name, value in found.items()}, place, report), place


def platform(objects: Mapping[tuple[str, str], JSON], era: Era, report: Report) -> tuple[Mapping[str, JSON], str]:
    """Returns dotted path → value as written, and the place; resources keep one mapping for each component."""
    place, found = _file(objects, era, era.platform, PLATFORM, report)
    flat = dict(_leaves(found))
    for path, value in flat.items():
        fault = platform_checks.fault_of(path, value, era)
        if fault:
            report.fault(
                fault[0], place, f"{path} is {quoted(value)}, want {fault[1]}; the old webhook refused the file", path
            )
            return {}, place
    return _without_empty(flat, place, report), place


def _without_empty(found: Mapping[str, JSON], place: str, report: Report) -> dict[str, JSON]:
    """Returns what is written; Go leaves a field as it is for a key without a value."""
    for name in (name for name, value in found.items() if value is None):
        report.take(place, name, _EMPTY)
    return {name: value for name, value in found.items() if value is not None}


def data_of(found: JSON, place: str, report: Report) -> dict[str, str]:
    """Returns the texts of a raw ConfigMap; a value that is no text is a fault of that key alone."""
    data = (found or {}).get("data") or {}
    if not isinstance(data, Mapping):
        report.fault(reasons.WRONG_TYPE, place, f"data is {quoted(data)}, want texts by key; correct it", "data")
        return {}
    for name, value in data.items():
        if not isinstance(value, str):
            what = f"data.{name} is {quoted(value)}, want a text; put it in quotes"
            report.fault(reasons.WRONG_TYPE, place, what, f"data.{name}")
    return {str(name): value for name, value in data.items() if isinstance(value, str)}


def _file(
    objects: Mapping[tuple[str, str], JSON], era: Era, name: str, key: str, report: Report
) -> tuple[str, Mapping[str, JSON]]:
    raw = objects.get((era.namespace, name)) if name else None
    if raw is None:
        return "", {}
    place = f"ConfigMap {era.namespace}/{name}"
    text = data_of(raw, place, report).get(key)
    if text is None:
        report.warn(
            reasons.MISSING_OBJECT, place, f"it has no key {key}: what the old webhook had compiled in was in force"
        )
        return place, {}
    try:
        found = texts.read_yaml(text)
    except texts.Unreadable as problem:
        report.fault(
            reasons.MALFORMED, place, f"{key}: {problem}; mend it, or delete it if the old webhook ran without", key
        )
        return place, {}
    if found is not None and not isinstance(found, Mapping):
        report.fault(reasons.WRONG_TYPE, place, f"{key} is {quoted(found)}, want keys and values; mend it", key)
        return place, {}
    return place, found or {}


def _leaves(node: Mapping[str, JSON], above: str = "") -> Iterator[tuple[str, JSON]]:
    for key, value in node.items():
        path = f"{above}{key}"
        if isinstance(value, Mapping) and above != "resources." and path not in _WHOLE:
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value
