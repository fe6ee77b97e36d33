"""Inbound is transparent: every row of spec 04's port table, through the pod's own interception script, in both families."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.api_client import ApiClient
from tests.e2e.pod_runner import PodRunner
from tests.e2e.xds.calls import ask
from tests.e2e.xds.test_inbound import audience
from tests.oidc import Oidc

JSON = Any  # a Deployment as a user writes it


def declares(*ports: int, **container: JSON) -> Callable[[JSON], None]:
    """Returns a change of a Deployment: its app container declares these ports."""

    def change(manifest: JSON) -> None:
        app = manifest["spec"]["template"]["spec"]["containers"][0]
        app["ports"] = [{"containerPort": port} for port in ports]
        app.update(container)

    return change


@pytest.mark.parametrize(
    ("declared", "listens", "reached"),
    [
        ((8081,), (8081,), {8080: 8081, 8081: 8081}),
        ((8000,), (8000,), {8000: 8000}),
        ((8080,), (8080,), {8080: 8080}),
        ((), (8081, 9999), {8080: 8081, 9999: 9999}),
    ],
    ids=["the design's app", "an app of its own port", "an app on the mapped port", "nothing declared"],
)
def test_what_is_dialled_is_what_is_reached(
    declared: tuple[int, ...],
    listens: tuple[int, ...],
    reached: dict[int, int],
    run_pod: Callable[..., PodRunner],
    namespace: str,
    idp: Oidc,
) -> None:
    """Validated on every port and in both families: 401 without a token, with one the app at the port of the table."""
    pod = run_pod(ports=listens, change=declares(*declared))
    token = idp.token(aud=audience(namespace))
    for address in (pod.network.pod4, pod.network.pod6):
        for dialled, port in reached.items():
            assert ask(address, dialled).status == 401, (address, dialled)
            answer = ask(address, dialled, token=token)
            assert (answer.status, answer.body["port"]) == (200, port), (address, dialled)


def test_no_port_of_the_proxy_is_a_way_round(run_pod: Callable[..., PodRunner], namespace: str, idp: Oidc) -> None:
    """Dialling Envoy's own ports neither loops nor reaches the app; what it says of itself is readiness and figures."""
    pod = run_pod()
    token = idp.token(aud=audience(namespace))
    for port in (15123, 15124):
        assert ask(pod.address, port, token=token).status in (0, 403, 404, 508), port
    assert ask(pod.address, 15021, "/ready").status == 200
    assert ask(pod.address, 15021, "/config_dump").status == 404


def test_a_probe_opens_its_own_path_and_port_only(run_pod: Callable[..., PodRunner]) -> None:
    """GET and HEAD of the exact path on the exact port; agent cards besides, everything else needs a token."""
    probe = {"httpGet": {"path": "/health/ready", "port": 8081}}
    pod = run_pod(ports=(8081, 9000), change=declares(8081, 9000, readinessProbe=probe))
    for address in (pod.network.pod4, pod.network.pod6):
        assert ask(address, 8081, "/health/ready").status == 200
        assert ask(address, 8081, "/health/ready", method="HEAD").status == 200
        assert ask(address, 8081, "/health/ready", method="POST").status == 401
        assert ask(address, 8081, "/health/ready/").status == 401
        assert ask(address, 9000, "/health/ready").status == 401
        assert ask(address, 8081, "/.well-known/agent-card.json").status == 200
        assert ask(address, 8081, "/.well-known/../secret").status in (400, 401)


def test_a_scrape_opens_its_own_path_and_port_only(
    run_pod: Callable[..., PodRunner], api: ApiClient, namespace: str
) -> None:
    """What the integration says of the app's metrics, in both families; the app is otherwise closed on that port, too."""
    scrape = {"enabled": True, "port": 9464, "path": "/metrics"}
    change = {"spec": {"trace": {"integration": {"prometheus": scrape}}}}
    assert api.merge("AgentRuntimeConfig", namespace, "default", change).ok
    pod = run_pod(ports=(8081, 9464), change=declares(8081, 9464))
    for address in (pod.network.pod4, pod.network.pod6):
        assert ask(address, 9464, "/metrics").status == 200
        assert ask(address, 9464, "/metrics", method="POST").status == 401
        assert ask(address, 9464, "/metrics/all").status == 401
        assert ask(address, 8081, "/metrics").status == 401


def hears(address: str, port: int) -> bytes:
    """Returns what a server-first protocol says on a port; empty where the connection is closed."""
    with socket.create_connection((address, port), timeout=5) as connection:
        try:
            connection.sendall(b"EHLO pod\n")
            return connection.recv(100)
        except ConnectionError:
            return b""


def test_what_is_not_http_is_refused_unless_its_port_is_excluded(run_pod: Callable[..., PodRunner]) -> None:
    """A database's protocol never reaches the app behind Envoy; on an excluded port it does, by the pod's annotation."""

    def change(manifest: JSON) -> None:
        declares(8081, 3306, 5432)(manifest)
        manifest["spec"]["template"]["metadata"]["annotations"] = {"kagenti.io/inbound-ports-exclude": "5432"}

    pod = run_pod(ports=(8081, "raw:3306", "raw:5432"), change=change)
    assert hears(pod.address, 5432).startswith(b"220 hello")
    assert b"220 hello" not in hears(pod.address, 3306)
