"""Configuration on its way to running Envoys: requests, a change, token exchange, policies, a refusal, and status."""

import json
import threading
import time
from contextlib import ExitStack
from typing import Any

from scripts.demo import changes
from scripts.demo.layers import NAMESPACE, SCOPES, agent_runtime, client_id, namespace_config
from scripts.demo.neighbours import SECRET, TOOL, TOOL_AUDIENCE, TOOL_SCOPE, UNLISTED, Neighbours
from scripts.demo.requests import PORT, Connection, inbound, outbound
from scripts.demo.telling import Row, step
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import RELEASE_NAMESPACE, Installed
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import PodRunner
from tests.e2e.xds_process import HOST, Xds

from kagenti_api.v1alpha1.agentruntime import CONFIG_PROPAGATED

JSON = Any  # objects, and parts of the report

AUDIENCE = "https://weather.team1.example"
PASSED, EXCHANGED = "200 caller's token", f"200 token for {TOOL_AUDIENCE}"
DEADLINE = 15.0  # seconds for a change to show: generous, for the demo may share its machine


class Running:
    """One injected pod that runs: its Envoy, its interception, and the rows of what was seen of it."""

    def __init__(self, name: str, runner: PodRunner, ready: float) -> None:
        self.name, self.runner, self.ready = name, runner, ready
        self.workload, self.client = f"Deployment {NAMESPACE}/{name}", client_id(name)
        self.delay = 0.0
        self.rows: list[Row] = []
        self.propagation: JSON = {}

    def add(self, row: Row) -> None:
        """Shows a row and keeps it."""
        row.show()
        self.rows.append(row)

    def report(self) -> dict[str, JSON]:
        """Returns what was seen of it."""
        return {
            "workload": self.workload,
            "readySeconds": round(self.ready, 3),
            "changeSeconds": round(self.delay, 4),
            "rows": [row.report() for row in self.rows],
            "status": self.propagation,
        }


