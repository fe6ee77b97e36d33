"""The benches run: at tiny size, so that they cannot rot; what they measure is nobody's judgement here."""

import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.pod_runner import permitted

ROOT = Path(__file__).resolve().parents[2]


def test_the_xds_bench_measures_everything() -> None:
    """A row for each question, with real Envoys where a network namespace can be made; nothing is published."""
    before = (ROOT / "README.md").read_bytes()
    command = [sys.executable, "-m", "bench.xds", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in done.stdout.splitlines() if line.startswith("| ")]
    streams = "connect storm", "write → all ACKed", "CPU a stream", "resident memory a stream", "20 streams back after"
    envoys = "change → ACK in the server", "write → another answer", "failed requests in", "1 real Envoy back after"
    wanted = streams if permitted() and os.environ.get("CI") != "true" else (*envoys, *streams)
    assert [start for start in wanted if not any(row.startswith(start) for row in rows)] == []
    assert (ROOT / "README.md").read_bytes() == before


def test_the_trigger_bench_measures_everything() -> None:
    """A row for each question, of one mode and of the controller that patches; nothing is published."""
    before = (ROOT / "docs" / "triggers.md").read_bytes()
    command = [sys.executable, "-m", "bench.triggers", "--quick", "--webhook", "cr"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    cells = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    table = {row[0]: row[1:] for row in cells}
    assert table["Figure"] == ["cr", "controller-based patching"]
    assert table["pods created bare, trigger first"][0] == "0 of 4"
    assert table["webhook calls for a pod without a trigger"] == ["1", "0"]
    assert (ROOT / "docs" / "triggers.md").read_bytes() == before
