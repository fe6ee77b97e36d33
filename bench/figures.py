"""Measured figures: one row each, held against its target; the table, the plot, and where they are published."""

import datetime
import os
import platform
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "docs" / "figures"


@dataclass(frozen=True)
class Figure:
    """One row: what, how much, the target with whether it is held (None: no target), and what it is compared with."""

    what: str
    value: str
    target: str = ""
    held: bool | None = None
    against: str = ""


@dataclass(frozen=True)
class Point:
    """One size of the fleet: latency in ms, resident memory in MB, seconds to ready, longest GC pause in ms and their number."""

    size: int
    latency: float
    memory: float
    ready: float
    pause: float
    pauses: int


def quantile(values: list[float], share: float) -> float:
    """Returns a quantile of seconds in milliseconds."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def verdict(figures: list[Figure]) -> str:
    """Returns in one sentence how many targets are held, and which are not."""
    judged = [figure for figure in figures if figure.held is not None]
    missed = [f"{figure.what} ({figure.value}, target {figure.target})" for figure in judged if not figure.held]
    text = f"**{len(judged) - len(missed)} of {len(judged)} targets held on this machine.**"
    return text + (f" Not held: {'; '.join(missed)}." if missed else "")


def table(figures: list[Figure]) -> str:
    """Returns the figures as Markdown, with the verdict and the conditions."""
    words = {True: "yes", False: "**no**", None: "–"}
    lines = [verdict(figures), "", "| Figure | Measured | Target | Held | Against |", "|---|---|---|---|---|"]
    lines += [
        f"| {figure.what} | {figure.value} | {figure.target or '–'} | {words[figure.held]} | {figure.against} |"
        for figure in figures
    ]
    when = datetime.datetime.now(datetime.UTC).date()
    lines += [
        "",
        f"Measured {when} by `make bench` on {os.cpu_count()} shared cores, CPython {platform.python_version()}; API server, "
        "etcd, webhook and load on the same machine, so that latency under many callers is mostly waiting for a core.",
    ]
    return "\n".join(lines) + "\n"


def plot(points: list[Point]) -> None:
    """Writes the plot of latency and memory over the number of AgentRuntimes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2))
    sizes = [point.size for point in points]
    left.plot(sizes, [point.latency for point in points], marker="o")
    left.set(xscale="log", ylim=(0, None), xlabel="AgentRuntimes", ylabel="ms, median", title="index hit, one caller")
    right.plot(sizes, [point.memory for point in points], marker="o", color="tab:orange")
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
