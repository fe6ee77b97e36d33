"""AgentCards on the real API server: agents of the A2A SDK, older ones, the design's own; rollouts; and what is not written."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.e2e.api_client import ApiClient
from tests.e2e.cards import a2a_agent, agents
from tests.e2e.cards.agents import NEW, OLD, Agent, answer
from tests.e2e.installed import ROOT, Installed
from tests.e2e.operator_process import Operator
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # objects

CARD = json.dumps({"name": "Weather"}).encode()
# Whatever a text can hold: what YAML refuses or folds, what Go escapes, a merge key, half of Unicode's oddities.
ODD = {
    "name": "\x7f\x80\x85\u2028\u2029\ufeff\uffff\x00\x1b[31m 😀 <b>&amp;</b>",
    "<<": {"a": 1},
    "": "an empty key",
    "null": None,
    "numbers": [0, -1, 1.5, 2**53, -(2**63), 1e-7],
    "yes": "no",
    "date": "2026-11-26",
    "nested": {"deep": [[[{"er": []}]]]},
}


@pytest.fixture(scope="module")
def operator(install: Callable[..., Installed]) -> Iterator[Path]:
    """The leading operator, which asks agents on loopback and in the pod runner's network; returns its log."""
    networks = ("--pod-networks", agents.NETWORKS)
    found = Operator(install(mode="both"), extra=networks, program="tests.e2e.quick").start()
    try:
        yield found.log
    finally:
        found.stop()


def status(api: ApiClient, namespace: str, name: str) -> JSON:
    """Returns the status of an AgentCard."""
    return api.get("AgentCard", namespace, name).body.get("status") or {}


def conditions(found: JSON) -> dict[str, tuple[str, str]]:
    """Returns status and reason of each condition."""
    return {one["type"]: (one["status"], one["reason"]) for one in found.get("conditions") or ()}


def until_synced(api: ApiClient, namespace: str, name: str, said: tuple[str, str] = ("True", "SyncSuccess")) -> JSON:
    """Waits until Synced says that; returns that very status."""
    seen: list[JSON] = []

    def synced() -> bool:
        seen[:] = [status(api, namespace, name)]
        return conditions(seen[0]).get("Synced") == said

    wait_until(synced, 40, lambda: json.dumps(seen[0])[:2000])
    return seen[0]


def test_an_agent_of_the_a2a_sdk(
    cluster: ControlPlane, api: ApiClient, team: Callable[..., str], operator: Path, tmp_path: Path
) -> None:
    """The new path; status is the design's; kubectl wait and the columns of kubectl get read well."""
    namespace, host = team(), agents.address()
    agents.create(api, agents.deployment(namespace, "weather"), agents.card(namespace, "weather"))
    with agents.program("-m", "tests.e2e.cards.a2a_agent", host, str(agents.PORT), host=host, folder=tmp_path):
        (pod,) = agents.running(api, namespace, "weather")
        agents.move(api, pod, host)
        cluster.kubectl("wait", "--for=condition=Synced", "agentcard/weather", "-n", namespace, "--timeout=60s")
        # While the agent answers: asked again after its end it would be out of sync.
        found = status(api, namespace, "weather")
        head, row = cluster.kubectl("get", "agentcard", "weather", "-n", namespace).splitlines()
    assert found["card"]["name"] == a2a_agent.CARD.name
    assert found["card"]["skills"][0]["id"] == "get_forecast"
    assert found["card"]["supportedInterfaces"][0]["protocolBinding"] == "JSONRPC"
    assert found["source"] == {"pod": pod["metadata"]["name"], "url": f"http://{host}:{agents.PORT}{NEW}"}
    assert (found["protocol"], found["matchedPods"], found["matchedWorkloads"]) == ("a2a", 1, 1)
    assert head.split() == ["NAME", "AGENT", "VERSION", "PROTOCOL", "SYNCED", "REASON", "LAST-SYNC", "AGE"]
    assert row.startswith("weather   Weather Intelligence Agent   2.1.0     a2a        True     SyncSuccess")


