"""The figures of spec 05 for configuration propagation, as a table and a plot: ``python -m bench.xds``.

Real Envoys of injected pods, and thousands of light clients, each with its own pod and projected token, on a real API
server. The servers are real processes under their rendered account, and their CPU and memory are read alone. The baseline
is a bare grpc.aio server that replays the same bytes to the same clients in the same run: what kagenti costs beyond it is
ours to mend, the rest is the transport's. ``--quick`` takes tiny sizes and publishes nothing; ``--part`` takes one half.
"""

import argparse
import os
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.installed import PROBE_NAMESPACE, Installed, Options
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.pod_runner import Node, permitted
from tests.e2e.xds_process import Xds
from tests.oidc import Oidc

from bench import real, rows
from bench.bulk import Request, send
from bench.figures import Figure, publish, table
from bench.fleet import CLUSTER_CONFIG, Fleet, cluster_config, injected_receipt, make_namespaces
from bench.replicas import outage
from bench.streams import Measured, lose, measure, measure_floor

CONDITIONS = (
    "API server, etcd, servers, clients and Envoys share those cores. A write is the PATCH of the cluster's layer that "
    "concerns every proxy, timed from before it is sent, so that the API server's own time and our debounce (20 ms) are in "
    "all figures; five pods to a workload, each workload with an AgentRuntime, status written meanwhile. Load average before "
    "the run: {load:.1f}."
)


PARTS = ("envoys", "streams")
RULES = 5  # destination rules of the fleet: an outbound table of the usual size
NODE = Node.SECOND  # the end-to-end tests beside this one keep the other, and in one of 120 runs it would be the same


@dataclass(frozen=True)
class Scope:
    """How much is measured; ``fleets`` are (streams, changes), ``outages`` are in seconds."""

    envoys: tuple[int, ...] = (1, 50)
    rounds: int = 100
    updates: int = 200
    outages: tuple[float, ...] = (0, 3, 20)
    fleets: tuple[tuple[int, int], ...] = ((100, 10), (1000, 5), (5000, 3))
    lost: int = 1000


QUICK = Scope(envoys=(1,), rounds=5, updates=10, outages=(0,), fleets=((20, 2),), lost=20)


@dataclass
class Results:
    """Everything measured: rows in their order, and what is drawn."""

    figures: list[Figure] = field(default_factory=list)
    sizes: list[tuple[Measured, Measured]] = field(default_factory=list)
    outages: dict[str, rows.Outages] = field(default_factory=dict)


def say(text: str) -> None:
    """Says what is being measured."""
    print(f"[{time.monotonic() - START:6.1f} s] {text}", flush=True)


def with_envoys(installed: Installed, idp: Oidc, scope: Scope, results: Results) -> None:
    """Real Envoys: acknowledgements, other answers, requests during updates, reconnects."""
    plane, xds = installed.plane, Xds(installed, address=NODE)
    xds.start()
    start, one = 0.0, None
    try:
        for count in scope.envoys:
            say(f"{count} real Envoys start …")
            begun = time.monotonic()
            with real.envoys(plane, xds, count) as pods:
                start = start or time.monotonic() - begun
                rounds = scope.rounds if count == 1 else max(1, scope.rounds // 4)
                say(f"{count} real Envoys, {rounds} changes: acknowledgements, then answers …")
                acknowledged = real.acknowledgements(plane, xds, count, rounds=rounds)
                one = one or acknowledged
                results.figures.append(rows.acknowledged(acknowledged, one))
                results.figures.append(rows.behaviour(real.behaviour(plane, pods, idp, rounds=rounds), start))
                if count == scope.envoys[0]:
                    say(f"{scope.updates} updates under load …")
                    loaded = real.under_load(plane, pods, idp, updates=scope.updates)
                    results.figures.append(rows.under_load(loaded, scope.updates))
                if count == scope.envoys[-1]:
                    _outages(xds, count, scope, results)
    finally:
        xds.kill()


def _outages(xds: Xds, count: int, scope: Scope, results: Results) -> None:
    who = f"{count} real Envoy{'s' * (count > 1)}"
    say(f"{who}: {len(scope.outages)} outages …")
    results.outages[who] = {seconds: outage(xds, count, seconds, look=0.02) for seconds in scope.outages}
    results.figures += rows.back(results.outages[who], who)


def with_streams(installed: Installed, fleet: Fleet, scope: Scope, results: Results) -> None:
    """Light clients of more and more pods, over one and two servers, and the same with the bare server."""
    for size, rounds in scope.fleets:
        fleet.grow(size, say=say)
        for processes in (1, 2):
            say(f"{size:,} streams over {processes} …")
            found = measure(installed, fleet, size, processes, rounds=rounds)
            say("the same, bare gRPC …")
            floor = measure_floor(installed, found)
            results.sizes.append((found, floor))
            results.figures += rows.streams(found, floor)
            if (size, processes) == (scope.lost, 1):
                plain = measure_floor(installed, found, tls=False)
                results.figures += [rows.memory(found, floor, plain), rows.status(found)]
        if size == scope.lost:
            who = f"{size:,} streams"
            say(f"{who}: {len(scope.outages)} outages …")
            results.outages[who], resent = lose(installed, fleet, size, scope.outages)
            results.figures += rows.back(results.outages[who], who, resent=resent)


def run(scope: Scope, parts: tuple[str, ...]) -> Results:
    """Measures on a plane of its own."""
    results, why = Results(), permitted()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        host = "127.0.0.1" if why else stack.enter_context(Node(NODE)).address
        idp = stack.enter_context(Oidc(host=host))
        plane = stack.enter_context(ControlPlane(controllers=False))
        make_namespaces(plane, PROBE_NAMESPACE, "bench")
        installed = Installed(plane, Options(), folder=folder)
        installed.start()
        stack.callback(installed.webhook.stop)
        _configure(plane, idp, rules=0)
        receipt = injected_receipt(plane, "bench")
        if "envoys" in parts and why:
            say(f"no real Envoys: {why}")
        elif "envoys" in parts:
            with_envoys(installed, idp, scope, results)
        installed.stop()
        if "streams" in parts:
            _configure(plane, idp, rules=RULES)
            with_streams(installed, Fleet(plane, receipt), scope, results)
    return results


def _configure(plane: ControlPlane, idp: Oidc, *, rules: int) -> None:
    collection = CLUSTER_CONFIG.rpartition("/")[0]
    send(plane, [Request("DELETE", collection, None)])
    send(plane, [Request("POST", collection, cluster_config(idp.url, idp.realm, rules=rules))])


def main() -> None:
    """Measures, prints the table, and publishes table and plot unless the run was quick or partial."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one Envoy and 20 streams; nothing is published")
    parser.add_argument("--part", choices=PARTS, help="real Envoys or light streams alone; nothing is published")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    results = run(QUICK if arguments.quick else Scope(), (arguments.part,) if arguments.part else PARTS)
    text = table(results.figures, CONDITIONS.format(load=load))
    if not arguments.quick and not arguments.part:
        publish("xds", text, picture="propagation and reconnects", pages=("README.md", "docs/xds.md"))
        rows.plot(results.sizes, results.outages)
    print("\n" + text)


START = time.monotonic()
if __name__ == "__main__":
    main()
