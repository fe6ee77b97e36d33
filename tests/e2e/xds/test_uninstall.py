"""``helm uninstall`` while agents are called and call: a real Envoy keeps its locked Deny, and nobody notices anything."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.e2e.admission.manifests import config, workload
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import RELEASE_NAMESPACE, Options
from tests.e2e.kinds import serve_kinds
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.ports import free_port
from tests.e2e.plane.processes import Process
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import Node, PodRunner
from tests.e2e.pod_runner.admin import CONNECTED, UPDATES
from tests.e2e.pod_runner.runner import APP
from tests.e2e.test_lifecycle import helm, kagenti, kept, prepared, put_away, released, running
from tests.e2e.xds.callers import Callers, failed
from tests.e2e.xds.calls import call_out
from tests.e2e.xds.conftest import pod_of
from tests.e2e.xds.settings import apply_runtime, outbound, rule
from tests.e2e.xds_process import HOST, Xds
from tests.oidc import Oidc

JSON = Any  # a Kubernetes object as received

TEAM, TOOL, OTHER = "served", "tool.tools.svc", "elsewhere.tools.svc"
LOCKED = (
    "clusterConfig.identity.outbound.defaultPolicy=Deny",
    "clusterConfig.policy.locked={identity.outbound.defaultPolicy}",
)
CONFIGURATIONS = ("mutatingwebhookconfiguration", "validatingwebhookconfiguration")


@pytest.fixture
def place(node: str) -> Iterator[ControlPlane]:
    """A plane of its own: a release comes and goes; where pods cannot be run, this is skipped with ``node``."""
    with ControlPlane() as plane:
        serve_kinds(plane)
        plane.kubectl("create", "namespace", RELEASE_NAMESPACE)
        yield plane


@pytest.fixture
def tool(node: str, tmp_path: Path) -> Iterator[int]:
    """A server on the node's address, listed and unlisted by its two names; gives its port."""
    port, log = free_port(), tmp_path / "tool.log"
    process = Process("tool", [sys.executable, str(APP), str(port)], log=log)
    wait_until(lambda: process.check() is None and "serving" in log.read_text(), 30, process.tail)
    yield port
    process.stop()


def agent(api: ApiClient, idp: Oidc) -> JSON:
    """An agent of both triggers whose cluster layer denies whatever is not listed; returns its pod."""
    labels = {"kagenti.io/enrolled": "true"}
    assert api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM, "labels": labels}}).ok
    keycloak = {"url": idp.url, "realm": idp.realm, "adminCredentialsSecret": "keycloak-admin"}
    inbound = {"validation": {"audience": "weather.example"}}
    layer = config(TEAM, identity={"clientRegistration": {"keycloak": keycloak}, "inbound": inbound})
    assert api.create(layer).ok
    apply_runtime(api, TEAM, outbound(rule(TOOL, "tool", "tool-scope")))
    assert api.create(workload("Deployment", TEAM, "weather", labels={"kagenti.io/inject": "enabled"})).ok
    return pod_of(api, TEAM, "weather")


def held(place: ControlPlane) -> bool:
    """Whether the xDS server's Deployment is scaled to zero."""
    path = ("get", "deployment", "kagenti-xds", "-n", RELEASE_NAMESPACE, "-o", "jsonpath={.spec.replicas}")
    return place.kubectl(*path) == "0"


def uninstall(place: ControlPlane, xds: Xds) -> None:
    """As helm does it: the hook's command under its account, during which the xDS server's pods end; then the rest."""
    account, arguments = prepared(place, "pre-delete")
    with ThreadPoolExecutor(1) as pool:
        withdrawal = pool.submit(kagenti, *arguments, kubeconfig=account)
        wait_until(lambda: withdrawal.done() or held(place), 40, lambda: "the xDS server is not held")
        xds.stop()
        done = withdrawal.result(120)
    assert done.returncode == 0, done.stderr
    put_away(place, "pre-delete")
    helm(place, "uninstall", "kagenti", "--no-hooks")


def test_a_locked_deny_outlives_the_installation(
    place: ControlPlane, node: str, idp: Oidc, tool: int, tmp_path: Path
) -> None:
    """No request fails, Envoy is sent nothing, what was denied is denied; then the namespace goes like any other."""
    api = ApiClient(place)
    with ExitStack() as stack:
        stack.callback(api.close)
        installation = released(place, Options(extra=LOCKED), tmp_path / "kagenti")
        stack.callback(installation.webhook.stop)
        address = stack.enter_context(Node(Node.SECOND)).address
        xds = Xds(installation, address=address)
        stack.callback(xds.stop)
        xds.start()
        pod = agent(api, idp)
        proxy = stack.enter_context(PodRunner(pod, place, names={HOST: address, TOOL: node, OTHER: node}))
        proxy.intercept()
        proxy.start_app(8081)
        proxy.start_envoy()
        proxy.wait_started()
        subject = idp.token(aud="weather", azp="weather")
        wait_until(lambda: call_out(proxy, f"http://{TOOL}:{tool}/short", token=subject).status == 200, 40,
                   lambda: str(call_out(proxy, f"http://{TOOL}:{tool}/short", token=subject)))  # fmt: skip
        refusal = call_out(proxy, f"http://{OTHER}:{tool}/short")
        assert (refusal.status, "default policy is Deny" in str(refusal.body)) == (403, True)
        before = [kept(found) for found in running(api, TEAM)]
        updates = proxy.admin.statistics(UPDATES)
        callers = Callers.from_outside(proxy, 8081, token=idp.token(aud="weather.example"))
        stack.callback(callers.stop)
        calls = Callers.from_app(proxy, f"http://{TOOL}:{tool}", token=subject)
        stack.callback(calls.stop)
        uninstall(place, xds)
        installation.webhook.stop()
        wait_until(lambda: proxy.admin.statistic(CONNECTED) == 0, 40, lambda: "Envoy has not noticed")
        assert call_out(proxy, f"http://{OTHER}:{tool}/short").status == 403
        assert call_out(proxy, f"https://{OTHER}:{tool}/", options=("--insecure",)).status == 0
        assert (failed(callers.stop()), failed(calls.stop())) == ({}, {})
        assert proxy.admin.statistics(UPDATES) == updates
        assert [kept(found) for found in running(api, TEAM)] == before
    for kind in CONFIGURATIONS:
        assert "kagenti" not in place.kubectl("get", kind, "-o", "name")
    layer = orjson.loads(place.kubectl("get", "agentruntimeclusterconfig", "default", "-o", "json"))["spec"]
    assert layer["policy"] == {"locked": ["identity.outbound.defaultPolicy"]}
    assert "weather" in place.kubectl("get", "agentruntimes", "-n", TEAM, "-o", "name")
    place.kubectl("delete", "namespace", TEAM, "--timeout=90s")