def test_the_designs_own_example(
    cluster: ControlPlane, api: ApiClient, operator: Path, team: Callable[..., str], tmp_path: Path
) -> None:
    """The proposal's AgentCard as it stands, and its agent program, which is ours in examples/agent."""
    manifest = YAML(typ="safe").load((ROOT / "tests/unit/data/crds/valid/design-agentcard.yaml").read_text())
    namespace, host = team(), agents.address()
    manifest["metadata"]["namespace"] = namespace
    labels = manifest["spec"]["selector"]["matchLabels"]
    agents.create(api, agents.deployment(namespace, "weather-agent", labels=labels), manifest)
    program = f"import runpy; m = runpy.run_path({str(ROOT / 'examples/agent/card.py')!r}); "
    program += f"m['ThreadingHTTPServer'](({host!r}, 8081), m['Handler']).serve_forever()"
    with agents.program("-c", program, host=host, folder=tmp_path):
        agents.move(api, agents.running(api, namespace, "weather-agent")[0], host)
        found = until_synced(api, namespace, "weather-agent-card")
    assert found["card"] == {
        "name": "Weather Intelligence Agent",
        "version": "2.1.0",
        "capabilities": {"streaming": True, "batchProcessing": True},
        "skills": [{"name": "get_forecast", "description": "Get weather forecast"}],
    }


def test_an_agent_that_only_knows_the_old_path(api: ApiClient, team: Callable[..., str], operator: Path) -> None:
    """As the design's Flask program does: 404 on the new one, then the old one; nothing of ours is sent along."""
    namespace = team()
    with Agent({OLD: answer(CARD)}) as agent:
        agents.create(api, agents.deployment(namespace, "old"), agents.card(namespace, "old"))
        agents.move(api, agents.running(api, namespace, "old")[0], agent.address)
        found = until_synced(api, namespace, "old")
        assert [path for path, _ in agent.requests[:2]] == [NEW, OLD]
        assert found["source"]["url"].endswith(OLD)
        assert set(agent.requests[0][1]) == {"Host", "Accept", "Accept-Encoding", "Connection"}


def test_any_text_arrives_as_it_was(api: ApiClient, team: Callable[..., str], operator: Path) -> None:
    """Unknown fields, odd characters and all: what status has is what the agent serves."""
    namespace = team()
    with Agent({NEW: answer(json.dumps(ODD).encode())}) as agent:
        agents.create(api, agents.deployment(namespace, "odd"), agents.card(namespace, "odd"))
        agents.move(api, agents.running(api, namespace, "odd")[0], agent.address)
        found = until_synced(api, namespace, "odd")
        assert found["card"] == ODD
        fields = [one["fieldsV1"] for one in api.get("AgentCard", namespace, "odd").body["metadata"]["managedFields"]]
        (status_fields,) = [found["f:status"] for found in fields if "f:status" in found]
        assert status_fields["f:card"] == {}, "the card is one field: its keys are not in managedFields"


def test_a_card_of_the_largest_size_is_kept(api: ApiClient, team: Callable[..., str], operator: Path) -> None:
    """A mebibyte less a little goes through the API server and etcd."""
    namespace, large = team(), {"name": "Large", "text": "x" * 1_000_000}
    with Agent({NEW: answer(json.dumps(large).encode())}) as agent:
        agents.create(api, agents.deployment(namespace, "large"), agents.card(namespace, "large"))
        agents.move(api, agents.running(api, namespace, "large")[0], agent.address)
        assert until_synced(api, namespace, "large")["card"] == large


def test_an_unchanged_card_is_not_written(api: ApiClient, team: Callable[..., str], operator: Path) -> None:
    """Three fetches later its resourceVersion is what it was; a new card is there within its period."""
    namespace = team()
    with Agent({NEW: answer(CARD)}) as agent:
        agents.create(api, agents.deployment(namespace, "still"), agents.card(namespace, "still"))
        agents.move(api, agents.running(api, namespace, "still")[0], agent.address)
        until_synced(api, namespace, "still")
        version = api.get("AgentCard", namespace, "still").body["metadata"]["resourceVersion"]
        seen = len(agent.requests)
        wait_until(lambda: len(agent.requests) >= seen + 3, 60, lambda: f"{len(agent.requests) - seen} fetches")
        assert api.get("AgentCard", namespace, "still").body["metadata"]["resourceVersion"] == version
        agent.paths[NEW] = answer(b'{"name": "Weather", "version": "2"}')
        wait_until(lambda: status(api, namespace, "still")["card"].get("version") == "2", 30, lambda: "no new card")


