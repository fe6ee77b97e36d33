"""An injected agent's card: asked for without a token, through the pod's own interception and Envoy."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.e2e.api_client import ApiClient
from tests.e2e.cards import agents
from tests.e2e.cards.test_cards import operator, status, until_synced
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import PodRunner
from tests.e2e.xds.calls import ask
from tests.e2e.xds.conftest import pod_of

__all__ = ["operator"]  # the fixture


def test_the_card_of_an_injected_agent(
    run_pod: Callable[..., PodRunner], namespace: str, api: ApiClient, operator: Path
) -> None:
    """All else of the agent needs a token; the card passes Envoy, at the app's own port, and no sidecar's port is asked."""
    pod = run_pod()
    assert ask(pod.address, agents.PORT).status == 401
    agents.create(api, agents.card(namespace, "weather", endpoint={"port": agents.PORT}))
    agents.move(api, pod_of(api, namespace, "weather"), pod.address)
    found = until_synced(api, namespace, "weather")
    assert found["source"]["url"] == f"http://{pod.address}:{agents.PORT}{agents.NEW}"
    assert (found["card"]["method"], found["card"]["path"]) == ("GET", agents.NEW)
    assert "x-request-id" in {name.lower() for name in found["card"]["headers"]}, "it did not come through Envoy"
    assert "authorization" not in {name.lower() for name in found["card"]["headers"]}
    wait_until(lambda: status(api, namespace, "weather").get("matchedWorkloads") == 1, 30, lambda: json.dumps(found))
