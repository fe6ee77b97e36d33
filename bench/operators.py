"""The operator with thousands of AgentRuntimes: first statuses, a change for all, a leader that is killed, and silence.

The operator is the real process on a real API server without controllers; the targets do not exist, so that the figures are
those of watching, planning and writing. What pods cost is measured by the e2e suite. ``--quick`` is a tenth of it, and
publishes nothing.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.e2e.installed import RELEASE_NAMESPACE  # the path above comes first
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.ports import free_port  # the path above comes first
from tests.e2e.plane.processes import Process

from bench.bulk import Request, send
from bench.cards import resident, spent
from bench.creates import ENROLLED, runtime_for
from bench.figures import OUTPUT, Figure, table

JSON = Any  # objects

CONDITIONS = "API server, etcd and operators on the same machine; the targets of the AgentRuntimes do not exist."
NAMESPACES = 20
CONFIG = "/apis/kagenti.io/v1alpha1/agentruntimeclusterconfigs"
WRITTEN = 'kagenti_operator_status_writes_total{what="applied"}'
QUEUE, LEADING = "kagenti_operator_queue", "kagenti_operator_leading"
LOOKED_AT = 'kagenti_operator_reconciles_total{outcome="unchanged"}'
STILL = 20.0  # seconds of silence that are measured
LOOK = 0.1  # seconds between two looks at /metrics, each of which costs the operator some milliseconds


def say(text: str) -> None:
    """Says what is being measured."""
    print(f"[{time.monotonic() - START:6.1f} s] {text}", flush=True)


class Replica:
    """One operator process."""

    def __init__(self, plane: ControlPlane, name: str, folder: Path) -> None:
        self._port = free_port()
        words = [sys.executable, "-m", "kagenti", "operator", "--identity", name, "--host", "127.0.0.1"]
        words += ["--kubeconfig", str(plane.kubeconfig), "--status-port", str(self._port)]
        self.process = Process(name, words, log=folder / f"{name}.log")

    def metrics(self) -> dict[str, float]:
        """Returns every sample; nothing while the process does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except (urllib.error.URLError, OSError):
            return {}
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}

    def until(self, holds: Callable[[dict[str, float]], bool], *, within: float = 300) -> float:
        """Returns the seconds until its metrics are so."""
        begun = time.monotonic()
        while not holds(self.metrics()):
            self.process.check()
            if time.monotonic() - begun > within:
                raise TimeoutError(f"{self.process.name}: {self.metrics()}")
            time.sleep(LOOK)
        return time.monotonic() - begun

    def kill(self) -> None:
        """Ends it as a crash would."""
        self.process.stop(lambda popen: popen.send_signal(signal.SIGKILL))


def done(count: int) -> Callable[[dict[str, float]], bool]:
    """Whether so many statuses have been written, and none is to be."""
    return lambda read: read.get(WRITTEN, 0) >= count and read.get(QUEUE) == 0


def idle(count: int) -> Callable[[dict[str, float]], bool]:
    """Whether so many objects have been looked at, and none is to be."""
    return lambda read: read.get(LOOKED_AT, 0) + read.get(WRITTEN, 0) >= count and read.get(QUEUE) == 0


def change(plane: ControlPlane, rate: float) -> None:
    """Changes a setting of every workload."""
    body = {"trace": {"sampling": {"rate": rate}}}
    manifest = {
        "apiVersion": "kagenti.io/v1alpha1",
        "kind": "AgentRuntimeClusterConfig",
        "metadata": {"name": "default"},
    }
    send(plane, [Request("POST", CONFIG, {**manifest, "spec": body})])
    send(plane, [Request("PATCH", f"{CONFIG}/default", {"spec": body})])


@contextmanager
def replicas(plane: ControlPlane, folder: Path) -> Iterator[Callable[[str], Replica]]:
    """Makes replicas; ended afterwards."""
    made: list[Replica] = []

    def make(name: str) -> Replica:
        made.append(Replica(plane, name, folder))
        return made[-1]

    yield make
    for replica in made:
        replica.process.stop(subprocess.Popen.kill)


