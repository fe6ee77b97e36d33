"""``kagenti status`` against an API server: what the pods of each workload are, and what the replicas say."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.unit.cli.api_server import OURS, Server, runtime
from tests.unit.cli.conftest import Done
from tests.unit.cli.test_difference import pod_of, serve, template

JSON = Any  # an object, or the answer
Run = Callable[..., Done]

REFUSED = {
    "replica": "xds-0",
    "acked": 1,
    "rejected": 1,
    "revision": "abc",
    "lastError": "Listener inbound: no such filter",
}


@pytest.fixture
def status(kagenti: Run, api: Server) -> Run:
    """Runs ``status`` on team1."""
    return lambda *words: kagenti("status", "-n", "team1", *words, "--kubeconfig", api.kubeconfig)


def team(api: Server, *runtimes: JSON, deployments: tuple[JSON, ...] = (), pods: tuple[JSON, ...] = ()) -> None:
    """Serves team1 with these objects."""
    api.namespace("team1", runtimes=runtimes, enrolled="true")
    serve(api, "/namespaces/team1", deployments=deployments, pods=pods)


def test_pods_older_than_their_agent_runtime_are_bare_and_those_of_nobody_are_not_told(
    status: Run, api: Server
) -> None:
    """Exit code 1: somebody should look."""
    team(
        api,
        runtime("team1", "weather"),
        deployments=(template("weather"), template("plain")),
        pods=(pod_of("weather"), pod_of("plain")),
    )
    done = status()
    assert done.code == 1
    header, row, note = done.out.splitlines()
    assert header.split() == [
        "NAMESPACE",
        "WORKLOAD",
        "TRIGGER",
        "PODS",
        "CURRENT",
        "STALE",
        "BARE",
        "OTHER",
        "PROXIES",
    ]
    assert row.split() == ["team1", "deployment/weather", "AgentRuntime", "1", "0", "0", "1", "0", "-"]
    assert note.strip().startswith("1 pod is bare: ")


def test_a_refused_revision_is_quoted_with_its_replica(status: Run, api: Server) -> None:
    """The proxies that keep the last good one are counted against all."""
    held = {**runtime("team1", "weather"), "status": {"propagation": [REFUSED]}}
    team(api, held, deployments=(template("weather"),))
    done = status("deploy/weather")
    assert "1/2" in done.out
    assert "xds-0: 1 proxies refused revision abc: Listener inbound: no such filter" in done.out


def test_a_target_that_is_not_there_is_told(status: Run, api: Server) -> None:
    """With what the operator concluded."""
    resolved = {"type": "TargetResolved", "status": "False", "message": "Deployment weather does not exist"}
    team(api, {**runtime("team1", "weather"), "status": {"conditions": [resolved]}})
    answer = orjson.loads(status("-o", "json").out)
    assert answer[0]["notes"] == ["no such workload with pods here: Deployment weather does not exist"]


def test_a_namespace_with_nothing_of_ours_says_so(status: Run, api: Server) -> None:
    """Exit code 0."""
    team(api, deployments=(template("plain"),), pods=(pod_of("plain"),))
    done = status()
    assert (done.code, done.out) == (0, "no workload here is injected or asks for it\n")


def test_the_whole_cluster_is_asked_without_a_namespace(kagenti: Run, api: Server) -> None:
    """One list of each kind."""
    api.namespace("team1", enrolled="true")
    labelled = template("labelled", **{"kagenti.io/inject": "enabled"})
    serve(api, "", deployments=(labelled,))
    for plural in ("agentruntimes", "agentruntimeconfigs"):
        api.objects[f"{OURS}/{plural}"] = {"items": []}
    done = kagenti("status", "--kubeconfig", api.kubeconfig, "-o", "yaml")
    assert done.code == 0
    assert "workload: Deployment team1/labelled" in done.out


def test_watching_prints_again_only_what_has_changed(
    kagenti: Run, api: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is interrupted."""
    team(api, deployments=(template("weather", **{"kagenti.io/inject": "enabled"}),))
    looks = iter(["same", "other", "end"])

    def wait(_: float) -> None:
        match next(looks):
            case "other":
                serve(api, "/namespaces/team1")
            case "end":
                raise KeyboardInterrupt

    monkeypatch.setattr("kagenti.cli.standing.time.sleep", wait)
    done = kagenti("status", "-n", "team1", "--watch", "--kubeconfig", api.kubeconfig)
    assert done.code == 0
    first, second = done.out.split("\n\n")
    assert "deployment/weather" in first
    assert second == "no workload here is injected or asks for it\n"
