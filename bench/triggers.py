"""Which trigger costs what: the three trigger modes beside a controller that patches Deployments after the fact.

Real control plane and controllers, KWOK instead of a kubelet: pods are Ready as soon as they are scheduled, so that every
figure is that of the trigger, not of images. A fleet of Deployments is applied twice: what triggers first, then the
workload; and, as Helm and GitOps tools sort, the workload first. ``--quick`` takes a small fleet and publishes nothing.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed, Options
from tests.e2e.operator_process import Operator
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.processes import Process
from tests.e2e.plane.waiting import wait_until

from bench.arrivals import Arrival, Arrivals
from bench.creates import ENROLLED, runtime_for
from bench.figures import OUTPUT, publish, quantile
from bench.fleet import CONTAINER

JSON = Any  # a raw object

MECHANISMS = ("label", "cr", "both", "patching")
"""The three modes of the webhook, and the controller-based baseline."""
TITLES = {"label": "label", "cr": "cr", "both": "both", "patching": "controller-based patching"}
ORDERS = ("trigger first", "workload first")
REPLICAS = 2
DEADLINE = 120.0
_WRITES = re.compile(
    r'^apiserver_request_total\{(?=[^}]*resource="(?:pods|replicasets|deployments|agentruntimes)")'
    r'(?=[^}]*subresource="(?:|eviction)")(?=[^}]*verb="(?:POST|PUT|PATCH|APPLY|DELETE)")[^}]*\} (\d+)$',
    re.MULTILINE,
)


@dataclass(frozen=True)
class Run:
    """One fleet applied in one order under one mechanism.

    ``first`` are the seconds from a workload's first object to its first injected Pod that is Ready, ``whole`` those until
    it has only such; ``bare_ready`` the seconds that pods without sidecars were Ready, all together.
    """

    workloads: int
    first: list[float]
    whole: list[float]
    created: int
    bare: int
    bare_ready: float
    writes: int

    @property
    def more_than_wanted(self) -> int:
        """Pods created beyond the replicas asked for: each of them is a restart of somebody's agent."""
        return self.created - self.workloads * REPLICAS


