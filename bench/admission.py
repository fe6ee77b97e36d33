"""The figures of spec 08 for admission, as a table and a plot.

The webhook is the real process under its rendered service account, on a real API server; the load comes from a process of its
own. Every ratio is against a baseline of the same run. ``--quick`` leaves out the largest sizes.
"""

import argparse
import asyncio
import datetime
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed, Options
from tests.e2e.plane.control_plane import ControlPlane

from bench.creates import creates, make_runtime, make_runtimes, webhook_metrics  # the path above comes first
from bench.reviews import pod, review
from kagenti.core.admission import pods
from kagenti.core.admission.evaluate import Context
from kagenti.core.admission.review import parse_review
from kagenti.core.installation import Installation
from kagenti.core.layers import LayerCache
from kagenti.core.settings import Resolver
from kagenti.core.workload import WorkloadRef

OUTPUT = ROOT / "docs" / "figures"
NAMESPACE = "bench"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Figure:
    """One measured figure: what, how much, and what it is held against."""

    what: str
    value: str
    target: str
    baseline: str = ""


def say(text: str) -> None:
    """Says what is being measured."""
    print(f"[{time.monotonic() - START:6.1f} s] {text}", flush=True)


def pure_function() -> list[Figure]:
    """Parse → evaluate → answer in this process, against decoding and encoding the same review."""
    body = review(pod(NAMESPACE))
    context = Context(mode="both", installation=Installation(), resolver=Resolver())
    layers, now = LayerCache(), datetime.datetime.now(datetime.UTC)
    facts = pods.Facts(WorkloadRef("apps", "Deployment", NAMESPACE, "weather"), None, None, (), {})

    def decide() -> bytes:
        return pods.mutate_pod(parse_review(body), facts, context=context, layers=layers, now=now).body()

    ours = _median(decide)
    echo = _median(lambda: orjson.dumps(orjson.loads(body)))
    return [
        Figure(
            f"pure function, {len(body) / 1000:.0f} KB review",
            f"{ours:.0f} µs median",
            "≤ 150 µs",
            f"{ours / echo:.1f} × decode + encode",
        )
    ]


def _median(call: Callable[[], object], *, number: int = 500) -> float:
    call()
    return statistics.median(timeit.repeat(call, number=number, repeat=7)) / number * 1e6