def stand_in(replica: str) -> JSON:
    """A pod of that name in the release's namespace."""
    metadata = {"name": replica, "namespace": RELEASE_NAMESPACE}
    spec = {"containers": [{"name": "xds", "image": "kagenti"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


class Live:
    """The second half of the demo; a context manager, for what it starts runs on while people look at it."""

    def __init__(self, kagenti: Installed, api: ApiClient, neighbours: Neighbours) -> None:
        self._kagenti, self._api, self._around, self._plane = kagenti, api, neighbours, kagenti.plane
        self._stack = ExitStack()
        self.pods: list[Running] = []
        self.refusal = ""

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, pods: dict[str, JSON]) -> None:
        """Shows everything for these pods by workload name."""
        xds = Xds(self._kagenti, address=self._around.address)
        self._stack.callback(xds.stop)
        # The operator prunes entries of replicas that have no pod; this one is a process here, and has a stand-in.
        self._plane.kubectl("apply", "-f", "-", stdin=json.dumps(stand_in(xds.replica)))
        xds.start()
        step(
            f"kagenti xds serves; running {len(pods)} injected pod(s): own network, own interception script, real Envoy"
        )
        self.pods = [self._start(name, pod) for name, pod in pods.items()]
        for pod in self.pods:
            self._ask(pod)
        self._change_audience()
        for pod in self.pods:
            self._call_out(pod)
        self._refuse()
        for pod in self.pods:
            self._status(pod)

    def _start(self, name: str, pod: JSON) -> Running:
        names = {HOST: self._around.address, **self._around.names}
        runner = PodRunner(pod, self._plane, names=names, client=(client_id(name), SECRET))
        self._stack.enter_context(runner)
        runner.intercept()
        runner.start_app(PORT)
        begin = time.monotonic()
        runner.start_envoy()
        runner.wait_started(DEADLINE)
        return Running(name, runner, time.monotonic() - begin)

    def _token(self, pod: Running, *audiences: str, scope: str | None = None) -> str:
        return self._around.idp.token(aud=list(audiences), scope=scope or SCOPES[pod.name])

    def _ask(self, pod: Running) -> None:
        print(
            f"\n  {pod.workload}: ready {pod.ready:.2f} s after Envoy started; requests to {pod.runner.address}:{PORT}"
        )
        good, poor = self._token(pod, pod.client), self._token(pod, pod.client, scope="something:else")
        pod.add(inbound(pod.runner, "no token", 401))
        pod.add(inbound(pod.runner, f"token without scope {SCOPES[pod.name]}", 403, token=poor))
        pod.add(inbound(pod.runner, "good token", 200, token=good))
        pod.add(inbound(pod.runner, f"token for {AUDIENCE}", 403, token=self._token(pod, AUDIENCE)))

    def _change_audience(self) -> None:
        print()
        step(f"kubectl apply: AgentRuntimeConfig {NAMESPACE}/default, inbound.validation.audience: {AUDIENCE}")
        since, seen = time.time(), {}
        watchers = [threading.Thread(target=self._watch, args=(pod, seen), daemon=True) for pod in self.pods]
        for watcher in watchers:
            watcher.start()
        if said := changes.applied(self._plane, namespace_config(audience=AUDIENCE)):
            raise RuntimeError(f"the namespace's config was refused: {said}")
        for watcher in watchers:
            watcher.join(DEADLINE)
        at = changes.received(self._plane, "agentruntimeconfigs", since=since)
        for pod in self.pods:
            if pod.name not in seen:
                raise TimeoutError(f"{pod.workload} does not accept {AUDIENCE} within {DEADLINE} s")
            pod.delay = seen[pod.name] - at
            print(
                f"\n  {pod.workload}: the same open connection, {pod.delay * 1000:.0f} ms after the API server had the change"
            )
            pod.add(inbound(pod.runner, f"token for {AUDIENCE}", 200, token=self._token(pod, AUDIENCE)))
            pod.add(inbound(pod.runner, "the good token of before", 403, token=self._token(pod, pod.client)))

    def _watch(self, pod: Running, seen: dict[str, float]) -> None:
        """Asks again and again on one connection until the new audience is accepted; notes when."""
        token, connection, end = self._token(pod, AUDIENCE), Connection(pod.runner), time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if connection.status(token) == 200:
                seen[pod.name] = time.time()
                break
        connection.close()

    def _call_out(self, pod: Running) -> None:
        tool, unlisted = self._around.url(TOOL), self._around.url(UNLISTED)
        token = self._token(pod, AUDIENCE, pod.client)
        print(f"\n  {pod.workload}: calls from its app, with its caller's token")
        self._called(pod, f"{TOOL}, no rule", tool, token, wanted=PASSED)
        rule = {
            "match": {"host": TOOL, "port": self._around.ports[TOOL]},
            "target": {"audience": TOOL_AUDIENCE, "scopes": [TOOL_SCOPE]},
        }
        exchanging = {"tokenExchange": {"destinationRules": [rule]}}
        self._apply_runtime(pod, exchanging, f"a rule for {TOOL}: audience {TOOL_AUDIENCE}")
        self._called(pod, f"{TOOL}, by the rule", tool, token, wanted=EXCHANGED, patience=DEADLINE)
        self._called(pod, f"{UNLISTED}, not listed", unlisted, token, wanted=PASSED)
        self._apply_runtime(pod, {**exchanging, "defaultPolicy": "Deny"}, "outbound.defaultPolicy: Deny")
        self._called(pod, f"{UNLISTED}, under Deny", unlisted, token, wanted="403", patience=DEADLINE)
        self._called(pod, f"{TOOL}, under Deny", tool, token, wanted=EXCHANGED)

    def _apply_runtime(self, pod: Running, settings: JSON, what: str) -> None:
        print(f"    kubectl apply: AgentRuntime {NAMESPACE}/{pod.name}, {what}", flush=True)
        if said := changes.applied(self._plane, agent_runtime(pod.name, outbound=settings)):
            raise RuntimeError(f"the AgentRuntime was refused: {said}")

    def _called(self, pod: Running, what: str, url: str, token: str, *, wanted: str, patience: float = 0.0) -> None:
        """Shows one call; after a change again until it has come, and then that one with its number."""
        end, calls = time.monotonic() + patience, 0
        while True:
            calls += 1
            status, whose, said = outbound(pod.runner, url, token=token, idp=self._around.idp)
            row = Row(
                what,
                f"{status} {whose}".strip(),
                wanted,
                f"{said}, call {calls} after the change" if patience else said,
            )
            if row.holds or time.monotonic() > end:
                pod.add(row)
                return

    def _refuse(self) -> None:
        """A setting that would open everything is refused where it is written; nothing of it reaches an Envoy."""
        pod = self.pods[0]
        broken = agent_runtime(pod.name)
        inbound = broken["spec"].setdefault("identity", {}).setdefault("inbound", {})
        inbound.setdefault("validation", {})["bypassPaths"] = ["/"]
        print()
        step(f"kubectl apply: AgentRuntime {NAMESPACE}/{pod.name}, inbound.validation.bypassPaths: [/]")
        self.refusal = changes.applied(self._plane, broken)
        print(f"    {self.refusal or 'NOT AS IT SHOULD BE: it was taken'}")
        token = self._token(pod, AUDIENCE, pod.client)
        self._called(pod, f"{TOOL}, still", self._around.url(TOOL), token, wanted=EXCHANGED)

    def _status(self, pod: Running) -> None:
        """Waits until the AgentRuntime says that its proxies have everything, and shows its status."""
        found: JSON = {}

        def propagated() -> bool:
            status = self._api.get("AgentRuntime", NAMESPACE, pod.name).body.get("status") or {}
            condition = next((each for each in status.get("conditions") or () if each["type"] == CONFIG_PROPAGATED), {})
            found.update(propagation=status.get("propagation") or [], condition=condition)
            return condition.get("status") == "True"

        wait_until(propagated, DEADLINE, lambda: f"AgentRuntime {NAMESPACE}/{pod.name}: {found}")
        pod.propagation = found
        condition = found["condition"]
        print(f"\n  AgentRuntime {NAMESPACE}/{pod.name}, status.propagation")
        for entry in found["propagation"]:
            counts = ", ".join(f"{entry.get(key, 0)} {key}" for key in ("acked", "rejected", "pending", "disconnected"))
            print(f"    {entry['replica']}   {counts}   revision {entry['revision']}")
        print(f"    ConfigPropagated={condition['status']}/{condition['reason']}: {condition['message']}", flush=True)

    @property
    def holds(self) -> bool:
        """Whether everything was as it should be."""
        return bool(self.pods) and bool(self.refusal) and all(row.holds for pod in self.pods for row in pod.rows)

    def report(self) -> dict[str, JSON]:
        """Returns what was seen."""
        return {"skipped": "", "pods": [pod.report() for pod in self.pods], "refusal": self.refusal}

    def hints(self) -> list[str]:
        """Returns what a person may try while everything runs."""
        found = []
        for pod in self.pods:
            token = self._token(pod, AUDIENCE, pod.client)
            found.append(
                f"curl -i http://{pod.runner.address}:{PORT}/   # {pod.workload}; a good token, for ten minutes:"
            )
            found.append(f"  -H 'Authorization: Bearer {token}'")
        return found
