"""The server processes that are measured: ``kagenti xds`` as the chart runs it, and the bare server that it is held against."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from tests.e2e.installed import Installed
from tests.e2e.plane.ports import free_port
from tests.e2e.plane.waiting import wait_until
from tests.e2e.xds_process import Xds

from bench.child import Child
from bench.light.handle import Port
from bench.measured import processor_seconds, resident

SETTLED = 0.5  # seconds in which a server writes no status, after which it has none to write
PATIENCE = 60.0


def cpu(servers: Sequence["Xds | Floor"]) -> float:
    """Returns the processor seconds that the processes have had."""
    return sum(processor_seconds(server.pid) for server in servers)


def memory(servers: Sequence["Xds | Floor"]) -> float:
    """Returns the resident memory of the processes, in MB."""
    return sum(resident(server.pid) for server in servers)


@contextmanager
def serving(installed: Installed, count: int, *, address: str = "127.0.0.1") -> Iterator[list[Xds]]:
    """Runs ``count`` replicas."""
    servers = [Xds(installed, address=address, replica=f"kagenti-xds-{n}", port=free_port()) for n in range(count)]
    try:
        for server in servers:
            server.start(wait=False)
        for server in servers:
            wait_until(server.ready, 30, lambda: "a replica is not ready")
        yield servers
    finally:
        for server in servers:
            server.kill()


def port_of(server: Xds) -> Port:
    """Returns where light clients reach a replica."""
    pem = server.installation.xds_authority.certificate_pem
    return Port(server.port, pem.decode() if isinstance(pem, bytes) else pem)


def number(server: Xds, sample: str) -> float:
    """Returns the value of one sample of a replica's metrics, 0 where it is missing."""
    found = re.search(rf"^{re.escape(sample)} ([0-9.e+-]+)$", server.page("/metrics") or "", re.MULTILINE)
    return float(found[1]) if found else 0.0


def propagated(servers: list[Xds]) -> int:
    """Returns how many connected proxies have all that they should."""
    return round(sum(number(server, 'kagenti_xds_proxies{verdict="propagated"}') for server in servers))


def settle(servers: list[Xds]) -> float:
    """Waits until no more status is written; returns the monotonic time of the last write that was seen."""
    last, newest = -1.0, time.monotonic()
    until = newest + PATIENCE
    while time.monotonic() < min(until, newest + SETTLED):
        writes = sum(number(server, 'kagenti_xds_status_writes_total{outcome="applied"}') for server in servers)
        if writes != last:
            last, newest = writes, time.monotonic()
        time.sleep(0.1)
    return newest


def outage(server: Xds, count: int, seconds: float, *, look: float) -> list[float]:
    """Kills a replica and starts it after that time; returns when each proxy was back, in seconds after it was ready.

    ``look`` is the time between two looks: counting thousands costs the server something too.
    """
    server.kill()
    time.sleep(seconds)
    server.start()
    ready = time.monotonic()
    back: list[float] = []
    while len(back) < count:
        now = time.monotonic() - ready
        if now > PATIENCE:
            raise RuntimeError(f"{len(back)} of {count} proxies are back after {now:.0f} s")
        back += [now] * (propagated([server]) - len(back))
        time.sleep(look)
    return back


@dataclass(frozen=True)
class Acknowledged:
    """A replica's own histogram from push to acknowledgement: cumulative counts by upper bound in seconds."""

    buckets: dict[float, float]

    @classmethod
    def of(cls, server: Xds) -> "Acknowledged":
        """Reads it."""
        rows = re.findall(
            r'^kagenti_xds_acknowledge_seconds_bucket\{le="([^"]+)"\} (\S+)$', server.page("/metrics") or "", re.M
        )
        return cls({float(bound): float(count) for bound, count in rows})

    def since(self, before: "Acknowledged") -> "Acknowledged":
        """Returns what came after another reading."""
        return Acknowledged({bound: count - before.buckets.get(bound, 0) for bound, count in self.buckets.items()})

    @property
    def count(self) -> float:
        """Number of observations."""
        return max(self.buckets.values(), default=0.0)

    def quantile(self, share: float) -> float:
        """Returns a quantile in ms, interpolated within its bucket as Prometheus does."""
        wanted, below, bound_below = self.count * share, 0.0, 0.0
        for bound, count in sorted(self.buckets.items()):
            if count >= wanted and count > below:
                upper = bound if bound != float("inf") else bound_below
                return (bound_below + (upper - bound_below) * (wanted - below) / (count - below)) * 1000
            below, bound_below = count, bound
        return 0.0


class Floor:
    """The bare server (``bench/floor.py``): replays a recorded stream's replies, knows nothing; a context manager."""

    def __init__(self, installed: Installed, replies: list[bytes], *, tls: bool = True) -> None:
        certificate, key = installed.xds_authority.issue("floor", dns=["localhost"], ips=["127.0.0.1"])
        self.port = Port(free_port(), _text(installed.xds_authority.certificate_pem) if tls else "")
        self._child = Child("bench.floor")
        pair = {"certificate": _text(certificate), "key": _text(key)} if tls else {}
        self._child.ask({"port": self.port.number, "replies": [raw.hex() for raw in replies], **pair})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.__exit__()

    @property
    def pid(self) -> int:
        """Pid of the process."""
        return self._child.pid

    def push(self, replies: list[bytes]) -> None:
        """Has these replies written to every stream."""
        self._child.ask({"push": [raw.hex() for raw in replies]})


def _text(pem: str | bytes) -> str:
    return pem.decode() if isinstance(pem, bytes) else pem
