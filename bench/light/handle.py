"""Herds of light Envoys from outside: one process for each server process, so that neither waits for the other's."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from bench.child import Child

HERD = "bench.light.herd"


@dataclass(frozen=True)
class Port:
    """Where a server listens; ``authority`` is the PEM of its CA, empty for plaintext."""

    number: int
    authority: str


@dataclass(frozen=True)
class Round:
    """What came of one wait: when each stream was done (monotonic seconds), how many were not, replies, lost streams."""

    done: list[float]
    missing: int
    replies: int
    losses: int

    def since(self, begun: float) -> list[float]:
        """Returns the seconds that each stream took; raises RuntimeError where some were not done in time."""
        if self.missing:
            raise RuntimeError(f"{self.missing} of {self.missing + len(self.done)} streams were not done in time")
        return [moment - begun for moment in self.done]


class Herds:
    """Streams spread evenly over some servers; a context manager that ends its processes."""

    def __init__(self, ports: Sequence[Port], clients: Sequence[tuple[str, str]]) -> None:
        """``clients`` are (node id, token)."""
        self._ports, self._clients = ports, clients
        self._stack = ExitStack()
        self._herds = [self._stack.enter_context(Child(HERD)) for _ in ports]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def connect(self, seconds: float) -> Round:
        """Opens all streams at one instant, and waits until each has all that it asked for."""
        for place, (herd, port) in enumerate(zip(self._herds, self._ports, strict=True)):
            clients = self._clients[place :: len(self._ports)]
            command = {"do": "connect", "port": port.number, "authority": port.authority, "clients": clients}
            herd.tell({**command, "seconds": seconds})
        return self.wait()

    def arm(self, marker: str, seconds: float) -> None:
        """Has each stream wait for a reply that holds the marker; ``wait`` says what came of it."""
        for herd in self._herds:
            herd.ask({"do": "arm", "marker": marker, "seconds": seconds})

    def wait(self) -> Round:
        """Returns what came of what was begun last."""
        answers = [herd.hear() for herd in self._herds]
        done = [moment for answer in answers for moment in answer["done"]]
        return Round(done, *(sum(answer[key] for answer in answers) for key in ("missing", "replies", "losses")))

    def sample(self) -> list[bytes]:
        """Returns the replies that one stream has had since the last sample, or since it was opened."""
        return [bytes.fromhex(text) for text in self._herds[0].ask({"do": "sample"})["replies"]]

    def received(self) -> int:
        """Returns the bytes that all streams have had so far."""
        return sum(herd.ask({"do": "count"})["received"] for herd in self._herds)
