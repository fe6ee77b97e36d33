"""A thousand AgentCards with syncPeriod 30s: how evenly they are fetched, what that costs, and what is written.

The operator is the real process on a real API server; the agents are one server, which answers on a loopback address of
each pod, half of them with an ETag. ``--quick`` is a tenth of it, and publishes nothing.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.e2e.api_client import ApiClient  # the path above comes first
from tests.e2e.cards.agents import NETWORKS
from tests.e2e.installed import RELEASE_NAMESPACE
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.processes import Process
from tests.e2e.plane.waiting import wait_until

from bench.creates import _many
from bench.figures import OUTPUT, Figure, table

JSON = Any  # objects
CONDITIONS = "API server, etcd, agents and operator on the same machine."
PORT = 8081
PERIOD = 30.0
NAMESPACES = 10
TICKS = os.sysconf("SC_CLK_TCK")
READY = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]


def say(text: str) -> None:
    """Says what is being measured."""
    print(f"[{time.monotonic() - START:6.1f} s] {text}", flush=True)


def address(number: int) -> str:
    """Returns the loopback address of a pod."""
    return f"127.90.{number // 200}.{number % 200 + 1}"


def pod(number: int, namespace: str) -> JSON:
    """Returns a pod of an agent."""
    container = {"name": "agent", "image": "example.test/agent:1", "ports": [{"containerPort": PORT}]}
    metadata = {
        "name": f"a{number}",
        "namespace": namespace,
        "labels": {"app": f"a{number}", "kagenti.io/type": "agent"},
    }
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {"containers": [container], "automountServiceAccountToken": False, "nodeName": "node"},
    }  # fmt: skip


def card(number: int, namespace: str) -> JSON:
    """Returns its AgentCard."""
    selector = {"matchLabels": {"kagenti.io/type": "agent", "app": f"a{number}"}}
    return {
        "apiVersion": "kagenti.io/v1alpha1", "kind": "AgentCard", "metadata": {"name": f"a{number}", "namespace": namespace},
        "spec": {"selector": selector, "syncPeriod": "30s"},
    }  # fmt: skip


def populate(plane: ControlPlane, count: int) -> None:
    """Makes the pods, ready at their addresses, and then the cards."""
    api = ApiClient(plane)
    for number in range(NAMESPACES):
        plane.kubectl("create", "namespace", f"team{number}")
        plane.kubectl("create", "serviceaccount", "default", "-n", f"team{number}")
    places = [(number, f"team{number % NAMESPACES}") for number in range(count)]
    posts = [(f"/api/v1/namespaces/{namespace}/pods", pod(number, namespace)) for number, namespace in places]
    asyncio.run(_many(plane, posts, concurrent=8))
    for number, namespace in places:
        ip = address(number)
        status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "10.0.0.1", "conditions": READY}
        done = api.request("PATCH", f"/api/v1/namespaces/{namespace}/pods/a{number}/status", {"status": status})
        if not done.ok:
            raise RuntimeError(done.message)
    base = "/apis/kagenti.io/v1alpha1/namespaces"
    asyncio.run(_many(plane, [(f"{base}/{ns}/agentcards", card(n, ns)) for n, ns in places], concurrent=8))
    api.close()


def cards(plane: ControlPlane) -> list[JSON]:
    """Returns all AgentCards."""
    return list(orjson.loads(plane.kubectl("get", "--raw", "/apis/kagenti.io/v1alpha1/agentcards"))["items"])


def synced(plane: ControlPlane) -> int:
    """Returns the number of cards that are synced."""
    return sum(1 for one in cards(plane) for found in one.get("status", {}).get("conditions", ())
               if (found["type"], found["status"]) == ("Synced", "True"))  # fmt: skip


def spent(process: Process) -> float:
    """Returns user and system seconds of a process."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(process: Process) -> float:
    """Returns its resident memory in MB."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1000


def window(log: Path, begin: float, end: float) -> list[tuple[float, bool]]:
    """Returns the fetches between two moments: when, and whether nothing had changed by the ETag."""
    rows = [line.split() for line in log.read_text().splitlines()]
    return [(float(when), unchanged == "1") for when, _, unchanged in rows if begin <= float(when) < end]


def measure(plane: ControlPlane, count: int, folder: Path) -> tuple[list[Figure], list[int]]:
    """Measures three periods of a fleet that does not change; returns the figures and the fetches of each second."""
    log = folder / "agents.log"
    agents = Process(
        "agents", [sys.executable, str(ROOT / "bench" / "agents.py"), str(PORT), str(log)], log=folder / "a"
    )
    words = [sys.executable, "-m", "kagenti", "operator", "--identity", "bench", "--kubeconfig", str(plane.kubeconfig)]
    words += ["--host", "127.0.0.1", "--status-port", "0", "--pod-networks", NETWORKS]
    operator = Process("operator", words, log=folder / "operator.log")
    try:
        begun = time.monotonic()
        wait_until(lambda: (operator.check(), synced(plane) == count)[1], 120, lambda: f"{synced(plane)} of {count}")
        first = time.monotonic() - begun
        say(f"all {count} synced after {first:.1f} s; one period of settling, three of measuring")
        time.sleep(PERIOD)
        versions = {one["metadata"]["uid"]: one["metadata"]["resourceVersion"] for one in cards(plane)}
        begin, before, start = time.time(), spent(operator), time.monotonic()
        time.sleep(3 * PERIOD)
        share = (spent(operator) - before) / (time.monotonic() - start)
        found = window(log, begin, begin + 3 * PERIOD)
        written = sum(
            1 for one in cards(plane) if versions[one["metadata"]["uid"]] != one["metadata"]["resourceVersion"]
        )
        memory = resident(operator)
    finally:
        operator.stop()
        agents.stop()
    return figures(count, found, begin, share=share, written=written, memory=memory, first=first)


def figures(
    count: int,
    found: list[tuple[float, bool]],
    begin: float,
    *,
    share: float,
    written: int,
    memory: float,
    first: float,
) -> tuple[list[Figure], list[int]]:
    """Returns the rows, and the fetches of each second."""
    tally = Counter(int(when - begin) for when, _ in found)
    seconds = [tally[second] for second in range(int(3 * PERIOD))]
    mean, even = statistics.mean(seconds), count / PERIOD
    most, spread = max(seconds), statistics.pstdev(seconds)
    tagged = sum(unchanged for _, unchanged in found) / max(len(found), 1)
    by_chance = even**0.5  # the deviation of a Poisson process: fetches at times of their own, thrown once
    rows = [
        Figure("first status of all cards, after the process began", f"{first:.1f} s"),
        Figure("fetches a second", f"{mean:.1f}", f"{even:.1f} (cards / period)", abs(mean - even) <= 0.05 * even,
               f"{tagged:.0%} answered 304"),
        Figure("most fetches in any second", f"{most}", "≤ 2 × mean", most <= 2 * even, f"all at once would be {count}"),
        Figure("deviation of fetches a second", f"{spread:.1f}", "≤ 1.5 × chance's", spread <= 1.5 * by_chance,
               f"{by_chance:.1f} where each card's time is thrown once"),
        Figure("processor of the operator", f"{share:.1%} of one core", "≤ 10 %", share <= 0.1,
               f"{share / mean * 1000:.2f} ms a fetch"),
        Figure("AgentCards written in three periods", f"{written}", "0", written == 0, f"{len(found)} fetches"),
        Figure("resident memory", f"{memory:.0f} MB"),
    ]  # fmt: skip
    return rows, seconds


def publish(rows: list[Figure], seconds: list[int]) -> None:
    """Writes the table and the picture to docs/figures."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    (OUTPUT / "cards.md").write_text(table(rows, CONDITIONS))
    figure, axes = pyplot.subplots(figsize=(9, 2.6))
    axes.bar(range(len(seconds)), seconds, width=1.0)
    axes.axhline(statistics.mean(seconds), color="tab:orange")
    axes.set(xlabel="second", ylabel="fetches", title="1,000 AgentCards, syncPeriod 30s: fetches in each second")
    figure.tight_layout()
    figure.savefig(OUTPUT / "cards.png", dpi=110)


def main() -> None:
    """Measures and prints; publishes the whole run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the cards; nothing is published")
    quick = parser.parse_args().quick
    count = 100 if quick else 1000
    with tempfile.TemporaryDirectory() as folder, ControlPlane(controllers=False) as plane:
        plane.kubectl("apply", "--server-side", "-f", str(ROOT / "generated" / "crds"))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
        plane.kubectl("create", "namespace", RELEASE_NAMESPACE)
        say(f"making {count} pods and AgentCards")
        populate(plane, count)
        rows, seconds = measure(plane, count, Path(folder))
    print(table(rows, CONDITIONS))
    if not quick:
        publish(rows, seconds)


START = time.monotonic()
if __name__ == "__main__":
    main()
