"""The commands against an API server: what they read, what replaces what, and what they say when it does not answer."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import orjson
import pytest

from kagenti.cli.schemas import texts
from tests.component.cli.api_server import OURS, Server, runtime
from tests.unit.cli.conftest import Done

JSON = Any  # a manifest
Run = Callable[..., Done]
Write = Callable[..., str]

NOW = ("--now", "2026-11-24T12:00:00Z")


def deployment(namespace: str, name: str = "weather") -> str:
    """A Deployment without labels of ours."""
    return f"""\
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  template:
    metadata: {{labels: {{app: w}}}}
    spec: {{containers: [{{name: a, image: b}}]}}
"""


def file_runtime(name: str, spec: str) -> str:
    """An AgentRuntime of team1 that targets the Deployment, as a file has it."""
    return f"""\
---
apiVersion: kagenti.io/v1alpha1
kind: AgentRuntime
metadata: {{name: {name}, namespace: team1}}
spec: {{targetRef: {{apiVersion: apps/v1, kind: Deployment, name: weather}}, {spec}}}
"""


def manifest(kind: str, name: str, *, owner: JSON = None, template: bool = True, version: str = "apps/v1") -> JSON:
    """An object of team1 as the API server has it, controlled by ``owner``."""
    metadata = {"name": name, "namespace": "team1", "uid": f"uid-{name}"}
    pod = {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
    if owner is not None:
        reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": True}
        metadata["ownerReferences"] = [{**reference, **{key: owner["metadata"][key] for key in ("name", "uid")}}]
    body = {"spec": {"template": pod}} if template else pod
    return {**body, "apiVersion": version, "kind": kind, "metadata": metadata}


def settings(text: str) -> dict[str, JSON]:
    """Returns path → value of the settings of an explanation."""
    return {entry["path"]: entry["value"] for entry in orjson.loads(text)["settings"]}


@pytest.fixture
def inject(kagenti: Run, api: Server) -> Run:
    """Runs ``inject --from-cluster`` on files."""
    return lambda *files, **_: kagenti(
        "inject",
        "--from-cluster",
        "--kubeconfig",
        api.kubeconfig,
        *NOW,
        *(word for file in files for word in ("-f", file)),
    )


@pytest.fixture
def explain(kagenti: Run, api: Server) -> Run:
    """Runs ``explain`` on team1, as JSON."""
    return lambda *words: kagenti("explain", *words, "-n", "team1", "-o", "json", "--kubeconfig", api.kubeconfig)


def injected(text: str) -> list[bool]:
    """Returns of each Deployment whether it was injected; read as text, for YAML of that size takes a tenth of a second."""
    found = [part for part in text.split("---\n") if "\nkind: Deployment\n" in part]
    return ["\n      initContainers:\n" in part for part in found]


def test_every_namespace_of_the_files_is_read(inject: Run, api: Server, written: Write) -> None:
    """Each has its AgentRuntimes and its labels; a namespace that nobody names is not read."""
    for name in ("team1", "team2", "team3"):
        api.namespace(name, runtimes=(runtime(name, "weather"),), **({} if name == "team2" else {"enrolled": "true"}))
    done = inject(written(deployment("team1") + deployment("team2")))
    assert (done.code, injected(done.out)) == (0, [True, False]), done.err
    paths = {path for _, path, _ in api.requests}
    assert f"{OURS}/namespaces/team3/agentruntimes" not in paths
    assert f"{OURS}/namespaces/default/agentruntimes" not in paths


def test_a_namespace_that_does_not_exist_yet(inject: Run, api: Server, written: Write) -> None:
    """It is no fault: what is said of it (enrolled) counts."""
    api.namespace("team1")
    api.objects[f"{OURS}/namespaces/new/agentruntimes"] = {"items": [runtime("new", "weather")]}
    api.objects[f"{OURS}/namespaces/new/agentruntimeconfigs"] = {"items": []}
    done = inject(written(deployment("new")))
    assert (done.code, injected(done.out)) == (0, [True]), done.err


def test_where_namespaces_may_not_be_listed(inject: Run, api: Server, written: Write) -> None:
    """They are read one by one."""
    api.namespace("team1", runtimes=(runtime("team1", "weather"),))
    api.refused["/api/v1/namespaces"] = 403
    done = inject(written(deployment("team1")))
    assert (done.code, injected(done.out)) == (0, [False]), done.err


@pytest.mark.parametrize(
    ("name", "held"),
    [("weather", False), ("another", True)],
    ids=["the same object: the file's counts", "a second one: the elder counts, as in the webhook"],
)
def test_files_replace_what_the_cluster_holds(name: str, held: bool, inject: Run, api: Server, written: Write) -> None:
    """By kind, namespace and name; age decides between two AgentRuntimes, and what is new is the youngest."""
    api.namespace("team1", runtimes=(runtime("team1", "weather"),), enrolled="true")
    done = inject(written(deployment("team1") + file_runtime(name, "injection: {enabled: false}")))
    assert (done.code, injected(done.out)) == (0, [held]), done.err


def test_a_config_in_the_files_replaces_the_clusters(inject: Run, api: Server, written: Write) -> None:
    """Whole, as applying it would."""
    api.namespace(
        "team1", runtimes=(runtime("team1", "weather"),), config={"injection": {"enabled": False}}, enrolled="true"
    )
    layer = (
        "---\napiVersion: kagenti.io/v1alpha1\nkind: AgentRuntimeConfig\nmetadata: {name: default, namespace: team1}\n"
    )
    assert injected(inject(written(deployment("team1"))).out) == [False]
    assert injected(inject(written(deployment("team1") + layer + "spec: {}\n")).out) == [True]


def test_a_plugin_gives_the_token(kagenti: Run, api: Server, written: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exec kubeconfig works in every command that reads a cluster: its plugin runs a loop of its own."""
    client, config, package = ModuleType("client"), ModuleType("config"), ModuleType("kubernetes.aio")

    class Configuration:
        api_key: dict[str, str]

    async def load_kube_config(*, config_file: str, client_configuration: Configuration) -> None:
        client_configuration.api_key = {"authorization": "Bearer of-the-plugin"}

    vars(client)["Configuration"], vars(config)["load_kube_config"] = Configuration, load_kube_config
    vars(package).update(client=client, config=config)
    monkeypatch.setitem(sys.modules, "kubernetes.aio", package)
    monkeypatch.setitem(sys.modules, "kubernetes", ModuleType("kubernetes"))
    api.namespace("team1")
    user = ("--kubeconfig", api.write_kubeconfig({"exec": {"command": "login"}}))
    file = written(deployment("team1"))
    for words in (
        ("inject", "--from-cluster", "-f", file),
        ("explain", "deploy/x", "-n", "team1"),
        ("crds", "--apply"),
    ):
        api.requests.clear()
        done = kagenti(*words, *user)
        assert done.code == 0, done.err
        assert {token for _, _, token in api.requests} == {"Bearer of-the-plugin"}


