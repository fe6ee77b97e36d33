"""Agents that answer on loopback addresses of their own, and the pods that stand for them on the control plane.

KWOK gives every pod an address that nobody has; a pod's status is patched to the address where its agent listens, as a
kubelet would have written it.
"""

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.e2e.api_client import ApiClient
from tests.e2e.plane.processes import Process
from tests.e2e.plane.waiting import wait_until

JSON = Any  # manifests

PORT = 8081
NETWORKS = "127.0.0.0/8,10.209.0.0/16"
"""Where agents of tests listen: loopback, and the pod runner's network."""
NEW, OLD = "/.well-known/agent-card.json", "/.well-known/agent.json"

_addresses = itertools.count(2)
Serve = Callable[[BaseHTTPRequestHandler], None]


def address() -> str:
    """Returns a loopback address that no other agent of this run has."""
    high, low = divmod(next(_addresses), 250)
    return f"127.88.{high}.{low + 1}"


class Agent:
    """An HTTP server on an address of its own; ``paths`` serve what a test wants, 404 for all else. A context manager."""

    def __init__(self, paths: Mapping[str, Serve]) -> None:
        self.paths = dict(paths)
        self.address = address()
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                agent.requests.append((self.path, dict(self.headers.items())))
                serve = agent.paths.get(self.path)
                try:
                    serve(self) if serve else answer(b"secret", status=404)(self)
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self._server = Server((self.address, PORT), Handler)

    def __enter__(self) -> "Agent":
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def answer(body: bytes, *, status: int = 200, **headers: str) -> Serve:
    """Returns what answers with that body."""

    def serve(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return serve


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Never ends its body."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"secret" * 10_000)


def slow(stop: threading.Event) -> Serve:
    """Returns what sends a byte now and then, until ``stop``."""

    def serve(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        while not stop.wait(0.2):
            handler.wfile.write(b" ")

    return serve


@contextmanager
def program(*command: str, host: str, folder: Path) -> Iterator[Process]:
    """Runs a Python program that listens on a host at the port of agents; returns once it does."""
    process = Process(command[-1], [sys.executable, *command], log=folder / "agent.log", environment=None)
    try:
        wait_until(lambda: process.check() or _listens(host), 60, process.tail)
        yield process
    finally:
        process.stop()


def _listens(host: str) -> bool:
    probe = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()"
    return subprocess.run([sys.executable, "-c", probe, host, str(PORT)], capture_output=True).returncode == 0


def deployment(namespace: str, name: str, *, replicas: int = 1, labels: Mapping[str, str] | None = None) -> JSON:
    """Returns a plain Deployment of an agent."""
    marks = {"app": name, **(labels or {})}
    container = {"name": "agent", "image": "example.test/agent:1", "ports": [{"containerPort": PORT}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": marks}, "spec": {"containers": [container]}},
        },
    }


def card(namespace: str, name: str, *, period: str = "5s", **spec: JSON) -> JSON:
    """Returns an AgentCard for the pods that are called so."""
    return {
        "apiVersion": "kagenti.io/v1alpha1",
        "kind": "AgentCard",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": name}}, "syncPeriod": period, **spec},
    }


def running(api: ApiClient, namespace: str, name: str, count: int = 1) -> list[JSON]:
    """Returns the running pods that are called so, oldest first, once there are that many."""
    found: list[JSON] = []

    def run() -> bool:
        pods = api.items("Pod", namespace, labelSelector=f"app={name}")
        found[:] = [pod for pod in pods if pod["status"].get("podIP") and not pod["metadata"].get("deletionTimestamp")]
        return len(found) >= count

    wait_until(run, 60, lambda: f"{len(found)} pods of {name} run")
    return sorted(found, key=lambda pod: pod["metadata"]["creationTimestamp"])


def move(api: ApiClient, pod: JSON, ip: str) -> None:
    """Gives a pod the address where its agent listens."""
    metadata = pod["metadata"]
    path = api.path("Pod", metadata["namespace"], metadata["name"]) + "/status"
    done = api.request("PATCH", path, {"status": {"podIP": ip, "podIPs": [{"ip": ip}]}})
    assert done.ok, done.message


def create(api: ApiClient, *manifests: JSON) -> None:
    """Creates objects."""
    for manifest in manifests:
        done = api.create(manifest)
        assert done.ok, done.message
