"""How long a change takes until every proxy has it, as status shows it; for metrics."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from kagenti.operator.keys import ObjectKey


@dataclass(slots=True)
class _Change:
    """The revision of one AgentRuntime, and since when it is asked for; None once it has been counted, or if nobody saw it come."""

    revision: str
    since: float | None


class Lag:
    """Changes under way; ``observe`` takes the seconds of each one that has arrived. ``now`` (monotonic) is for tests."""

    def __init__(self, observe: Callable[[float], None], *, now: Callable[[], float] = time.monotonic) -> None:
        self._observe, self._now = observe, now
        self._changes: dict[ObjectKey, _Change] = {}

    def note(self, key: ObjectKey, revision: str, *, acknowledged: bool) -> None:
        """Takes what was found of an AgentRuntime; the revision that it first has is nobody's change."""
        known = self._changes.get(key)
        if known is None or known.revision != revision:
            known = self._changes[key] = _Change(revision, None if known is None else self._now())
        if acknowledged and known.since is not None:
            self._observe(self._now() - known.since)
            known.since = None

    def forget(self, key: ObjectKey) -> None:
        """Forgets an object that is gone."""
        self._changes.pop(key, None)