def populate(plane: ControlPlane, count: int) -> None:
    """Makes the namespaces and the AgentRuntimes."""
    spaces = [{"metadata": {"name": f"team{number}", "labels": ENROLLED}} for number in range(NAMESPACES)]
    send(
        plane,
        [Request("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", **one}) for one in spaces],
    )
    path = "/apis/kagenti.io/v1alpha1/namespaces/team{}/agentruntimes"
    send(plane, [Request("POST", path.format(n % NAMESPACES), runtime_for(f"agent-{n}")) for n in range(count)])


def measure(plane: ControlPlane, count: int, make: Callable[[str], Replica]) -> list[Figure]:
    """Measures the life of three leaders."""
    first = make("kagenti-operator-a")
    begun = first.until(done(count))
    say(f"{count} first statuses after {begun:.1f} s")
    change(plane, 0.2)
    changed = first.until(done(2 * count))
    say(f"changed after {changed:.1f} s; silence")
    time.sleep(2)
    before, cpu = first.metrics().get(WRITTEN, 0), spent(first.process)
    time.sleep(STILL)
    cpu, memory = (spent(first.process) - cpu) / STILL, resident(first.process)
    still = first.metrics().get(WRITTEN, 0) - before
    second = make("kagenti-operator-b")
    second.until(lambda read: QUEUE in read)
    time.sleep(2)
    first.kill()
    taken, moment = second.until(lambda read: read.get(LEADING) == 1), time.monotonic()
    settled = taken + second.until(idle(count))
    rewritten = second.metrics().get(WRITTEN, 0)
    say(
        f"taken over after {taken:.1f} s, all looked at after {settled:.1f} s, {time.monotonic() - moment:.1f} s of work"
    )
    third = make("kagenti-operator-c")
    third.until(lambda read: QUEUE in read)
    time.sleep(2)
    change(plane, 0.3)
    second.until(lambda read: read.get(WRITTEN, 0) - rewritten > count / 10)
    second.kill()
    finished = third.until(lambda read: read.get(LEADING) == 1)
    finished += third.until(idle(count))
    say(f"killed in the middle of a change: finished after {finished:.1f} s")
    per = changed / count * 1000
    return [
        Figure(f"first status of {count:,} AgentRuntimes, after the process began", f"{begun:.1f} s"),
        Figure(
            f"a change of the cluster's config → all {count:,} statuses",
            f"{changed:.1f} s",
            against=f"{per:.1f} ms each",
        ),
        Figure("leader killed → another leads", f"{taken:.1f} s", "≤ 15 s", taken <= 15, "the Lease alone is 8 s"),
        Figure(f"leader killed → all {count:,} looked at by the next", f"{settled:.1f} s", "≤ 15 s", settled <= 15),
        Figure("statuses that a change of leader writes", f"{rewritten:.0f}", "0", rewritten == 0),
        Figure(
            "leader killed in the middle of a change → finished", f"{finished:.1f} s", against="with the writes left"
        ),
        Figure("processor in silence", f"{cpu:.1%} of one core", "≤ 10 %", cpu <= 0.1),
        Figure("statuses written in silence", f"{still:.0f}", "0", still == 0),
        Figure("resident memory of the leader", f"{memory:.0f} MB"),
    ]


def main() -> None:
    """Measures and prints; publishes the whole run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the AgentRuntimes; nothing is published")
    parser.add_argument("--count", type=int, default=0, help="so many AgentRuntimes; nothing is published")
    given = parser.parse_args()
    count = given.count or (200 if given.quick else 2000)
    with tempfile.TemporaryDirectory() as folder, ControlPlane(controllers=False) as plane:
        plane.kubectl("apply", "--server-side", "-f", str(ROOT / "generated" / "crds"))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
        plane.kubectl("create", "namespace", RELEASE_NAMESPACE)
        say(f"making {count} AgentRuntimes")
        populate(plane, count)
        with replicas(plane, Path(folder)) as make:
            text = table(measure(plane, count, make), CONDITIONS)
    print(text)
    if not (given.quick or given.count):
        (OUTPUT / "operators.md").write_text(text)


START = time.monotonic()
if __name__ == "__main__":
    main()
