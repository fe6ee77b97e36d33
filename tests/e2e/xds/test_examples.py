"""The design's two programs (``examples/agent``) as an injected pod's app: what they need reaches them, and others them."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.api_client import ApiClient
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import PodRunner
from tests.e2e.xds.calls import ask
from tests.e2e.xds.test_inbound import audience
from tests.oidc import Oidc
from tests.otlp import EXPORT, collecting

JSON = Any  # a Deployment as a user writes it

AGENT = Path(__file__).resolve().parents[3] / "examples" / "agent"
PYTHON = Path(sys.prefix) / "agent" / "bin" / "python"
"""An environment that has what the examples need (requirements/agent.txt)."""
COLLECTOR = "otel-collector.observability"


def resolving_by_hosts(manifest: JSON) -> None:
    """Lets gRPC in the app read ``/etc/hosts`` alone: no DNS of a cluster is here that could answer it."""
    agent = manifest["spec"]["template"]["spec"]["containers"][0]
    agent["env"] = [{"name": "GRPC_DNS_RESOLVER", "value": "native"}]


def test_a_span_reaches_the_collector(
    run_pod: Callable[..., PodRunner], api: ApiClient, namespace: str, node: str
) -> None:
    """By the environment that injection gives the app, nothing else; under the workload's name."""
    with collecting(node) as (port, exports):
        exporter = {"type": "otlp", "endpoint": f"{COLLECTOR}:{port}", "protocol": "grpc"}
        trace = {"exporters": [exporter], "sampling": {"rate": 1}, "resourceAttributes": {"team": "sun-and-rain"}}
        assert api.merge("AgentRuntimeConfig", namespace, "default", {"spec": {"trace": trace}}).ok
        pod = run_pod(names={COLLECTOR: node}, change=resolving_by_hosts)
        agent = pod.container("agent")
        assert agent.environment()["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://{COLLECTOR}:{port}"
        said = agent.run([str(PYTHON), str(AGENT / "telemetry.py")])
        spans = [export for export in exports if b"tool_execution" in export.body]
        assert len({span.body for span in spans}) == 1, f"{said}; {exports}"  # an export may be tried again
        assert spans[0].path == EXPORT
        for mark in (b"weather", b"sun-and-rain"):
            assert mark in spans[0].body


def test_the_card_is_found_without_a_token(run_pod: Callable[..., PodRunner], namespace: str, idp: Oidc) -> None:
    """Under both names and on both ports of the design; everything else of the agent needs a token."""
    card = runpy.run_path(str(AGENT / "card.py"))["CARD"]
    pod = run_pod(ports=())
    program = pod.start_container("agent", sys.executable, str(AGENT / "card.py"))
    token = idp.token(aud=audience(namespace))

    def serves() -> bool:
        program.check()
        return ask(pod.address, 8081, token=token).status == 404

    wait_until(serves, 30, program.tail)
    for port in (8080, 8081):
        for name in ("agent-card.json", "agent.json"):
            found = ask(pod.address, port, f"/.well-known/{name}")
            assert (found.status, json.dumps(found.body)) == (200, json.dumps(card)), (port, name)
        assert ask(pod.address, port).status == 401