@dataclass
class Lab:
    """A plane with one mechanism at work."""

    plane: ControlPlane
    folder: Path
    runs: dict[tuple[str, str], Run] = field(default_factory=dict)
    creates: dict[tuple[str, str], float] = field(default_factory=dict)
    called: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.api = ApiClient(self.plane)

    def measure(self, mechanism: str, *, workloads: int, pods: int) -> None:
        """Measures everything of one mechanism."""
        with self._at_work(mechanism) as called:
            for order in ORDERS:
                say(f"{TITLES[mechanism]}: {workloads} workloads, {order} …")
                self.runs[mechanism, order] = self._run(mechanism, order, workloads)
            for what in ("triggered", "plain"):
                before = called()
                self.creates[mechanism, what] = self._created(mechanism, what, pods)
                if what == "plain":
                    self.called[mechanism] = (called() - before) / pods

    @contextmanager
    def _at_work(self, mechanism: str) -> Iterator[Callable[[], float]]:
        """Runs a mechanism; gives a look at how many pods the webhook was asked about."""
        folder = self.folder / mechanism
        if mechanism == "patching":
            command = [sys.executable, "-m", "bench.patching", str(self.plane.kubeconfig)]
            process = Process("patching", command, log=self.folder / "patching.log")
            try:
                yield lambda: 0.0
                process.check()
            finally:
                process.stop(subprocess.Popen.terminate)
            return
        installed = Installed(self.plane, Options(mode=mechanism), folder=folder)
        installed.start()
        operator = Operator(installed)
        try:
            operator.start()
            yield lambda: _asked(installed)
        finally:
            operator.stop()
            installed.stop()

    def _run(self, mechanism: str, order: str, workloads: int) -> Run:
        namespace = f"{mechanism}-{order.replace(' ', '-')}"
        self._namespace(namespace)
        begun: dict[str, float] = {}
        names = [f"agent-{number}" for number in range(workloads)]
        before = self._writes()
        with Arrivals(self.plane, namespace) as arrivals:
            for name in names:
                begun[name] = time.monotonic()
                for path, body in self._objects(mechanism, order, namespace, name):
                    answer = self.api.request("POST", path, body)
                    if not answer.ok:
                        raise RuntimeError(answer.message)
            whole = self._settled(arrivals, names)
            end = time.monotonic()
            writes = self._writes() - before - len(begun) * (1 if mechanism == "label" else 2)
            pods = list(arrivals.pods.values())
        self.api.request("DELETE", f"/api/v1/namespaces/{namespace}")
        return Run(
            workloads,
            first=[_first(pods, name) - begun[name] for name in names],
            whole=[whole[name] - begun[name] for name in names],
            created=len(pods),
            bare=sum(not pod.injected for pod in pods),
            bare_ready=sum(pod.ready_for(end) for pod in pods if not pod.injected),
            writes=writes,
        )

    def _settled(self, arrivals: Arrivals, names: list[str]) -> dict[str, float]:
        """Waits until each workload has only injected, Ready pods; returns when that was."""
        whole: dict[str, float] = {}

        def all_whole() -> bool:
            now = time.monotonic()
            for name in names:
                if not arrivals.whole(name, REPLICAS):
                    whole.pop(name, None)  # a roll-out goes on
                else:
                    whole.setdefault(name, now)
            return len(whole) == len(names) and now - max(whole.values()) > QUIET

        wait_until(all_whole, DEADLINE, lambda: f"only {len(whole)} of {len(names)} workloads are injected")
        return whole

    def _objects(self, mechanism: str, order: str, namespace: str, name: str) -> list[tuple[str, JSON]]:
        """What a team applies for one agent, in that order."""
        labels = {"app": name, **({"kagenti.io/inject": "enabled"} if mechanism == "label" else {})}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [CONTAINER]}}
        spec = {"replicas": REPLICAS, "selector": {"matchLabels": {"app": name}}, "template": template}
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
        workload = (f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment)
        if mechanism == "label":
            return [workload]
        runtime = (f"/apis/kagenti.io/v1alpha1/namespaces/{namespace}/agentruntimes", runtime_for(name))
        return [runtime, workload] if order == "trigger first" else [workload, runtime]

    def _created(self, mechanism: str, what: str, pods: int) -> float:
        """Returns the median seconds of creating a standalone pod, triggered or plain, as a dry run."""
        namespace = f"{mechanism}-creates"
        self._namespace(namespace)
        labels = {"kagenti.io/inject": "enabled"} if what == "triggered" and mechanism in ("label", "both") else {}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": what, "labels": labels}}
        pod["spec"] = {"containers": [CONTAINER]}
        if what == "triggered" and mechanism == "cr":
            target = {"targetRef": {"apiVersion": "v1", "kind": "Pod", "name": what}}
            runtime = {**runtime_for(what), "spec": target}
            self.api.request("POST", f"/apis/kagenti.io/v1alpha1/namespaces/{namespace}/agentruntimes", runtime)
        seen = []
        for number in range(pods + WARM):
            start = time.perf_counter()
            answer = self.api.request("POST", f"/api/v1/namespaces/{namespace}/pods", pod, dryRun="All")
            if not answer.ok:
                raise RuntimeError(answer.message)
            if number >= WARM:
                seen.append(time.perf_counter() - start)
        return statistics.median(seen)

    def _namespace(self, name: str) -> None:
        """Makes an enrolled namespace whose pods may be created."""
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": ENROLLED}})
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        wait_until(lambda: self.api.request("GET", account).ok, 20, lambda: f"no default account in {name}")

    def _writes(self) -> int:
        """Returns how many writes of pods, their workloads and AgentRuntimes the API server has served, status apart."""
        return sum(map(int, _WRITES.findall(self.api.request("GET", "/metrics").message)))


WARM = 10  # creates that do not count
QUIET = 1.0  # seconds without a change after which a workload counts as whole


def _first(pods: list[Arrival], app: str) -> float:
    return min(pod.ready for pod in pods if pod.app == app and pod.injected and pod.ready is not None)


def _asked(installed: Installed) -> float:
    """Returns how many reviews of pods the webhook has answered."""
    text = installed.webhook.get("/metrics") or ""
    found = re.findall(r'^kagenti_webhook_decisions_total\{[^}]*entry="pods"[^}]*\} ([0-9.e+]+)$', text, re.MULTILINE)
    return sum(map(float, found))


def say(text: str) -> None:
    """Says what is being measured."""
    print(f"[{time.monotonic() - START:6.1f} s] {text}", flush=True)


