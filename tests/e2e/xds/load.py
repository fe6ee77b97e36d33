"""Callers that go on while policy changes, in a process of their own, from outside a pod or from its app.

``python load.py URL TOKEN`` calls ``URL`` until SIGTERM, in four ways at once, lets what is under way come to its end, and
prints JSON: requests and failures of each way. A failure is anything but a whole 200 answer, and a kept connection that
was closed.
"""

import http.client
import json
import signal
import sys
import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LONG = 2.5  # seconds of a late or streamed answer; SIGTERM waits for it
PAUSE = 0.005  # seconds between two short requests of one caller: two processors carry everybody here


@dataclass
class Way:
    """One way of calling: path, whether the connection is kept, how many do so at once, and each answer's fault."""

    path: str
    kept: bool
    callers: int
    pause: float = PAUSE
    answers: list[str] = field(default_factory=list)

    def report(self) -> dict[str, object]:
        """Returns how many requests there were and failed, and the first faults."""
        faults = [answer for answer in self.answers if answer]
        return {"requests": len(self.answers), "failed": len(faults), "faults": faults[:3]}


def ways() -> dict[str, Way]:
    """Returns the four ways."""
    return {
        "kept connections": Way("/short", kept=True, callers=4),
        "new connections": Way("/short", kept=False, callers=2),
        "late answers": Way(f"/slow?{LONG}", kept=True, callers=4),
        "streamed answers": Way(f"/stream?{LONG}", kept=False, callers=4),
    }


def fault(connection: http.client.HTTPConnection, way: Way, token: str) -> str:
    """Sends one request and returns what is wrong with its answer; empty when nothing is."""
    connection.request("GET", way.path, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != http.client.OK:
        return f"{answer.status} {body[:200].decode(errors='replace')}"
    return "the connection is to be closed" if way.kept and answer.will_close else ""


def call(way: Way, url: str, token: str, stopped: threading.Event) -> None:
    """Calls one after the other until stopped."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=20)
    while not stopped.is_set():
        try:
            found = fault(connection, way, token)
        except (OSError, http.client.HTTPException) as error:
            found = f"{type(error).__name__}: {error}"
        way.answers.append(found)
        if found or not way.kept:
            connection.close()
        stopped.wait(way.pause)
    connection.close()


def main(url: str, token: str) -> None:
    """Calls until SIGTERM and reports."""
    stopped, found = threading.Event(), ways()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    threads = [
        threading.Thread(target=call, args=(way, url, token, stopped))
        for way in found.values()
        for _ in range(way.callers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({name: way.report() for name, way in found.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
