"""Hostile agents on the real API server: each has its reason in status, and nothing of what they say is anywhere."""

import gzip
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.api_client import ApiClient
from tests.e2e.cards import agents
from tests.e2e.cards.agents import NEW, OLD, Agent, Serve, answer
from tests.e2e.cards.test_cards import CARD, operator, status, until_synced
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

__all__ = ["operator"]  # the fixture

JSON = Any  # objects

STOP = threading.Event()
HUGE = json.dumps({"name": "secret", "text": "x" * 1_100_000}).encode()
WIDE = json.dumps({"name": "secret", "list": [0] * 20_000}).encode()
BOMB = gzip.compress(b'{"name": "secret", "text": "' + b"x" * 50_000_000 + b'"}')

TRICKS: dict[str, tuple[Serve, str]] = {
    "redirect": (answer(b"secret", status=302, Location="http://169.254.169.254/latest/meta-data"), "Redirect"),
    "endless": (agents.endless, "TooLarge"),
    "slow": (agents.slow(STOP), "Timeout"),
    "bomb": (answer(BOMB, Content_Encoding="gzip"), "Encoded"),
    "page": (answer(b"<html>secret</html>"), "NotJson"),
    "list": (answer(b'["secret"]'), "NotACard"),
    "nameless": (answer(b'{"secret": "secret"}'), "NotACard"),
    "huge": (answer(HUGE), "TooLarge"),
    "wide": (answer(WIDE), "TooComplex"),
    "latin": (answer(b'{"name": "\xff\xfe secret"}'), "NotUtf8"),
    "error": (answer(b"secret", status=500), "BadStatus"),
    "missing": (answer(b"secret", status=404), "NotFound"),
}


def test_every_trick_has_its_reason(
    cluster: ControlPlane, api: ApiClient, team: Callable[..., str], operator: Path
) -> None:
    """First a good card, then the trick: Synced=False, the last good card stays, the answer is in no status, event or log."""
    namespace = team()
    served = {name: Agent({NEW: answer(CARD)}) for name in TRICKS}
    try:
        for name, agent in served.items():
            agent.__enter__()
            agents.create(api, agents.deployment(namespace, name), agents.card(namespace, name))
        for name, agent in served.items():
            agents.move(api, agents.running(api, namespace, name)[0], agent.address)
        for name in TRICKS:
            until_synced(api, namespace, name)
        for name, (trick, _) in TRICKS.items():
            served[name].paths = {NEW: trick}
        for name, (_, reason) in TRICKS.items():
            found = until_synced(api, namespace, name, ("False", reason))
            assert found["card"] == {"name": "Weather"}
            assert found["conditions"][0]["message"].endswith("; the last good card is kept")
        said = cluster.kubectl("get", "agentcards,events", "-n", namespace, "-o", "json") + operator.read_text()
        assert "secret" not in said
        assert {path for path, _ in served["redirect"].requests} == {NEW}
        assert {path for path, _ in served["missing"].requests} == {NEW, OLD}
        for name in TRICKS:
            served[name].paths = {NEW: answer(CARD)}
        STOP.set()
        for name in TRICKS:
            until_synced(api, namespace, name)
    finally:
        STOP.set()
        for agent in served.values():
            agent.__exit__()


@pytest.mark.parametrize(
    ("changes", "ip", "reason"),
    [
        ({"hostNetwork": True}, "", "HostNetwork"),
        ({}, "the node's", "HostNetwork"),
        ({}, "169.254.169.254", "ForbiddenAddress"),
        ({}, "8.8.8.8", "ForbiddenAddress"),
    ],
    ids=["hostNetwork", "podIP is hostIP", "metadata server", "outside of the pod networks"],
)
def test_addresses_that_are_not_asked(
    api: ApiClient, team: Callable[..., str], operator: Path, changes: JSON, ip: str, reason: str
) -> None:
    """Not even when the pod's status says so."""
    namespace = team()
    manifest = agents.deployment(namespace, "a")
    manifest["spec"]["template"]["spec"] |= changes
    agents.create(api, manifest)
    (pod,) = agents.running(api, namespace, "a")
    if ip:
        agents.move(api, pod, pod["status"]["hostIP"] if ip == "the node's" else ip)
    agents.create(api, agents.card(namespace, "a"))
    found = until_synced(api, namespace, "a", ("False", reason))
    assert "card" not in found


def test_a_pod_that_is_not_ready_is_not_asked(api: ApiClient, team: Callable[..., str], operator: Path) -> None:
    """Its card is kept; it is asked again once it is ready."""
    namespace = team()
    with Agent({NEW: answer(CARD)}) as agent:
        agents.create(api, agents.deployment(namespace, "a"), agents.card(namespace, "a"))
        (pod,) = agents.running(api, namespace, "a")
        agents.move(api, pod, agent.address)
        until_synced(api, namespace, "a")
        path = api.path("Pod", namespace, pod["metadata"]["name"]) + "/status"
        ready = pod["status"]["conditions"]
        unready = [{**one, "status": "False"} if one["type"] == "Ready" else one for one in ready]
        assert api.request("PATCH", path, {"status": {"conditions": unready}}).ok
        assert until_synced(api, namespace, "a", ("False", "NoReadyPod"))["card"] == {"name": "Weather"}
        asked = len(agent.requests)
        assert api.request("PATCH", path, {"status": {"conditions": ready}}).ok
        until_synced(api, namespace, "a")
        wait_until(lambda: len(agent.requests) > asked, 30, lambda: str(status(api, namespace, "a")))
