"""Pods asked for by several clients at once, each answer looked at: what failed, and what came back bare."""

import itertools
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tests.e2e.api_client import ApiClient
from tests.e2e.plane.access import Plane

_CLIENTS: Final = 4
_SLOW: Final = 0.05  # seconds between two pods of a client once enough have been made


class Load:
    """Creates ``least`` pods and goes on until ``enough`` is set; a context manager that waits for the end."""

    def __init__(self, plane: Plane, namespace: str, *, least: int) -> None:
        self._plane, self._namespace, self._least = plane, namespace, least
        self._numbers, self._lock = itertools.count(1), threading.Lock()
        self.enough, self.made = threading.Event(), 0
        self.faults: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor(_CLIENTS)

    def __enter__(self) -> "Load":
        self._running = [self._pool.submit(self._run) for _ in range(_CLIENTS)]
        return self

    def __exit__(self, *_: object) -> None:
        self.enough.set()
        for running in self._running:
            running.result()
        self._pool.shutdown()

    def _run(self) -> None:
        api = ApiClient(self._plane)
        try:
            while not (self.made >= self._least and self.enough.is_set()):
                self._create(api, next(self._numbers))
                if self.made >= self._least:
                    self.enough.wait(_SLOW)
        finally:
            api.close()

    def _create(self, api: ApiClient, number: int) -> None:
        answer = api.create(_pod(self._namespace, f"agent-{number}"))
        labels = answer.body["metadata"].get("labels") or {} if answer.ok else {}
        with self._lock:
            self.made += 1
            if not answer.ok:
                self.faults[f"{answer.status} {answer.message}"] += 1
            elif labels.get("kagenti.io/managed") != "true":
                self.faults["bare"] += 1


def _pod(namespace: str, name: str) -> dict[str, object]:
    """A labelled pod that no scheduler looks at: it is created, and nothing else happens to it."""
    labels = {"kagenti.io/inject": "enabled", "kagenti.io/type": "agent"}
    spec = {"schedulerName": "nobody", "containers": [{"name": "app", "image": "example/agent:1"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": spec,
    }
