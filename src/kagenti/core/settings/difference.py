"""What another state of the layers changes: two results of the merge → the settings that differ, and how they arrive."""

from collections.abc import Iterator
from typing import Any

import msgspec

from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.settings.revision import effective_class

JSON = Any  # a setting's value; None where it is not set


class Change(msgspec.Struct, frozen=True):
    """One setting that differs.

    ``arrives`` says how it reaches a workload: ``live`` (running proxies take it), ``restart`` (the next pods have it,
    running ones are stale) or ``both``. ``origin`` is who sets it now, for people; empty where nobody does any more.
    """

    path: str
    before: JSON
    after: JSON
    arrives: str
    origin: str = ""


def changes(before: ResolvedSettings, after: ResolvedSettings) -> tuple[Change, ...]:
    """Returns the settings that differ between two results of the merge, by path; derived ones among them."""
    return tuple(_changes(before, after))


def _changes(before: ResolvedSettings, after: ResolvedSettings) -> Iterator[Change]:
    for path in sorted(before.values.keys() | after.values.keys()):
        old, new = before.values.get(path), after.values.get(path)
        if old == new:
            continue
        origin = after.origins.get(path)
        yield Change(path, old, new, _arrives(path, before, after), str(origin.source) if origin else "")


def _arrives(path: str, before: ResolvedSettings, after: ResolvedSettings) -> str:
    """Returns the class that a change has: a setting that needs a restart before or after needs it to change."""
    classes = {effective_class(path, settings.values) for settings in (before, after)}
    return next(iter(classes)) if len(classes) == 1 else "restart"