@pytest.mark.parametrize(
    "asked", ["deployment/weather", "deployments/weather", "deploy/weather", "Deployment.apps/weather", "weather"]
)
def test_explain_reads_the_workload(asked: str, explain: Run, api: Server) -> None:
    """However its kind is written."""
    api.namespace("team1", runtimes=(runtime("team1", "weather"),), enrolled="true")
    api.objects["/apis/apps/v1/namespaces/team1/deployments/weather"] = manifest("Deployment", "weather")
    answer = orjson.loads(explain(asked).out)
    assert (answer["workload"], answer["exists"]) == ("Deployment team1/weather", True)
    assert (answer["decision"], answer["trigger"]) == ("inject", "AgentRuntime")


def test_explain_follows_a_pod_to_its_top(explain: Run, api: Server) -> None:
    """Through its ReplicaSet to the Deployment that an AgentRuntime targets, as the webhook does."""
    api.namespace("team1", runtimes=(runtime("team1", "weather"),), enrolled="true")
    top = manifest("Deployment", "weather")
    middle = manifest("ReplicaSet", "weather-1", owner=top)
    api.objects["/apis/apps/v1/namespaces/team1/replicasets/weather-1"] = middle
    pod = manifest("Pod", "weather-1-x", owner=middle, template=False, version="v1")
    api.objects["/api/v1/namespaces/team1/pods/weather-1-x"] = pod
    answer = orjson.loads(explain("po/weather-1-x").out)
    assert (answer["workload"], answer["trigger"]) == ("Deployment team1/weather", "AgentRuntime")


