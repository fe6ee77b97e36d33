"""One fleet of Deployments under one mechanism: applied, watched until its pods are injected, and counted.

A mechanism is one of the webhook's three trigger modes, with the operator beside it, or the controller of ``bench.patching``.
"""

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
    r'(?=[^}]*code="2[0-9]{2}")(?=[^}]*subresource="(?:|eviction)")(?=[^}]*verb="(?:POST|PUT|PATCH|APPLY|DELETE)")[^}]*\} (\d+)$',
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
    mechanisms: Sequence[str] = MECHANISMS
    runs: dict[tuple[str, str], Run] = field(default_factory=dict)
    creates: dict[tuple[str, str], float] = field(default_factory=dict)
    called: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.api = ApiClient(self.plane)

    def measure(self, mechanism: str, *, workloads: int, pods: int, warm: int) -> None:
        """Measures everything of one mechanism, after a fleet of ``warm`` workloads that does not count."""
        with self._at_work(mechanism) as called:
            if warm:
                self._run(mechanism, ORDERS[0], warm, namespace=f"{mechanism}-warm")
            for order in ORDERS:
                say(f"{TITLES[mechanism]}: {workloads} workloads, {order} …")
                self.runs[mechanism, order] = self._run(
                    mechanism, order, workloads, namespace=f"{mechanism}-{order.replace(' ', '-')}"
                )
            before = called()
            for what, seconds in self._created(mechanism, pods).items():
                self.creates[mechanism, what] = seconds
            self.called[mechanism] = max(0.0, (called() - before) / (pods + WARM) - (mechanism != "patching"))

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

    def _run(self, mechanism: str, order: str, workloads: int, *, namespace: str) -> Run:
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

    def _created(self, mechanism: str, pods: int) -> dict[str, float]:
        """Returns the median seconds of creating a pod as a dry run: triggered, plain, and where no webhook is asked.

        The three take turns, so that whatever else the machine does meets them alike.
        """
        namespace = f"{mechanism}-creates"
        self._namespace(namespace)
        labels = {"kagenti.io/inject": "enabled"} if mechanism in ("label", "both") else {}
        if mechanism == "cr":
            target = {"targetRef": {"apiVersion": "v1", "kind": "Pod", "name": "triggered"}}
            runtime = {**runtime_for("triggered"), "spec": target}
            self.api.request("POST", f"/apis/kagenti.io/v1alpha1/namespaces/{namespace}/agentruntimes", runtime)
        seen: dict[str, list[float]] = {}
        for number in range(pods + WARM):
            for what, place, marks in (
                ("triggered", namespace, labels),
                ("plain", namespace, {}),
                ("floor", "default", {}),
            ):
                seconds = self._one(place, what, marks)
                if number >= WARM:
                    seen.setdefault(what, []).append(seconds)
        return {what: statistics.median(values) for what, values in seen.items()}

    def _one(self, namespace: str, name: str, labels: JSON) -> float:
        """Returns the seconds of one create."""
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}}
        pod["spec"] = {"containers": [CONTAINER]}
        start = time.perf_counter()
        answer = self.api.request("POST", f"/api/v1/namespaces/{namespace}/pods", pod, dryRun="All")
        if not answer.ok:
            raise RuntimeError(answer.message)
        return time.perf_counter() - start

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


START = time.monotonic()
