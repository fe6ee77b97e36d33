"""What the command line costs from the shell: a new process each time, as a person starts it."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.figures import ROOT, Figure

RUNS = 7
KAGENTI = str(Path(sys.executable).parent / "kagenti")


def _seconds(*arguments: str) -> float:
    """Returns the median of some runs; the first one, which fills the caches of files, does not count."""
    seen = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run([KAGENTI, *arguments], check=True, capture_output=True, cwd=ROOT)
        seen.append(time.perf_counter() - start)
    return statistics.median(seen[1:])


def command_figures() -> list[Figure]:
    """Help, and the injection of one file."""
    bare = statistics.median(_bare() for _ in range(RUNS))
    figures = []
    for what, most, arguments in (
        ("`kagenti --help`", 0.3, ("--help",)),
        ("`kagenti inject` of one file", 0.6, ("inject", "-f", "examples/weather-agent-label.yaml")),
    ):
        seconds = _seconds(*arguments)
        against = f"{seconds / bare:.0f} × an interpreter that does nothing"
        figures.append(Figure(what, f"{seconds:.2f} s median", f"≤ {most} s", seconds <= most, against))
    return figures


def _bare() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", ""], check=True)
    return time.perf_counter() - start
