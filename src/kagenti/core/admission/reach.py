"""Whom a change of a config breaks or overrules, found out one AgentRuntime at a time.

A merge takes 0.1 ms and a cluster may have 10,000 AgentRuntimes, so the caller decides after each one whether there is
time for more; this module knows no clock.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from kagenti.core import validation
from kagenti.core.layers import Stored
from kagenti.core.settings.model import Finding, Layer, ResolvedSettings, Source

NOT_CHECKED: Final = "NotChecked"
"""Reason code for what could not be looked at."""

With = Callable[[Layer], ResolvedSettings]
"""Returns the settings of an AgentRuntime under the config as it is, or as it would be."""
Read = Callable[[Stored], Layer | None]


@dataclass(slots=True)
class Reach:
    """What was found of ``total`` AgentRuntimes, of which ``checked`` were looked at."""

    total: int
    checked: int = 0
    broken: list[tuple[Source, Finding]] = field(default_factory=list)
    overruled: list[Source] = field(default_factory=list)

    def warnings(self) -> list[str]:
        """Returns what people are told; a count of a look that was cut short says so."""
        told = []
        if self.broken:
            first, fault = self.broken[0]
            told.append(
                f"{fault.reason}: this breaks the settings of {self._count(len(self.broken))}: pods will be denied; "
                f"first {first}: {fault.message}"
            )
        if self.overruled:
            count, first = self._count(len(self.overruled)), self.overruled[0]
            told.append(f"LockViolation: values of {count} lose their effect, first {first}")
        if not told and self.checked < self.total:
            told.append(
                f"{NOT_CHECKED}: {self._looked()} AgentRuntimes were checked in time, and this breaks none of them"
            )
        return told

    def _count(self, number: int) -> str:
        count = "1 AgentRuntime" if number == 1 else f"{number} AgentRuntimes"
        return count if self.checked == self.total else f"at least {count} ({self._looked()} checked)"

    def _looked(self) -> str:
        return f"{self.checked} of {self.total}"


def explore(
    runtimes: Sequence[Stored], *, read: Read, before: With, after: With, locks: bool
) -> Generator[None, bool, Reach]:
    """Yields before each AgentRuntime, wants to be sent whether to go on, and returns what was found.

    Args:
        runtimes: The AgentRuntimes below the config.
        read: Returns the layer in force of one; None where it cannot be read, then nothing is said of it.
        before: Settings under the config as it is.
        after: Settings under the config as it would be.
        locks: Whether the change can take the effect of a value away.
    """
    reach = Reach(len(runtimes))
    for stored in runtimes:
        if not (yield):
            break
        reach.checked += 1
        layer = read(stored)
        if layer is not None:
            _look(reach, layer, before, after, locks=locks)
    return reach


def _look(reach: Reach, layer: Layer, before: With, after: With, *, locks: bool) -> None:
    source = replace(layer.source, resource_version="")
    now = after(layer)
    reach.broken += validation.newly_broken([source], before=lambda _: before(layer), after=lambda _: now, limit=1)
    over = validation.overreach(source, now) if locks else ()
    if over and validation.added(over, validation.overreach(source, before(layer))):
        reach.overruled.append(source)