def rows(lab: Lab) -> list[tuple[str, list[str]]]:
    """Returns the table: what, and a value for each mechanism."""
    found: list[tuple[str, list[str]]] = [
        ("workloads of the fleet", [str(lab.runs[mechanism, ORDERS[0]].workloads) for mechanism in MECHANISMS])
    ]
    for order in ORDERS:
        runs = [lab.runs[mechanism, order] for mechanism in MECHANISMS]
        found += [
            (f"apply → first injected pod Ready, {order}", [_spread(run.first) for run in runs]),
            (f"apply → injected pods only, {order}", [_spread(run.whole) for run in runs]),
            (f"pods created bare, {order}", [f"{run.bare} of {run.created}" for run in runs]),
            (f"time that bare pods were Ready, {order}", [f"{run.bare_ready:.1f} s" for run in runs]),
            (f"pods created again, {order}", [str(run.more_than_wanted) for run in runs]),
            (f"API writes beyond the team's own, {order}", [f"{run.writes / run.workloads:.1f} an agent" for run in runs]),
        ]  # fmt: skip
    floor = lab.creates["patching", "plain"]
    for what, title in (("triggered", "create of a pod that is injected"), ("plain", "create of a pod that is not")):
        values = [lab.creates[mechanism, what] for mechanism in MECHANISMS]
        found.append((f"{title}, one caller", [f"{value * 1000:.1f} ms ({_over(value, floor)})" for value in values]))
    found.append(("webhook calls for a pod without a trigger", [f"{lab.called[name]:.0f}" for name in MECHANISMS]))
    return found


def _over(value: float, floor: float) -> str:
    return f"{value / floor:.1f} ×"


def _spread(values: list[float]) -> str:
    return f"{quantile(values, 0.5) / 1000:.2f} s p50, {max(values):.2f} s at most"


def table(lab: Lab, *, workloads: int, load: float) -> str:
    """Returns the table as Markdown, with its conditions."""
    lines = [f"| Figure | {' | '.join(TITLES[name] for name in MECHANISMS)} |", "|---" * (len(MECHANISMS) + 1) + "|"]
    lines += [f"| {what} | {' | '.join(values)} |" for what, values in rows(lab)]
    when = time.strftime("%Y-%m-%d", time.gmtime())
    lines += [
        "",
        f"Measured {when} by `make bench BENCH=triggers` on {os.cpu_count()} shared cores, load average before the run "
        f"{load:.1f}: {workloads} Deployments of {REPLICAS} replicas in an enrolled namespace, applied one after the other; real "
        "API server and controllers, KWOK instead of a kubelet, so that no figure holds the time of images or containers. "
        "With cr and both an AgentRuntime triggers, with label the label; the operator runs beside the webhook and evicts bare "
        "pods of AgentRuntimes one by one (its default). Pods created again are roll-outs or evictions: restarts of an agent. "
        "× is against the same create without any webhook.",
    ]
    return "\n".join(lines) + "\n"


def plot(lab: Lab) -> None:
    """Writes the plot: when workloads had injected pods only, and how long bare pods served meanwhile."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(13, 3.6))
    for axis, order in zip(axes, ORDERS, strict=False):
        for mechanism in MECHANISMS:
            values = sorted(lab.runs[mechanism, order].whole)
            share = [(number + 1) / len(values) for number in range(len(values))]
            axis.plot(values, share, label=TITLES[mechanism], drawstyle="steps-post")
        axis.set(
            xscale="log", xlabel="s after apply", ylabel="share of workloads", title=f"injected pods only, {order}"
        )
        axis.legend(fontsize=7)
    width = 0.4
    for place, order in enumerate(ORDERS):
        heights = [lab.runs[mechanism, order].bare_ready for mechanism in MECHANISMS]
        axes[2].bar([number + place * width for number in range(len(MECHANISMS))], heights, width, label=order)
    axes[2].set_xticks([number + width / 2 for number in range(len(MECHANISMS))], MECHANISMS)
    axes[2].set(ylabel="s", title="time that bare pods were Ready, together")
    axes[2].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(OUTPUT / "triggers.png", dpi=110)


def main() -> None:
    """Measures, prints the table, and publishes table and plot unless the run was quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two workloads; nothing is published")
    quick = parser.parse_args().quick
    workloads, pods, load = (2, 10, os.getloadavg()[0]) if quick else (20, 200, os.getloadavg()[0])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plane = stack.enter_context(ControlPlane())
        lab = Lab(plane, folder)
        for mechanism in MECHANISMS:
            lab.measure(mechanism, workloads=workloads, pods=pods)
        lab.api.close()
    text = table(lab, workloads=workloads, load=load)
    if not quick:
        publish(
            "triggers",
            text,
            picture="the three trigger modes beside controller-based patching",
            pages=("docs/triggers.md",),
        )
        plot(lab)
    print("\n" + text)


START = time.monotonic()
if __name__ == "__main__":
    main()