def load(installed: Installed, body: bytes, *, callers: int, seconds: float = 4.0) -> tuple[list[float], float]:
    """Returns the latencies and the server's CPU seconds a request."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {"authority": f"{folder}/ca.pem", "body": f"{folder}/body.json"}
        Path(paths["authority"]).write_bytes(installed.webhook.authority_pem)
        Path(paths["body"]).write_bytes(body)
        options = {**paths, "port": installed.webhook.port, "callers": callers, "seconds": seconds}
        before = _cpu(installed)
        command = [sys.executable, str(ROOT / "bench" / "load.py"), orjson.dumps(options).decode()]
        done = subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        spent = _cpu(installed) - before
    seen = orjson.loads(done.stdout)
    return seen, spent / len(seen)


def _cpu(installed: Installed) -> float:
    """Returns user and system seconds of the webhook process."""
    fields = Path(f"/proc/{_pid(installed)}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _resident(installed: Installed) -> float:
    """Returns the webhook's resident memory in MB."""
    lines = Path(f"/proc/{_pid(installed)}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1000


def _pid(installed: Installed) -> int:
    process = installed.webhook.process
    if process is None:
        raise RuntimeError("the webhook does not run")
    return process.pid


def quantile(values: list[float], share: float) -> float:
    """Returns a quantile in milliseconds."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def process_figures(installed: Installed) -> list[Figure]:
    """The webhook process over TLS keep-alive."""
    make_runtime(installed.plane, NAMESPACE, "weather")
    body = review(pod(NAMESPACE))
    load(installed, body, callers=4, seconds=2)
    alone, _ = load(installed, body, callers=1)
    many, cpu = load(installed, body, callers=16)
    large, _ = load(installed, review(pod(NAMESPACE, variables=2000, padding=0)), callers=4)
    untriggered = pod(NAMESPACE, label=False)
    untriggered["metadata"]["name"] = "nobody"
    miss, _ = load(installed, review(untriggered), callers=1, seconds=2)
    return [
        Figure(
            "reviews per second and core (16 connections, by CPU time)",
            f"{1 / cpu:.0f}",
            "≥ 3,000",
            f"{1 / cpu / 249:.1f} × Go's 249/s",
        ),
        Figure(
            "latency, one caller",
            f"{quantile(alone, 0.5):.2f} ms median, {quantile(alone, 0.99):.2f} ms p99",
            "≤ 0.5 ms median",
        ),
        Figure("latency, 16 callers", f"{quantile(many, 0.5):.2f} ms median, {quantile(many, 0.99):.2f} ms p99", ""),
        Figure("latency at 2,000 env vars, 4 callers", f"{quantile(large, 0.99):.2f} ms p99", "≤ 5 ms p99"),
        Figure("pod without trigger, strict (one LIST)", f"{quantile(miss, 0.5):.2f} ms median", "≤ 3 ms median"),
    ]


def scale(
    plane: ControlPlane, folder: Path, sizes: list[int]
) -> tuple[list[Figure], list[tuple[int, float, float, float]]]:
    """Latency, memory and time to ready with more and more AgentRuntimes."""
    figures, points, made = [], [], 0
    for size in sizes:
        say(f"{size} AgentRuntimes in {max(1, size // 10)} namespaces …")
        make_runtimes(plane, made, size, say=say)
        made = size
        installed = Installed(plane, Options(consistency="strict"), folder=folder / str(size))
        start = time.monotonic()
        installed.webhook.start()
        ready = time.monotonic() - start
        installed.start_registered()
        hit = pod("scale-0", label=False)
        hit["metadata"]["name"] = "agent-0"
        alone, _ = load(installed, review(hit), callers=1, seconds=2)
        point = (size, quantile(alone, 0.5), _resident(installed), ready)
        points.append(point)
        figures.append(
            Figure(
                f"index hit with {size} AgentRuntimes",
                f"{point[1]:.2f} ms median, {point[2]:.0f} MB, ready in {ready:.1f} s",
                "flat; ≤ 150 MB; ≤ 2 s",
                f"{point[1] / points[0][1]:.2f} × {sizes[0]} AgentRuntimes",
            )
        )
        installed.stop()
    return figures, points


def create_figures(installed: Installed) -> list[Figure]:
    """What the webhook adds to a create at the API server, against the same creates without it."""
    figures = []
    make_runtime(installed.plane, NAMESPACE, "hit")
    for concurrent, name, what in (
        (1, "hit", "index hit"),
        (50, "hit", "index hit"),
        (500, "hit", "index hit"),
        (500, "miss", "strict LIST"),
    ):
        say(f"{concurrent} concurrent creates ({what}), with and without the webhook …")
        found = asyncio.run(creates(installed.plane, NAMESPACE, concurrent=concurrent, name=name))
        value = f"{quantile(found.with_webhook, 0.5):.1f} ms median, {quantile(found.with_webhook, 0.99):.1f} ms p99"
        refused = f", {found.refused} of {len(found.with_webhook)} told to try again" if found.refused else ""
        bare = f"{quantile(found.without, 0.5):.1f} ms median, {quantile(found.without, 0.99):.1f} ms p99"
        figures.append(
            Figure(f"create of a pod, {concurrent} at once, {what}", value + refused, "", f"without the webhook {bare}")
        )
    seen = webhook_metrics(installed.plane)
    figures.append(Figure("the API server's own measure of our webhook (mean over this run)", seen, ""))
    return figures


def table(figures: list[Figure]) -> str:
    """Returns the figures as Markdown, with the conditions."""
    lines = ["| Figure | Measured | Target | Against |", "|---|---|---|---|"]
    lines += [f"| {figure.what} | {figure.value} | {figure.target} | {figure.baseline} |" for figure in figures]
    when = datetime.datetime.now(datetime.UTC).date()
    lines += [
        "",
        f"Measured {when} by `make bench` on {os.cpu_count()} shared cores, CPython {platform.python_version()}; API server, etcd, webhook and load on the same machine.",
    ]
    return "\n".join(lines) + "\n"


def plot(points: list[tuple[int, float, float, float]]) -> None:
    """Writes the plot of latency and memory over the number of AgentRuntimes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2))
    sizes = [point[0] for point in points]
    left.plot(sizes, [point[1] for point in points], marker="o")
    left.set(xscale="log", ylim=(0, None), xlabel="AgentRuntimes", ylabel="ms, median", title="index hit, one caller")
    right.plot(sizes, [point[2] for point in points], marker="o", color="tab:orange")
    right.set(xscale="log", ylim=(0, None), xlabel="AgentRuntimes", ylabel="MB resident", title="memory of the webhook")
    figure.tight_layout()
    figure.savefig(OUTPUT / "admission.png", dpi=110)


def publish(text: str) -> None:
    """Writes the table to docs/figures and into the README between its marks."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "admission.md").write_text(text)
    readme = ROOT / "README.md"
    head, _, rest = readme.read_text().partition("<!-- figures:begin -->")
    _, _, tail = rest.partition("<!-- figures:end -->")
    picture = "\n![admission over the number of AgentRuntimes](docs/figures/admission.png)\n"
    readme.write_text(f"{head}<!-- figures:begin -->\n{text}{picture}<!-- figures:end -->{tail}")


def main() -> None:
    """Measures everything, prints the table, writes table and plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10 and 1,000 AgentRuntimes only")
    arguments = parser.parse_args()
    say("the pure function …")
    figures = pure_function()
    with tempfile.TemporaryDirectory() as name, ControlPlane() as plane:
        api = ApiClient(plane)
        api.create(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": NAMESPACE, "labels": {"kagenti.io/enrolled": "true"}},
            }
        )
        installed = Installed(plane, Options(), folder=Path(name))
        installed.start()
        say("the process over TLS …")
        figures += process_figures(installed)
        figures += create_figures(installed)
        installed.stop()
        more, points = scale(plane, Path(name), [10, 1000] if arguments.quick else [10, 1000, 10000])
        figures += more
    text = table(figures)
    publish(text)
    plot(points)
    print("\n" + text)


START = time.monotonic()
if __name__ == "__main__":
    main()