def test_a_reference_that_does_not_hold(explain: Run, api: Server) -> None:
    """Such a pod stands alone, whatever its author wrote."""
    api.namespace("team1", runtimes=(runtime("team1", "weather"),), enrolled="true")
    gone = manifest("ReplicaSet", "weather-1")
    pod = manifest("Pod", "liar", owner=gone, template=False, version="v1")
    api.objects["/api/v1/namespaces/team1/pods/liar"] = pod
    answer = orjson.loads(explain("pod/liar").out)
    assert (answer["workload"], answer["reason"]) == ("Pod team1/liar", "NoTrigger")


def test_explain_follows_a_job_to_its_cron_job(explain: Run, api: Server) -> None:
    """A Job of a CronJob belongs to it; a Job on its own is its own top."""
    api.namespace("team1", enrolled="true")
    top = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly", "uid": "uid-nightly"}}
    for name, owner in (("nightly-1", top), ("once", None)):
        path = f"/apis/batch/v1/namespaces/team1/jobs/{name}"
        api.objects[path] = manifest("Job", name, owner=owner, version="batch/v1")
    assert orjson.loads(explain("job/nightly-1").out)["workload"] == "CronJob team1/nightly"
    assert orjson.loads(explain("jobs.batch/once").out)["workload"] == "Job team1/once"


@pytest.mark.parametrize("asked", ["rollout.argoproj.io", "rollouts.argoproj.io", "ro.argoproj.io"])
def test_explain_of_a_custom_kind(asked: str, explain: Run, api: Server) -> None:
    """Its version and plural come from discovery; it need not exist yet."""
    api.namespace("team1", enrolled="true")
    api.objects["/apis/argoproj.io"] = {"preferredVersion": {"version": "v1alpha1"}}
    names = {"name": "rollouts", "singularName": "rollout", "shortNames": ["ro"], "kind": "Rollout", "namespaced": True}
    api.objects["/apis/argoproj.io/v1alpha1"] = {
        "resources": [{**names, "name": "rollouts/status", "shortNames": None}, names]
    }
    api.objects["/apis/argoproj.io/v1alpha1/namespaces/team1/rollouts/weather"] = manifest("Rollout", "weather")
    answer = orjson.loads(explain(f"{asked}/weather").out)
    assert (answer["workload"], answer["exists"]) == ("Rollout team1/weather", True)
    answer = orjson.loads(explain(f"{asked}/later").out)
    assert (answer["workload"], answer["exists"]) == ("Rollout team1/later", False)


