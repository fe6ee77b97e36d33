"""Two hundred live updates under load: no request fails, and no listener is ever touched."""

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.api_client import ApiClient
from tests.e2e.plane.ports import free_port
from tests.e2e.plane.processes import Process
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import PodRunner
from tests.e2e.pod_runner.admin import CONNECTED, LISTENERS, UPDATES, Admin
from tests.e2e.pod_runner.runner import APP
from tests.e2e.xds.callers import Callers, failed
from tests.e2e.xds.calls import ask
from tests.e2e.xds.settings import apply_runtime, outbound, rule
from tests.e2e.xds_process import Xds
from tests.oidc import Oidc

JSON = Any  # settings
TOOL = "tool.tools.svc"
UPDATES_UNDER_LOAD = 200
AUDIENCES = ("one.example", "two.example")
RESTART = {
    "identity": {
        "inbound": {"targetPort": 8085, "excludePorts": [9999]},
        "outbound": {"trafficInterception": {"excludePorts": [5432]}},
    },
    "trace": {"resourceAttributes": {"deployment.environment": "changed"}},
}
"""Settings that the listeners of the next pod are made of."""


@pytest.fixture
def tool(node: str, tmp_path: Path) -> Iterator[str]:
    """A stand-in of an app, for the pod's app to call; gives its URL under the rule's host."""
    port, log = free_port(), tmp_path / "tool.log"
    process = Process("tool", [sys.executable, str(APP), str(port)], log=log)
    wait_until(lambda: process.check() is None and "serving" in log.read_text(), 30, process.tail)
    yield f"http://{TOOL}:{port}"
    process.stop()


@pytest.fixture
def next_layout(xds: Xds) -> Iterator[Xds]:
    """The same replica by the program of the next layout; not started, and replaced by the right one afterwards."""
    process = Xds(xds.installation, address=xds.address, program="tests.e2e.xds.next_layout")
    yield process
    process.stop()
    xds.stop()


class Settings:
    """Live settings of one namespace, changed in turn: policy of callers, rules of destinations, sampling."""

    def __init__(self, api: ApiClient, xds: Xds, pod: PodRunner) -> None:
        self._api, self._xds, self._pod = api, xds, pod
        self._turns = itertools.count()
        self.audience = ""

    def change(self) -> None:
        """Changes live settings; returns once Envoy has taken what follows from it."""
        before, turn = self.revision(), next(self._turns)
        (self._policy if turn % 2 else self._rules)(turn // 2)
        wait_until(
            lambda: self.revision() not in ("", before), 40, lambda: f"change {turn}: {self._xds.debug('streams')}"
        )

    def revision(self) -> str:
        """Returns what the pod's Envoy has acknowledged; empty while something is pending."""
        uid = self._pod.pod["metadata"]["uid"]
        found = [stream for stream in self._xds.debug("streams") if stream["uid"] == uid]
        return str(found[0]["revision"]) if found and found[0]["verdict"] == "propagated" else ""

    def serve_by(self, xds: Xds) -> None:
        """Asks another server from now on."""
        self._xds = xds

    def merge(self, spec: JSON) -> None:
        """Changes the namespace's config, without waiting."""
        namespace = self._pod.pod["metadata"]["namespace"]
        answer = self._api.merge("AgentRuntimeConfig", namespace, "default", {"spec": spec})
        assert answer.ok, answer.message

    def _policy(self, turn: int) -> None:
        """Audience and scopes together, of which the callers' tokens have all."""
        self.audience = AUDIENCES[turn % 2]
        validation = {"audience": self.audience, "requiredScopes": ["agent:invoke", f"agent:{turn % 7}"]}
        self.merge({"identity": {"inbound": {"validation": validation}}})

    def _rules(self, turn: int) -> None:
        """The tool's rule with another scope, others that come and go, and another sampling."""
        scopes = ("tool-scope", "other-scope")[: 1 + turn % 2]
        tool = {**rule(TOOL), "target": {"audience": "tool", "scopes": list(scopes)}}
        others = [rule(f"host{number}.example", action="Deny") for number in range(turn % 5)]
        namespace = self._pod.pod["metadata"]["namespace"]
        trace = {"sampling": {"rate": (turn % 10) / 10}}
        apply_runtime(self._api, namespace, {**outbound(tool, *others), "trace": trace})


def taken(admin: Admin) -> tuple[int, int]:
    """Returns how many updates Envoy has accepted and refused."""
    found = admin.statistics(UPDATES)
    accepted = sum(value for name, value in found.items() if name.endswith("update_success"))
    return accepted, sum(value for name, value in found.items() if name.endswith(("update_rejected", "config_fail")))


def test_no_request_fails_and_no_listener_changes(
    run_pod: Callable[..., PodRunner],
    xds: Xds,
    next_layout: Xds,
    api: ApiClient,
    namespace: str,
    idp: Oidc,
    node: str,
    tool: str,
) -> None:
    """Kept and new connections, late and streamed answers, both directions; also across restart settings and layouts."""
    trace = {"exporters": [{"type": "otlp", "endpoint": f"{node}:{free_port()}"}], "sampling": {"rate": 0.5}}
    assert api.merge("AgentRuntimeConfig", namespace, "default", {"spec": {"trace": trace}}).ok
    apply_runtime(api, namespace, outbound(rule(TOOL, "tool", "tool-scope")))
    pod = run_pod(names={TOOL: node})
    settings = Settings(api, xds, pod)
    for _ in range(2):  # one of each
        settings.change()
    admin = pod.admin
    listeners, configured, (accepted, refused) = admin.statistics(LISTENERS), admin.listeners(), taken(admin)
    assert listeners["listener_manager.total_listeners_active"] == 3  # status, inbound, outbound
    assert len(configured["static_listeners"]) == 3
    scopes = " ".join(["agent:invoke", *(f"agent:{number}" for number in range(7))])
    caller = idp.token(aud=list(AUDIENCES), scope=scopes)
    with ExitStack() as stack:
        callers = Callers.from_outside(pod, 8081, token=caller)
        stack.callback(callers.stop)
        calls = Callers.from_app(pod, tool, token=idp.token(aud="weather", azp="weather"))
        stack.callback(calls.stop)
        for number in range(UPDATES_UNDER_LOAD):
            if number == UPDATES_UNDER_LOAD // 2:
                settings.merge(RESTART)
            settings.change()
        assert taken(admin)[0] >= accepted + UPDATES_UNDER_LOAD
        xds.stop()
        wait_until(lambda: admin.statistic(CONNECTED) == 0, 40, lambda: "Envoy has not noticed")
        next_layout.start()
        settings.serve_by(next_layout)
        wait_until(lambda: settings.revision() != "", 40, lambda: f"not back: {next_layout.debug('streams')}")
        for _ in range(8):
            settings.change()
        inward, outward = callers.stop(), calls.stop()
    assert (failed(inward), failed(outward)) == ({}, {})
    assert taken(admin)[1] == refused == 0
    assert admin.statistics(LISTENERS) == listeners
    assert admin.listeners() == configured
    drained = admin.statistics(r"^http\.(inbound|outbound)\.downstream_cx_drain_close$")
    assert (len(drained), set(drained.values())) == (2, {0})
    other = next(audience for audience in AUDIENCES if audience != settings.audience)
    wrong, right = idp.token(aud=other, scope=scopes), idp.token(aud=settings.audience, scope=scopes)
    assert (ask(pod.address, 8081, token=wrong).status, ask(pod.address, 8081, token=right).status) == (403, 200)
