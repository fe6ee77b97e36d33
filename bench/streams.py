"""Light clients: a connect storm, changes until the last acknowledgement, processor time and memory of each stream.

The same is measured of the bare server right after, with the same clients and bytes: the floor of grpc.aio.
"""

import functools
import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed
from tests.e2e.xds_process import Xds

from bench.fleet import Fleet, change
from bench.light.handle import Herds
from bench.replicas import Floor, cpu, memory, outage, port_of, propagated, serving, settle

PATIENCE = 120.0  # seconds
_numbers = itertools.count(1)


def marker() -> str:
    """Returns a text that no change had before, of one length: the bare server's replies have the same size."""
    return f"change-{next(_numbers):04}"


@dataclass
class Measured:
    """One size: seconds of each stream, of the last stream by change, CPU in ms and memory in KB a stream.

    ``lost`` connections were broken in the storm and came again; ``opening`` and ``pushed`` are what one stream was sent; ``status`` are seconds until the last status was written.
    """

    streams: int
    processes: int
    connect: list[float] = field(default_factory=list)
    acknowledged: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    status: list[float] = field(default_factory=list)
    connect_cpu: float = 0.0
    push_cpu: list[float] = field(default_factory=list)
    memory: float = 0.0
    received: int = 0
    lost: int = 0
    opening: list[bytes] = field(default_factory=list)
    pushed: list[bytes] = field(default_factory=list)


class Meter:
    """Times what happens at some servers to the streams of some herds."""

    def __init__(self, servers: Sequence[Xds | Floor], herds: Herds, found: Measured) -> None:
        self._servers, self._herds, self._found = servers, herds, found

    def connect(self, settled: Callable[[], object]) -> None:
        """Opens all streams at one instant; memory is read once the servers have come to rest."""
        found = self._found
        spent, held, begun = cpu(self._servers), memory(self._servers), time.monotonic()
        opened = self._herds.connect(PATIENCE)
        found.connect, found.lost = opened.since(begun), opened.losses
        found.connect_cpu = (cpu(self._servers) - spent) / found.streams * 1000
        settled()
        found.memory = (memory(self._servers) - held) / found.streams * 1000
        found.received, found.opening = self._herds.received(), self._herds.sample()

    def push(self, text: str, begin: Callable[[], None]) -> float:
        """Begins a change, and waits until all have acknowledged what holds that text; returns when it began."""
        found = self._found
        self._herds.arm(text, PATIENCE)
        spent, begun = cpu(self._servers), time.monotonic()
        begin()
        seconds = self._herds.wait().since(begun)
        found.push_cpu.append((cpu(self._servers) - spent) / found.streams * 1000)
        found.acknowledged += seconds
        found.last.append(max(seconds))
        found.pushed = self._herds.sample()
        return begun


def measure(installed: Installed, fleet: Fleet, size: int, processes: int, *, rounds: int) -> Measured:
    """Connects ``size`` streams to so many replicas and changes the cluster's layer ``rounds`` times."""
    api, found = ApiClient(installed.plane), Measured(size, processes)
    with serving(installed, processes) as servers:
        settle(servers)
        with Herds([port_of(server) for server in servers], fleet.clients[:size]) as herds:
            meter = Meter(servers, herds, found)
            meter.connect(lambda: settle(servers))
            for _ in range(rounds):
                text = marker()
                begun = meter.push(text, functools.partial(_change, api, text))
                found.status.append(settle(servers) - begun)
            if (have := propagated(servers)) != size:
                raise RuntimeError(f"{have} of {size} proxies have the newest configuration, say the servers")
    return found


def lose(
    installed: Installed, fleet: Fleet, size: int, outages: Sequence[float]
) -> tuple[dict[float, list[float]], str]:
    """Connects streams, then kills their server and starts it again; returns when each was back, and what was resent."""
    with serving(installed, 1) as servers, Herds([port_of(servers[0])], fleet.clients[:size]) as herds:
        herds.connect(PATIENCE).since(0)
        settle(servers)
        cold = herds.received()
        found = {seconds: outage(servers[0], size, seconds, look=0.1) for seconds in outages}
        resent = (herds.received() - cold) / len(outages)
    return found, f"{resent / cold:.1%} of the bytes of a first connect are sent"


def _change(api: ApiClient, scope: str) -> None:
    answer = api.request("PATCH", change({}).path, change({"requiredScopes": [scope]}).body)
    if not answer.ok:
        raise RuntimeError(answer.message)


def measure_floor(installed: Installed, like: Measured, *, tls: bool = True) -> Measured:
    """The same with the bare server, which replays what one stream of ``like`` was sent."""
    found = Measured(like.streams, like.processes)
    old = _marker_of(like.pushed)
    clients = [(f"bench/floor-{place}/uid", "t" * 1000) for place in range(like.streams)]
    with ExitStack() as stack:
        servers = [stack.enter_context(Floor(installed, like.opening, tls=tls)) for _ in range(like.processes)]
        herds = stack.enter_context(Herds([server.port for server in servers], clients))
        meter = Meter(servers, herds, found)
        meter.connect(lambda: None)
        for _ in like.last:
            text = marker()
            replies = [raw.replace(old, text.encode()) for raw in like.pushed]
            meter.push(text, functools.partial(_push, servers, replies))
    return found


def _push(servers: Sequence[Floor], replies: list[bytes]) -> None:
    for server in servers:
        server.push(replies)


def _marker_of(replies: list[bytes]) -> bytes:
    """Returns the marker that recorded replies hold."""
    whole = b"".join(replies)
    start = whole.index(b"change-")
    return whole[start : start + len(marker())]
