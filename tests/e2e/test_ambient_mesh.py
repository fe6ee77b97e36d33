"""Istio's ambient mesh in one pod with ours: its recorded rules and our script in a real network namespace.

No proxy runs: each port is a stand-in that answers with its own number, so that a connection tells where it was led.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kagenti.core.sidecars.scripts import INTERCEPT
from tests.e2e.plane.processes import Process
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner.network import Network, permitted
from tests.neighbours import DATA

APP, OUTBOUND, INBOUND, ZTUNNEL_OUT, ZTUNNEL_IN, HBONE = 8000, 15123, 15124, 15001, 15006, 15008
PORTS = (APP, OUTBOUND, INBOUND, ZTUNNEL_OUT, ZTUNNEL_IN, HBONE)
ELSEWHERE = 9000  # nobody listens there
VARIANTS = ("iptables-nft", "iptables-legacy")
APP_USER, ENVOY_USER, ZTUNNEL_MARK = 1000, 1337, 0x539

STAND_INS = """
import socketserver, sys, threading
class Answer(socketserver.BaseRequestHandler):
    def handle(self): self.request.sendall(str(self.server.server_address[1]).encode())
class Server(socketserver.ThreadingTCPServer): allow_reuse_address = True
servers = [Server(("0.0.0.0", int(port)), Answer) for port in sys.argv[1:]]
threads = [threading.Thread(target=server.serve_forever) for server in servers]
[thread.start() for thread in threads]
"""
CALL = """
import os, socket, sys
address, port, user, mark = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
made = socket.socket()
made.settimeout(5)
if mark: made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
if user:  # a socket's owner is who made it
    made.close()
    os.setuid(user)
    made = socket.socket()
    made.settimeout(5)
made.connect((address, port))
print(made.recv(16).decode())
made.close()
"""

pytestmark = pytest.mark.skipif(bool(permitted()) and os.environ.get("CI") != "true", reason=permitted() or "permitted")


@contextmanager
def pod(*, excluded: str = "", mesh_first: bool = True, variant: str = "") -> Iterator[Network]:
    """A pod's network with both sets of rules: the mesh's come before ours, or after, where a namespace joins it later.

    ``variant`` is the mesh's program; otherwise it takes the one in which it finds rules, as istio-cni does.
    """
    with Network() as network:
        if mesh_first:
            _mesh(network, variant)
        _ours(network, excluded)
        if not mesh_first:
            _mesh(network, variant)
        command = [*network.enter(), sys.executable, "-c", STAND_INS, *map(str, PORTS)]
        process = Process("stand-ins", command, log=Path(os.devnull))
        try:
            wait_until(lambda: _listening(network), 10, process.tail)
            yield network
        finally:
            process.stop(subprocess.Popen.kill)


def _mesh(network: Network, variant: str) -> None:
    rules = (DATA / "istio-ambient.rules").read_text()
    found = variant or next((each for each in VARIANTS if _has_rules(network, each)), VARIANTS[0])
    subprocess.run([*network.enter(), f"{found}-restore", "--noflush"], input=rules, text=True, check=True)


def _has_rules(network: Network, variant: str) -> bool:
    if shutil.which(f"{variant}-save") is None:
        return False
    done = subprocess.run([*network.enter(), f"{variant}-save"], capture_output=True, text=True, check=False)
    return "-A " in done.stdout


def _ours(network: Network, excluded: str) -> None:
    environment = {
        **os.environ, "PROXY_UID": str(ENVOY_USER), "HELPER_UID": "1000", "HELPER_GID": "1337", "PROXY_PORT": str(OUTBOUND),
        "INBOUND_PROXY_PORT": str(INBOUND), "STATUS_PORT": "15021", "INTERCEPT_INBOUND": "true", "OUTBOUND_PORTS_EXCLUDE": "",
        "INBOUND_PORTS_EXCLUDE": excluded, "POD_IPS": network.pod4,
    }  # fmt: skip
    command = [*network.enter(), "/bin/sh", "-c", INTERCEPT]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def _listening(network: Network) -> bool:
    done = subprocess.run([*network.enter(), "ss", "-Hltn"], capture_output=True, text=True, check=True)
    return all(f":{port} " in done.stdout for port in PORTS)


def from_outside(network: Network, port: int) -> int:
    """Where a connection from another pod to that port ends."""
    with socket.create_connection((network.pod4, port), timeout=5) as made:
        return int(made.recv(16))


def from_inside(network: Network, address: str, port: int, *, user: int = 0, mark: int = 0) -> int:
    """Where a connection of a process in the pod ends: of that user, or with that mark."""
    command = [*network.enter(), sys.executable, "-c", CALL, address, str(port), str(user), str(mark)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout)


@pytest.mark.parametrize("mesh_first", [True, False], ids=["the mesh first", "we first"])
def test_outbound_the_mesh_comes_behind_envoy(mesh_first: bool) -> None:
    """The app's calls go to Envoy, and what Envoy sends goes to ztunnel: both act."""
    with pod(mesh_first=mesh_first) as network:
        assert from_inside(network, network.host4, ELSEWHERE, user=APP_USER) == OUTBOUND
        assert from_inside(network, network.host4, ELSEWHERE, user=ENVOY_USER) == ZTUNNEL_OUT


@pytest.mark.parametrize("mesh_first", [True, False], ids=["the mesh first", "we first"])
def test_inbound_nothing_passes_envoy_but_by_an_excluded_port(mesh_first: bool) -> None:
    """Plain calls and the mesh's own come to Envoy, which refuses HBONE: what the warning AmbientMesh says."""
    with pod(mesh_first=mesh_first) as network:
        assert from_outside(network, APP) == INBOUND
        assert from_outside(network, HBONE) == INBOUND


def test_with_the_port_excluded_ztunnel_reaches_the_app_past_envoy() -> None:
    """The way round of which the other warning speaks: ztunnel's own connection starts inside the pod."""
    with pod(excluded=str(HBONE)) as network:
        assert from_outside(network, HBONE) == HBONE
        assert from_inside(network, network.pod4, APP, mark=ZTUNNEL_MARK) == APP
        assert from_outside(network, APP) == INBOUND


def test_a_mesh_that_joins_later_by_another_variant_takes_the_traffic() -> None:
    """Of two variants of iptables the one that came last goes first: why the docs say to roll pods when they join."""
    ours = "iptables-legacy" if shutil.which("iptables-legacy") else "iptables-nft"
    other = next((each for each in VARIANTS if each != ours and shutil.which(each)), "")
    if not other:
        pytest.skip("only one variant of iptables is here")
    with pod(mesh_first=False, variant=other) as network:
        assert from_inside(network, network.host4, ELSEWHERE, user=APP_USER) == ZTUNNEL_OUT
        assert from_outside(network, APP) == ZTUNNEL_IN
