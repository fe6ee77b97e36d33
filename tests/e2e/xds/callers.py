"""Callers of a pod, and callers in a pod's app, that go on while a test changes policy (``load.py``, as processes)."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.e2e.plane.processes import Process
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import PodRunner
from tests.e2e.xds import load

JSON = Any  # what the program reports
PROGRAM = (sys.executable, "-I", str(Path(load.__file__)))


class Callers:
    """One process of callers; ``stop`` lets what is under way come to its end, and returns what came of it all."""

    def __init__(self, name: str, command: list[str], *, log: Path) -> None:
        self._process = Process(name, command, log=log)

    @classmethod
    def from_outside(cls, pod: PodRunner, port: int, *, token: str) -> "Callers":
        """Begins to call a pod's port; returns once there are requests in all ways."""
        command = [*PROGRAM, f"http://{pod.address}:{port}", token]
        made = cls("callers", command, log=pod.folder / "callers.log")
        return made._busy(pod, "inbound")

    @classmethod
    def from_app(cls, pod: PodRunner, url: str, *, token: str) -> "Callers":
        """Begins to call that URL as the pod's app; returns once there are requests in all ways."""
        made = cls("calls", list(pod.run_as_app(*PROGRAM, url, token)), log=pod.folder / "calls.log")
        return made._busy(pod, "outbound")

    def _busy(self, pod: PodRunner, direction: str) -> "Callers":
        """Waits until the long requests are all under way."""
        long = sum(way.callers for way in load.ways().values() if way.path != "/short")
        name = f"http.{direction}.downstream_rq_active"

        def busy() -> bool:
            self._process.check()
            return pod.admin.statistic(name) >= long

        wait_until(busy, 40, lambda: f"{pod.admin.statistic(name)} of {long} long requests; {self._process.tail()}")
        return self

    def stop(self) -> dict[str, JSON]:
        """Returns of each way how many requests there were, how many failed, and the first faults."""
        self._process.stop(patience=30)  # what is under way takes seconds, and longer on a busy machine
        lines = self._process.log.read_text().splitlines()
        assert lines, "the callers were killed"
        found: dict[str, JSON] = json.loads(lines[-1])
        return found


def failed(found: dict[str, JSON]) -> dict[str, JSON]:
    """Returns the ways with failures; every way must have called at all."""
    assert all(way["requests"] > 0 for way in found.values()), found
    return {name: way for name, way in found.items() if way["failed"]}
