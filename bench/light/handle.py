"""Herds of light Envoys from outside: one process for each server process, so that neither waits for the other's."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson

from bench.figures import ROOT

JSON = Any  # commands and answers


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
        self._processes = [_start() for _ in ports]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def connect(self, seconds: float) -> Round:
        """Opens all streams at one instant, and waits until each has all that it asked for."""
        for place, (process, port) in enumerate(zip(self._processes, self._ports, strict=True)):
            clients = self._clients[place :: len(self._ports)]
            command = {"do": "connect", "port": port.number, "authority": port.authority, "clients": clients}
            _tell(process, {**command, "seconds": seconds})
        return self.wait()

    def arm(self, marker: str, seconds: float) -> None:
        """Has each stream wait for a reply that holds the marker; ``wait`` says what came of it."""
        for process in self._processes:
            _tell(process, {"do": "arm", "marker": marker, "seconds": seconds})
        for process in self._processes:
            _hear(process)

    def wait(self) -> Round:
        """Returns what came of what was begun last."""
        answers = [_hear(process) for process in self._processes]
        done = [moment for answer in answers for moment in answer["done"]]
        return Round(done, *(sum(answer[key] for answer in answers) for key in ("missing", "replies", "losses")))

    def sample(self) -> list[bytes]:
        """Returns the replies that one stream has had since the last sample, or since it was opened."""
        _tell(self._processes[0], {"do": "sample"})
        return [bytes.fromhex(text) for text in _hear(self._processes[0])["replies"]]

    def received(self) -> int:
        """Returns the bytes that all streams have had so far."""
        for process in self._processes:
            _tell(process, {"do": "count"})
        return sum(_hear(process)["received"] for process in self._processes)


def _start() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.light.herd"]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _tell(process: subprocess.Popen[bytes], command: JSON) -> None:
    assert process.stdin is not None
    process.stdin.write(orjson.dumps(command) + b"\n")
    process.stdin.flush()


def _hear(process: subprocess.Popen[bytes]) -> JSON:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the light clients ended with {process.wait()}")
    return orjson.loads(line)
