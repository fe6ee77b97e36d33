"""The running webhook, watched from outside: load over TLS, processor time, memory, pauses of its garbage collector."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson
from tests.e2e.installed import Installed, Options
from tests.e2e.plane.control_plane import ControlPlane

from bench.figures import ROOT

TICKS = os.sysconf("SC_CLK_TCK")
PAUSES = "pauses.log"


def watched(plane: ControlPlane, folder: Path) -> Installed:
    """Returns an installation, not started, whose webhook notes its garbage collector's pauses."""
    folder.mkdir(parents=True, exist_ok=True)
    noting = (("PYTHONPATH", str(ROOT / "bench" / "probe")), ("KAGENTI_BENCH_PAUSES", str(folder / PAUSES)))
    return Installed(plane, Options(environment=noting), folder=folder)


def pauses(installed: Installed, since: float) -> list[float]:
    """Returns the collector's pauses after a moment (seconds since the epoch), in ms.

    The webhook collects once before it is ready: a file without a line means that nothing was noted at all.
    """
    rows = [line.split() for line in (installed.folder / PAUSES).read_text().splitlines()]
    if not rows:
        raise RuntimeError("the webhook noted no pause, not even that of its start")
    return [float(pause) * 1000 for at, pause, _ in rows if float(at) >= since]


def load(installed: Installed, body: bytes, *, callers: int, seconds: float = 4.0) -> tuple[list[float], float]:
    """Returns the latencies and the server's CPU seconds a request."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {"authority": f"{folder}/ca.pem", "body": f"{folder}/body.json"}
        Path(paths["authority"]).write_bytes(installed.webhook.authority_pem)
        Path(paths["body"]).write_bytes(body)
        options = {**paths, "port": installed.webhook.port, "callers": callers, "seconds": seconds}
        before = processor_seconds(webhook_pid(installed))
        command = [sys.executable, str(ROOT / "bench" / "load.py"), orjson.dumps(options).decode()]
        done = subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        spent = processor_seconds(webhook_pid(installed)) - before
    seen = orjson.loads(done.stdout)
    return seen, spent / len(seen)


def processor_seconds(pid: int) -> float:
    """Returns user and system seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> float:
    """Returns the resident memory of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1000


def webhook_pid(installed: Installed) -> int:
    """Returns the pid of the running webhook."""
    process = installed.webhook.process
    if process is None:
        raise RuntimeError("the webhook does not run")
    return process.pid
