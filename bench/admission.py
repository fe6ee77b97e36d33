"""The figures of spec 08 for admission, as a table and a plot.

The webhook is the real process under its rendered service account, on a real API server; the load comes from a process of its
own. Pods are those of a real ReplicaSet, so that each decision looks for the top owner. Every ratio is against a baseline of
the same run. ``--quick`` leaves out the largest size and publishes nothing.
"""

import argparse
import datetime
import statistics
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

import orjson
from tests.e2e.installed import Installed, Options
from tests.e2e.plane.control_plane import ControlPlane

from bench.commands import command_figures
from bench.creates import creates, make_deployment, make_namespace, make_runtime, make_runtimes
from bench.figures import Figure, Point, plot, publish, quantile, table
from bench.measured import load, pauses, resident, watched, webhook_pid
from bench.reviews import Owner, padded, pod, review
from kagenti.core.admission import pods
from kagenti.core.admission.evaluate import Context
from kagenti.core.admission.review import parse_review
from kagenti.core.installation import Installation
from kagenti.core.layers import LayerCache
from kagenti.core.settings import Resolver
from kagenti.core.workload import WorkloadRef

NAMESPACE = "bench"
CONDITIONS = "API server, etcd, webhook and load on the same machine, so that latency under many callers is mostly waiting for a core."
GO_REVIEWS = 249  # a second and core, by the Go implementation on this kind of machine (spec 08)


def say(text: str) -> None:
    """Says what is being measured."""
    print(f"[{time.monotonic() - START:6.1f} s] {text}", flush=True)


def pure_function() -> list[Figure]:
    """Parse → evaluate → answer in this process, against decoding and encoding the same review."""
    body = review(padded(pod(NAMESPACE, Owner("weather-5d8f9c7b6d", "0b3fdd2c-7f0e-4d7e-9d53-6c6f4f6c8a11"))))
    context = Context(mode="both", installation=Installation(), resolver=Resolver())
    layers, now = LayerCache(), datetime.datetime.now(datetime.UTC)
    facts = pods.Facts(WorkloadRef("apps", "Deployment", NAMESPACE, "weather"), None, None, (), {})

    def decide() -> bytes:
        return pods.mutate_pod(parse_review(body), facts, context=context, layers=layers, now=now).body()

    if b'"patch"' not in decide():
        raise RuntimeError(f"the pod is not injected: {decide()[:300]!r}")
    ours, echo = _median(decide), _median(lambda: orjson.dumps(orjson.loads(body)))
    what = f"pure function, {len(body) / 1000:.0f} KB review"
    return [Figure(what, f"{ours:.0f} µs median", "≤ 150 µs", ours <= 150, f"{ours / echo:.1f} × decode + encode")]


def _median(call: Callable[[], object], *, number: int = 500) -> float:
    call()
    return statistics.median(timeit.repeat(call, number=number, repeat=7)) / number * 1e6


def process_figures(installed: Installed, owner: Owner, nobody: Owner) -> list[Figure]:
    """The webhook process over TLS keep-alive."""
    body = review(padded(pod(NAMESPACE, owner)))
    load(installed, body, callers=4, seconds=2)
    alone, _ = load(installed, body, callers=1)
    many, cpu = load(installed, body, callers=16)
    large, _ = load(installed, review(pod(NAMESPACE, owner, variables=2000)), callers=4)
    miss, _ = load(installed, review(padded(pod(NAMESPACE, nobody, label=False))), callers=1, seconds=2)
    one, far, rate, listed = quantile(alone, 0.5), quantile(large, 0.99), 1 / cpu, quantile(miss, 0.5)
    what = "reviews per second and core (16 connections, by CPU time)"
    return [
        Figure(what, f"{rate:.0f}", "≥ 3,000", rate >= 3000, f"{rate / GO_REVIEWS:.1f} × Go's {GO_REVIEWS}/s"),
        Figure(
            "latency, one caller",
            f"{one:.2f} ms median, {quantile(alone, 0.99):.2f} ms p99",
            "≤ 0.5 ms median",
            one <= 0.5,
        ),
        Figure("latency, 16 callers", f"{quantile(many, 0.5):.2f} ms median, {quantile(many, 0.99):.2f} ms p99"),
        Figure("latency at 2,000 env vars, 4 callers", f"{far:.2f} ms p99", "≤ 5 ms p99", far <= 5),
        Figure("pod without trigger, strict (one LIST)", f"{listed:.2f} ms median", "≤ 3 ms median", listed <= 3),
    ]


