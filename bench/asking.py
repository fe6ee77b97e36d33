"""Asks running Envoys until their answer changes: ``python -m bench.asking``, commands on stdin, answers on stdout.

A process of its own, so that who changes the policy does not wait for who looks. Each address has one keep-alive
connection; all that have not changed are asked at the same time, again and again, with a short pause between two rounds.
Where no answer is awaited, all are asked for the whole time, and the answers are counted.
"""

import http.client
import sys
import time
from typing import Any, Final

import orjson

from bench.child import answer

JSON = Any  # commands and answers

PAUSE: Final = 0.002  # seconds between two rounds: Envoys and server need the cores as well
_TIMEOUT: Final = 10.0


class Target:
    """One pod's port; ``changed`` is when it gave the awaited answer (monotonic seconds), 0 until then."""

    def __init__(self, address: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(address, port, timeout=_TIMEOUT)
        self.changed = 0.0

    def ask(self, token: str) -> None:
        """Sends a request."""
        try:
            self._connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"})
        except OSError:
            self._connection.close()
            self._connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"})

    def hear(self, wanted: int) -> int:
        """Takes the answer; returns its status."""
        response = self._connection.getresponse()
        response.read()
        if response.status == wanted:
            self.changed = time.monotonic()
        return response.status


def _await(targets: list[Target], command: JSON) -> JSON:
    """Asks until each target has given the wanted status; counts the answers before by status."""
    until = time.monotonic() + command["seconds"]
    seen: dict[str, int] = {}
    for target in targets:
        target.changed = 0.0
    while (waiting := [target for target in targets if not target.changed]) and time.monotonic() < until:
        for target in waiting:
            target.ask(command["token"])
        for target in waiting:
            status = str(target.hear(command["status"]))
            seen[status] = seen.get(status, 0) + 1
        time.sleep(PAUSE)
    return {"changed": [target.changed for target in targets], "answers": seen}


def _load(targets: list[Target], command: JSON) -> JSON:
    """Asks all, without a pause, for that time; counts the answers by status, 0 for a connection that broke."""
    until = time.monotonic() + command["seconds"]
    seen: dict[str, int] = {}
    while time.monotonic() < until:
        for target in targets:
            target.ask(command["token"])
        for target in targets:
            try:
                status = str(target.hear(0))
            except (OSError, http.client.HTTPException):
                status = "0"
            seen[status] = seen.get(status, 0) + 1
    return {"changed": [], "answers": seen}


def main() -> None:
    """Serves commands until stdin ends: first the targets, then what to ask them."""
    targets = [Target(address, port) for address, port in orjson.loads(sys.stdin.buffer.readline())]
    for line in sys.stdin.buffer:
        command = orjson.loads(line)
        answer({"asking": True})
        answer(_await(targets, command) if command["status"] else _load(targets, command))


if __name__ == "__main__":
    main()
