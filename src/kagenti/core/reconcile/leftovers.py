"""Entries of ``status.propagation`` whose xDS replica is gone: a crashed one cannot take its own away (spec 01)."""

from collections.abc import Collection, Mapping
from typing import Any

JSON = Any  # a status


def left_behind(status: Mapping[str, JSON], alive: Collection[str]) -> tuple[str, ...]:
    """Returns the names of replicas that have an entry and no longer exist.

    Args:
        status: The status of one of our objects.
        alive: Names of the xDS pods that exist, of those on their way out too: they take their entries with them.
    """
    names = {found.get("replica") for found in status.get("propagation") or () if isinstance(found, Mapping)}
    return tuple(sorted(name for name in names if isinstance(name, str) and name not in alive))
