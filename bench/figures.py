"""Measured figures: one row each, held against its target; the table, the plot, and where they are published."""

import datetime
import os
import platform
from collections.abc import Sequence
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


def table(figures: list[Figure], conditions: str) -> str:
    """Returns the figures as Markdown, with the verdict and the conditions: when, where, and what shared the machine."""
    words = {True: "yes", False: "**no**", None: "–"}
    lines = [verdict(figures), "", "| Figure | Measured | Target | Held | Against |", "|---|---|---|---|---|"]
    lines += [
        f"| {figure.what} | {figure.value} | {figure.target or '–'} | {words[figure.held]} | {figure.against} |"
        for figure in figures
    ]
    when = datetime.datetime.now(datetime.UTC).date()
    where = f"{os.cpu_count()} shared cores, CPython {platform.python_version()}"
    lines += ["", f"Measured {when} by `make bench` on {where}; {conditions}"]
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


def publish(name: str, text: str, *, picture: str, pages: Sequence[str] = ("README.md",)) -> None:
    """Writes the table to docs/figures and, with its plot, into each page between the marks of that name."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / f"{name}.md").write_text(text)
    begin, end = f"<!-- figures:{name}:begin -->\n", f"<!-- figures:{name}:end -->"
    for page in map(ROOT.joinpath, pages):
        head, found, rest = page.read_text().partition(begin)
        if not found:
            raise RuntimeError(f"{page} has no line {begin.strip()!r} after which the figures are to stand")
        _, _, tail = rest.partition(end)
        plot = os.path.relpath(OUTPUT / f"{name}.png", page.parent)
        page.write_text(f"{head}{begin}{text}\n![{picture}]({plot})\n{end}{tail}")
