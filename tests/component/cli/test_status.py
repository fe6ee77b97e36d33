"""``kagenti status`` against an API server: what the pods of each workload are, and what the replicas say."""

import io
import threading
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from kagenti.cli import patience
from tests.component.cli.api_server import OURS, Server, runtime
from tests.component.cli.test_difference import everywhere, pod_of, serve, template
from tests.unit.cli.conftest import Done
from tests.unit.core.test_installed import configuration

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
    everywhere(api)
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


def test_watching_sees_what_is_installed_meanwhile(kagenti: Run, api: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says once that nothing was."""
    team(api, deployments=(template("weather", **{"kagenti.io/inject": "enabled"}),))
    looks = iter(["same", "installed", "end"])

    def wait(_: float) -> None:
        match next(looks):
            case "installed":
                path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/kagenti-injector"
                api.objects[path] = configuration("inject-cr")
            case "end":
                raise KeyboardInterrupt

    monkeypatch.setattr("kagenti.cli.standing.time.sleep", wait)
    done = kagenti("status", "-n", "team1", "--watch", "--kubeconfig", api.kubeconfig)
    first, second = done.out.split("\n\n")
    assert "Label" in first
    assert second == "no workload here is injected or asks for it\n", "the label triggers nothing in mode cr"
    assert done.err.count("nothing is injected there now") == 1


@pytest.mark.parametrize(("words", "target"), [((), 1), (("--target", "workloads"), 1)], ids=["pods", "workloads"])
def test_a_bare_pod_is_bare_with_every_target(words: tuple[str, ...], target: int, status: Run, api: Server) -> None:
    """With target workloads the webhook is called for the Deployment above the pod, not for the pod."""
    team(api, runtime("team1", "weather"), deployments=(template("weather"),), pods=(pod_of("weather"),))
    answer = orjson.loads(status("-o", "json", *words).out)
    assert answer[0]["pods"] == {"total": 1, "bare": target}


def test_an_agent_runtime_that_nobody_asks_about_is_told(status: Run, api: Server) -> None:
    """The namespace is not enrolled: its pods will not be injected, and the way out is named."""
    team(api, runtime("team1", "weather"), deployments=(template("weather"),))
    api.objects["/api/v1/namespaces"]["items"][0]["metadata"]["labels"] = {}
    done = status()
    assert done.code == 1
    assert "NotEnrolled: namespace team1 is not enrolled; enrol it: kubectl label" in done.out


def test_a_labelled_workload_behind_the_emergency_door_is_told(status: Run, api: Server) -> None:
    """Its pods start without identity, whoever asks for one."""
    team(api, deployments=(template("weather", **{"kagenti.io/inject": "enabled"}), template("plain")))
    api.objects["/api/v1/namespaces"]["items"][0]["metadata"]["labels"] = {"kagenti.io/break-glass": "yes"}
    done = status("-o", "json")
    [row] = orjson.loads(done.out)
    assert (done.code, row["workload"]) == (1, "Deployment team1/weather")
    assert row["notes"][0].startswith("its next pods are not injected: BreakGlass: ")


def test_pods_behind_the_emergency_door_are_told_as_bare(status: Run, api: Server) -> None:
    """With what ends it."""
    team(api, runtime("team1", "weather"), deployments=(template("weather"),), pods=(pod_of("weather"),))
    api.objects["/api/v1/namespaces"]["items"][0]["metadata"]["labels"] = {
        "kagenti.io/enrolled": "true",
        "kagenti.io/break-glass": "yes",
    }
    [row] = orjson.loads(status("-o", "json").out)
    assert row["pods"] == {"total": 1, "bare": 1}
    assert row["notes"][1].startswith("1 pod is bare: namespace team1 carries kagenti.io/break-glass; remove it")


def test_of_two_agent_runtimes_the_one_in_force_tells_of_proxies(status: Run, api: Server) -> None:
    """The older one, wherever it stands in the list."""
    older = {**runtime("team1", "b"), "status": {"propagation": [{"replica": "xds-0", "acked": 2}]}}
    younger = runtime("team1", "a", created="2026-02-01T00:00:00Z")
    for runtimes in ((older, younger), (younger, older)):
        api.objects.pop("/api/v1/namespaces", None)
        team(api, *runtimes, deployments=(template("weather"),))
        assert "2/2" in status().out


def test_a_workload_that_is_not_there_is_named(status: Run, api: Server) -> None:
    """A typing error must not read as good news."""
    team(api, deployments=(template("plain"),))
    done = status("deploy/wheather")
    assert (done.code, done.out) == (2, "")
    assert "no Deployment wheather in namespace team1" in done.err
    assert status("deploy/plain").out == "Deployment plain is not injected and does not ask for it\n"


@pytest.mark.parametrize("command", ["status", "analyze"])
def test_a_namespace_that_is_not_there_is_named(command: str, kagenti: Run, api: Server) -> None:
    """Its lists are empty, and must not read as good news."""
    api.namespace("team1")
    api.namespace("tema1")
    api.objects["/api/v1/namespaces"]["items"].pop()
    serve(api, "/namespaces/tema1")
    done = kagenti(command, "-n", "tema1", "--kubeconfig", api.kubeconfig)
    assert (done.code, done.out) == (2, "")
    assert "there is no namespace 'tema1'" in done.err


def test_a_job_that_has_ended_is_told_of_only_where_it_is_targeted(status: Run, api: Server) -> None:
    """No pod is made of it any more, and its template cannot be changed."""
    done = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    labelled, running = (template(name, **{"kagenti.io/inject": "enabled"}) for name in ("over", "running"))
    api.namespace("team1", enrolled="true")
    serve(api, "/namespaces/team1", jobs=({**labelled, **done}, running))
    assert [row["workload"] for row in orjson.loads(status("-o", "json").out)] == ["Job team1/running"]
    held = runtime("team1", "held", target="over")
    held["spec"]["targetRef"] |= {"apiVersion": "batch/v1", "kind": "Job"}
    api.objects[f"{OURS}/namespaces/team1/agentruntimes"]["items"].append(held)
    answer = orjson.loads(status("-o", "json").out)
    assert [(row["workload"], row["notes"]) for row in answer] == [("Job team1/over", []), ("Job team1/running", [])]


def test_a_word_that_is_no_workload_is_refused_before_the_cluster_is_asked(status: Run, api: Server) -> None:
    """With what is wanted."""
    done = status("foo/bar")
    assert (done.code, api.requests) == (2, [])
    assert "want KIND/NAME" in done.err


@pytest.mark.parametrize("words", [("-n", "team1"), ()], ids=["one namespace", "all"])
def test_what_may_not_be_listed_says_which_right_is_missing(words: tuple[str, ...], kagenti: Run, api: Server) -> None:
    """With the API server's words, and what to do."""
    api.namespace("team1")
    everywhere(api)
    scope = "/namespaces/team1" if words else ""
    serve(api, scope)
    api.refused = {f"/api/v1{scope}/pods": 403}
    done = kagenti("status", *words, "--kubeconfig", api.kubeconfig)
    assert done.code == 3
    assert f"no /api/v1{scope}/pods for you" in done.err
    assert "ClusterRole view" in done.err


def test_watching_outlives_an_api_server_that_goes_away(
    kagenti: Run, api: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said once, not at each look; a right that is taken away ends it."""
    team(api, deployments=(template("weather", **{"kagenti.io/inject": "enabled"}),))
    looks = iter([503, 503, 200, 403])

    def wait(_: float) -> None:
        api.refused = {"/apis/apps/v1/namespaces/team1/deployments": next(looks)}
        if next(iter(api.refused.values())) == 200:
            api.refused = {}
            serve(api, "/namespaces/team1")

    monkeypatch.setattr("kagenti.cli.standing.time.sleep", wait)
    done = kagenti("status", "-n", "team1", "--watch", "-o", "yaml", "--kubeconfig", api.kubeconfig)
    assert done.code == 3
    assert done.out.split("---\n")[1:] == ["[]\n"]
    assert done.err.count("was answered 503") == 1
    assert "looking again" in done.err


class Heard(io.StringIO):
    """A stream that tells when something has been written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.at_all = threading.Event()

    def write(self, text: str) -> int:
        """Notes the text."""
        written = super().write(text)
        self.at_all.set()
        return written


def test_a_look_that_takes_long_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """On stderr, so that a program can still read the answer; one that is quick says nothing."""
    heard = Heard()
    monkeypatch.setattr("sys.stderr", heard)
    with patience.told("team1"):
        pass
    assert heard.getvalue() == ""
    monkeypatch.setattr(patience, "AFTER", 0.0)
    with patience.told("team1"):
        assert heard.at_all.wait(10)
    assert heard.getvalue() == "kagenti: still looking at team1\n"