@pytest.mark.parametrize(
    ("asked", "code", "says"),
    [
        ("rollout.argoproj.io/x", 2, "serves no API group 'argoproj.io'"),
        ("thing.example.com/x", 2, "/apis/example.com/v1 serves no namespaced kind 'thing'"),
        ("configless.example.com/x", 2, "Configless team1/x has no pod template to explain"),
        ("rollout/x", 2, "KIND.GROUP/NAME for a kind of another API group"),
        ("deployment.example.com/", 2, "want KIND/NAME"),
        ("deployment/secret", 3, "was answered 403: no /apis/apps/v1/namespaces/team1/deployments/secret for you"),
    ],
)
def test_what_cannot_be_explained(asked: str, code: int, says: str, explain: Run, api: Server) -> None:
    """One line that says what is wrong, by whose fault it is."""
    api.namespace("team1")
    api.objects["/apis/example.com"] = {"preferredVersion": {"version": "v1"}}
    kind = {"name": "configlesses", "singularName": "configless", "kind": "Configless", "namespaced": True}
    api.objects["/apis/example.com/v1"] = {"resources": [kind]}
    api.objects["/apis/example.com/v1/namespaces/team1/configlesses/x"] = {"metadata": {"name": "x"}, "spec": {}}
    api.refused["/apis/apps/v1/namespaces/team1/deployments/secret"] = 403
    done = explain(asked)
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert done.err.count("\n") == 1


def test_a_cluster_without_our_kinds(explain: Run, api: Server) -> None:
    """It is said what is missing and how to get it."""
    api.objects.clear()
    done = explain("deployment/weather")
    assert (done.code, done.out) == (3, "")
    assert "kagenti is not installed there; `kagenti crds --apply` installs its kinds" in done.err


@pytest.mark.parametrize(("times", "code"), [(2, 0), (99, 3)])
def test_a_cluster_that_is_busy(times: int, code: int, explain: Run, api: Server) -> None:
    """As right after a CRD is applied: asked again when it says so, but not for ever."""
    api.namespace("team1")
    api.busy = {f"{OURS}/agentruntimeclusterconfigs": times}
    done = explain("deploy/weather")
    assert (done.code, "was answered 429" in done.err) == (code, code == 3)


def test_a_cluster_that_does_not_answer(kagenti: Run, api: Server) -> None:
    """A cluster error, not a crash."""
    api.address = "http://127.0.0.1:1"
    done = kagenti("explain", "deploy/weather", "--kubeconfig", api.write_kubeconfig({}))
    assert (done.code, done.out) == (3, "")
    assert "got no answer from the API server" in done.err


def test_a_rule_for_a_service_counts_where_its_namespace_exists(explain: Run, api: Server) -> None:
    """Whether ``name.namespace`` is inside the cluster depends on the namespaces there are, as in the webhook."""
    rule = {"match": {"host": "tool.team2"}, "target": {"audience": "tool"}, "upstream": {"tls": "Off"}}
    spec = {"identity": {"outbound": {"tokenExchange": {"destinationRules": [rule]}}}}
    api.namespace("team1", runtimes=(runtime("team1", "weather", **spec),), enrolled="true")
    api.objects["/apis/apps/v1/namespaces/team1/deployments/weather"] = manifest("Deployment", "weather")
    before = orjson.loads(explain("deploy/weather").out)
    api.namespace("team2")
    after = orjson.loads(explain("deploy/weather").out)
    said = "a token would travel in clear outside the cluster"
    assert [said in str(answer["findings"]) for answer in (before, after)] == [True, False]


def test_crds_are_applied(kagenti: Run, api: Server) -> None:
    """Server-side, each by name, with one line each."""
    done = kagenti("crds", "--apply", "--kubeconfig", api.kubeconfig)
    plurals = ("agentcards", "agentruntimeclusterconfigs", "agentruntimeconfigs", "agentruntimes")
    names = [f"{plural}.kagenti.io" for plural in plurals]
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [f"customresourcedefinition {name} applied" for name in names]
    base = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    expected = [("PATCH", f"{base}/{name}?fieldManager=kagenti&force=true") for name in names]
    assert [(method, path) for method, path, _ in api.requests] == expected


def test_crds_are_printed(kagenti: Run) -> None:
    """As they were generated, as one stream for kubectl."""
    done = kagenti("crds")
    assert (done.code, done.err) == (0, "")
    assert done.out == "".join(f"---\n{text}" for text in texts())
    assert done.out.count("\nkind: CustomResourceDefinition\n") == len(texts()) == 4