def test_a_rollout_that_pauses(cluster: ControlPlane, api: ApiClient, team: Callable[..., str], operator: Path) -> None:
    """Pods of two revisions are ready: the new one's card counts, even when an old pod is reborn after it."""
    namespace = team()
    manifest = agents.deployment(namespace, "roll", replicas=2)
    manifest["spec"] |= {"minReadySeconds": 500, "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}
    with Agent({NEW: answer(b'{"name": "Old"}')}) as old, Agent({NEW: answer(b'{"name": "New"}')}) as new:
        agents.create(api, manifest, agents.card(namespace, "roll"))
        for pod in agents.running(api, namespace, "roll", 2):
            agents.move(api, pod, old.address)
        assert until_synced(api, namespace, "roll")["card"] == {"name": "Old"}
        known = {pod["metadata"]["uid"] for pod in agents.running(api, namespace, "roll", 2)}
        patch = {"spec": {"template": {"metadata": {"annotations": {"revision": "2"}}}}}
        assert api.merge("Deployment", namespace, "roll", patch).ok
        (fresh,) = [pod for pod in agents.running(api, namespace, "roll", 3) if pod["metadata"]["uid"] not in known]
        agents.move(api, fresh, new.address)
        wait_until(lambda: status(api, namespace, "roll")["card"] == {"name": "New"}, 40, lambda: "still the old card")
        victim = next(pod for pod in agents.running(api, namespace, "roll", 3) if pod["metadata"]["uid"] in known)
        api.delete("Pod", namespace, victim["metadata"]["name"])
        known.add(fresh["metadata"]["uid"])
        (reborn,) = [pod for pod in agents.running(api, namespace, "roll", 3) if pod["metadata"]["uid"] not in known]
        agents.move(api, reborn, old.address)
        asked = len(new.requests)
        wait_until(lambda: len(new.requests) >= asked + 2, 40, lambda: "the new pod is not asked")
        found = status(api, namespace, "roll")
        assert (found["card"], found["source"]["pod"]) == ({"name": "New"}, fresh["metadata"]["name"])
        assert conditions(found)["Consistent"] == ("True", "CardsEqual")


def test_a_stateful_set_that_is_updated_in_part(api: ApiClient, team: Callable[..., str], operator: Path) -> None:
    """Its newest template's pod counts, though an older one's is born again after it."""
    namespace = team()
    manifest = agents.deployment(namespace, "set", replicas=2)
    manifest["kind"] = "StatefulSet"
    manifest["spec"] |= {
        "serviceName": "set",
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
    }

    def pod(name: str, other_than: str = "") -> JSON:
        found: list[JSON] = []

        def there() -> bool:
            pods = agents.running(api, namespace, "set", 1)
            found[:] = [
                one for one in pods if (one["metadata"]["name"], one["metadata"]["uid"] != other_than) == (name, True)
            ]
            return bool(found)

        wait_until(there, 60, lambda: f"no {name}")
        return found[0]

    with Agent({NEW: answer(b'{"name": "Old"}')}) as old, Agent({NEW: answer(b'{"name": "New"}')}) as new:
        agents.create(api, manifest, agents.card(namespace, "set"))
        first = [pod("set-0"), pod("set-1")]
        for one in first:
            agents.move(api, one, old.address)
        assert until_synced(api, namespace, "set")["card"] == {"name": "Old"}
        patch = {"spec": {"template": {"metadata": {"annotations": {"revision": "2"}}}}}
        assert api.merge("StatefulSet", namespace, "set", patch).ok
        agents.move(api, pod("set-1", first[1]["metadata"]["uid"]), new.address)
        wait_until(lambda: status(api, namespace, "set")["card"] == {"name": "New"}, 40, lambda: "still the old card")
        api.delete("Pod", namespace, "set-0")
        agents.move(api, pod("set-0", first[0]["metadata"]["uid"]), old.address)
        asked = len(new.requests)
        wait_until(lambda: len(new.requests) >= asked + 2, 40, lambda: "the new template's pod is not asked")
        assert status(api, namespace, "set")["source"]["pod"] == "set-1"


def test_several_workloads_and_cards_that_differ(api: ApiClient, team: Callable[..., str], operator: Path) -> None:
    """One selector over two Deployments: synced, saying which one won; and that their cards differ."""
    namespace = team()
    with Agent({NEW: answer(b'{"name": "A"}')}) as one, Agent({NEW: answer(b'{"name": "B"}')}) as other:
        agents.create(
            api,
            agents.deployment(namespace, "a", labels={"team": "x"}),
            agents.deployment(namespace, "b", labels={"team": "x"}),
            agents.card(namespace, "both", selector={"matchLabels": {"team": "x"}}),
        )
        for name, agent in (("a", one), ("b", other)):
            agents.move(api, agents.running(api, namespace, name)[0], agent.address)
        wait_until(
            lambda: (
                conditions(status(api, namespace, "both"))
                == {"Synced": ("True", "MultipleWorkloads"), "Consistent": ("False", "CardsDiffer")}
            ),
            40,
            lambda: json.dumps(status(api, namespace, "both")),
        )
        found = status(api, namespace, "both")
        winner = "Deployment " + {"A": "a", "B": "b"}[found["card"]["name"]]
        assert f"the card is that of {winner}," in found["conditions"][0]["message"]
        assert (found["matchedPods"], found["matchedWorkloads"]) == (2, 2)
