"""What the demo says, and the rows of what it saw."""

import time
from dataclasses import asdict, dataclass
from typing import Any

JSON = Any  # a part of the report

START = time.monotonic()


def step(text: str) -> None:
    """Says what happens next, with the time since the start."""
    print(f"[{time.monotonic() - START:5.1f} s] {text}", flush=True)


@dataclass(frozen=True)
class Row:
    """One thing that was tried: what came of it, what should have, and what the answer said."""

    what: str
    seen: int | str
    wanted: int | str
    said: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is as it should be."""
        return self.seen == self.wanted

    def show(self) -> None:
        """Prints it for a person."""
        note = self.said if self.holds else f"{self.said}   NOT AS IT SHOULD BE: {self.wanted} was expected"
        print(f"    {self.what:42} {self.seen!s:27} {note}", flush=True)

    def report(self) -> dict[str, JSON]:
        """Returns it for the report."""
        return asdict(self)