def scale(plane: ControlPlane, folder: Path, sizes: list[int]) -> tuple[list[Figure], list[Point]]:
    """Latency, memory, time to ready and GC pauses with more and more AgentRuntimes."""
    points: list[Point] = []
    make_namespace(plane, "scale-0")
    owner = make_deployment(plane, "scale-0", "agent-0")
    for size in sizes:
        say(f"{size} AgentRuntimes in {max(1, size // 10)} namespaces …")
        make_runtimes(plane, points[-1].size if points else 0, size, say=say)
        points.append(
            _point(watched(plane, folder / str(size)), size, review(padded(pod("scale-0", owner, label=False))))
        )
    return [_scaled(point, points[0]) for point in points], points


def _point(installed: Installed, size: int, hit: bytes) -> Point:
    start = time.monotonic()
    installed.webhook.start()
    ready, since = time.monotonic() - start, time.time()
    installed.start_registered()
    alone, _ = load(installed, hit, callers=1, seconds=2)
    load(installed, hit, callers=16, seconds=3)
    seen = pauses(installed, since)
    point = Point(
        size, quantile(alone, 0.5), resident(webhook_pid(installed)), ready, max(seen, default=0.0), len(seen)
    )
    installed.stop()
    return point


def _scaled(point: Point, smallest: Point) -> Figure:
    ratio = point.latency / smallest.latency
    value = f"{point.latency:.2f} ms median, {point.memory:.0f} MB, ready in {point.ready:.1f} s, "
    value += f"longest of {point.pauses} GC pauses {point.pause:.1f} ms" if point.pauses else "no GC pause"
    # Flat: within what two runs of the same size differ by on a shared machine.
    held = ratio <= 1.3 and point.memory <= 150 and point.ready <= 2 and point.pause <= 10
    target = "flat (≤ 1.3 ×); ≤ 150 MB; ≤ 2 s; ≤ 10 ms"
    against = f"{ratio:.2f} × {smallest.size} AgentRuntimes"
    return Figure(f"index hit with {point.size:,} AgentRuntimes", value, target, held, against)


def create_figures(plane: ControlPlane, owner: Owner, nobody: Owner) -> list[Figure]:
    """What the webhook adds to a create at the API server, against the same creates without it."""
    figures = []
    for concurrent, target, what in (
        (1, owner, "index hit"),
        (50, owner, "index hit"),
        (500, owner, "index hit"),
        (500, nobody, "strict LIST"),
    ):
        say(f"{concurrent} concurrent creates ({what}), with and without the webhook …")
        found = creates(plane, NAMESPACE, target, concurrent=concurrent)
        value = _spread(found.with_webhook)
        value += "".join(f", {count} of {len(found.with_webhook)} {fate}" for fate, count in found.refused.items())
        against = f"without the webhook {_spread(found.without)}; the API server's own measure of our entries {found.measured}"
        figures.append(Figure(f"create of a pod, {concurrent} at once, {what}", value, against=against))
    return figures


def _spread(values: list[float]) -> str:
    return f"{quantile(values, 0.5):.1f} ms median, {quantile(values, 0.99):.1f} ms p99"


def measure(sizes: list[int]) -> tuple[list[Figure], list[Point]]:
    """Measures everything, on a plane of its own."""
    say("the pure function and the command line …")
    figures = [*pure_function(), *command_figures()]
    with tempfile.TemporaryDirectory() as name, ControlPlane() as plane:
        make_namespace(plane, NAMESPACE)
        owner, nobody = (make_deployment(plane, NAMESPACE, name) for name in ("weather", "nobody"))
        installed = Installed(plane, Options(), folder=Path(name))
        installed.start()
        make_runtime(plane, NAMESPACE, "weather")
        say("the process over TLS …")
        figures += process_figures(installed, owner, nobody)
        figures += create_figures(plane, owner, nobody)
        installed.stop()
        more, points = scale(plane, Path(name), sizes)
    return [*figures, *more], points


def main() -> None:
    """Measures, prints the table, and publishes table and plot unless the run was quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10 and 1,000 AgentRuntimes only; nothing is published")
    arguments = parser.parse_args()
    figures, points = measure([10, 1000] if arguments.quick else [10, 1000, 10000])
    text = table(figures, CONDITIONS)
    if not arguments.quick:
        publish("admission", text, picture="admission over the number of AgentRuntimes")
        plot(points)
    print("\n" + text)


START = time.monotonic()
if __name__ == "__main__":
    main()
