"""What was found of pods, remembered: most looks at an AgentRuntime find the pods and the layers that the last one found.

An entry holds everything that ``judge`` reads; layers and settings are compared as the very objects, which their caches give
anew when anything about them changes.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from kagenti.core.layers import Sources
from kagenti.core.reconcile.judge import Judged
from kagenti.core.settings.model import ResolvedSettings

ROOM: Final = 32_768
"""Pods remembered; about 1 KiB each."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a verdict rests on besides the pod: the layers, the settings they give, and all that is compared by value."""

    sources: Sources
    resolved: ResolvedSettings | None
    rest: Hashable

    def holds(self, other: "Given") -> bool:
        """Whether another look would find the same."""
        mine, theirs = self.sources, other.sources
        return (
            mine.cluster is theirs.cluster
            and mine.namespace is theirs.namespace
            and mine.runtime is theirs.runtime
            and self.resolved is other.resolved
            and mine.runtime_source == theirs.runtime_source
            and mine.runtime_type == theirs.runtime_type
            and mine.unreadable == theirs.unreadable
            and self.rest == other.rest
        )


class Verdicts:
    """The memory of one process; beyond ``room`` the pod that has not changed for longest is forgotten."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._known: dict[str, tuple[Hashable, Given, Judged]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, uid: str, packed: Hashable, given: Given, judge: Callable[[bool], Judged]) -> Judged:
        """Returns what ``judge`` returns for a pod, asking it only where something is another than before.

        ``judge`` is told whether this very pod has been found to be as its receipt says, which no layer changes.
        """
        known = self._known.get(uid)
        same = known is not None and known[0] == packed
        if known is not None and same and known[1].holds(given):
            return known[2]
        found = judge(known is not None and same and known[2].injected)
        self._known.pop(uid, None)
        self._known[uid] = (packed, given, found)
        if len(self._known) > self._room:
            del self._known[next(iter(self._known))]
        return found
