"""``kagenti diff`` against an API server: what would change for which workload, and how it arrives."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.component.cli.api_server import OURS, Server, runtime
from tests.unit.cli.conftest import Done

JSON = Any  # an object, or the answer
Run = Callable[..., Done]
Write = Callable[..., str]

CONFIG = """\
---
apiVersion: kagenti.io/v1alpha1
kind: AgentRuntimeConfig
metadata: {{name: default, namespace: {namespace}}}
spec: {spec}
"""
CLUSTER = """\
---
apiVersion: kagenti.io/v1alpha1
kind: AgentRuntimeClusterConfig
metadata: {name: default}
spec: {trace: {sampling: {rate: 0.5}}}
"""


def template(name: str, **labels: str) -> JSON:
    """A Deployment of team1 as the API server lists it."""
    pod = {"metadata": {"labels": {"app": name, **labels}}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
    return {"metadata": {"name": name, "namespace": "team1", "uid": name}, "spec": {"template": pod}}


def serve(api: Server, scope: str, **lists: tuple[JSON, ...]) -> None:
    """Serves every list that a look at a fleet reads, in a namespace or in the whole cluster; empty where not given."""
    groups = {"pods": "/api/v1", "replicasets": "/apis/apps/v1", "cronjobs": "/apis/batch/v1", "jobs": "/apis/batch/v1"}
    groups |= dict.fromkeys(("deployments", "statefulsets", "daemonsets"), "/apis/apps/v1")
    for plural, base in groups.items():
        api.objects[f"{base}{scope}/{plural}"] = {"items": list(lists.get(plural, ()))}


def everywhere(api: Server) -> None:
    """Serves the lists of our namespaced kinds for the whole cluster, empty."""
    for plural in ("agentruntimes", "agentruntimeconfigs"):
        api.objects[f"{OURS}/{plural}"] = {"items": []}


@pytest.fixture
def diff(kagenti: Run, api: Server, written: Write) -> Run:
    """Runs ``diff`` on the text of a file; its answer as JSON unless another output is named."""

    def run(text: str, output: str = "json") -> Done:
        return kagenti("diff", "-f", written(text), "-o", output, "--kubeconfig", api.kubeconfig)

    return run


@pytest.fixture
def team(api: Server) -> Server:
    """A namespace with one workload under an AgentRuntime, one under the label, and one that is not ours; one pod each."""
    api.namespace("team1", runtimes=(runtime("team1", "weather"),), enrolled="true")
    labelled = template("labelled", **{"kagenti.io/inject": "enabled"})
    weather, plain = template("weather"), template("plain")
    serve(api, "/namespaces/team1", deployments=(weather, labelled, plain), pods=(pod_of("weather"), pod_of("plain")))
    return api


def pod_of(name: str) -> JSON:
    """A pod without a receipt, made through a ReplicaSet that nothing was read of."""
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": name, "controller": True}
    metadata = {"name": f"{name}-1", "namespace": "team1", "uid": f"{name}-1", "ownerReferences": [owner]}
    return {"metadata": metadata, "spec": template(name)["spec"]["template"]["spec"], "status": {"phase": "Running"}}


def test_a_layer_of_a_namespace_changes_its_injected_workloads_and_no_other(diff: Run, team: Server) -> None:
    """The one that is not injected is not told of; each change says its class and who sets it."""
    done = diff(CONFIG.format(namespace="team1", spec="{identity: {inbound: {port: 9000}}}"))
    answer = orjson.loads(done.out)
    assert done.code == 1
    assert answer["workloads"] == 3
    assert [row["workload"] for row in answer["changed"]] == ["Deployment team1/weather", "Deployment team1/labelled"]
    assert {
        "path": "identity.inbound.port",
        "before": 8080,
        "after": 9000,
        "class": "restart",
        "origin": "AgentRuntimeConfig team1/default",
    } in answer["changed"][0]["changes"]
    assert [row["pods"] for row in answer["changed"]] == [1, 0]


def test_the_same_change_of_many_workloads_is_told_once(diff: Run, team: Server) -> None:
    """On the terminal; with how many take it at once and how many pods would be behind."""
    done = diff(CONFIG.format(namespace="team1", spec="{identity: {inbound: {port: 9000}}}"), "table")
    lines = done.out.splitlines()
    assert lines[0] == "Deployment team1/weather, Deployment team1/labelled"
    assert "  restart identity.inbound.port: 8080 → 9000  (AgentRuntimeConfig team1/default)" in lines
    assert lines[-1].startswith("2 of 3 workloads change; 0 of them at once in running proxies; 1 running pods")


def test_what_is_in_force_already_changes_nothing(diff: Run, team: Server) -> None:
    """Exit code 0, as kubectl diff has it."""
    spec = {"identity": {"inbound": {"port": 9000}}}
    team.objects[f"{OURS}/namespaces/team1/agentruntimeconfigs"] = {
        "items": [{"metadata": {"name": "default", "namespace": "team1"}, "spec": spec}]
    }
    done = diff(CONFIG.format(namespace="team1", spec="{identity: {inbound: {port: 9000}}}"), "table")
    assert (done.code, done.out) == (0, "nothing changes for 3 workloads\n")


def test_a_layer_that_makes_the_result_invalid_says_why(diff: Run, team: Server) -> None:
    """The next pods would be denied, and the fault is named."""
    spec = "{identity: {inbound: {targetPort: 15021}}}"
    changed = orjson.loads(diff(CONFIG.format(namespace="team1", spec=spec)).out)["changed"]
    assert {row["after"] for row in changed} == {"denied (ConfigInvalid)"}
    assert "ConfigInvalid: " in changed[0]["findings"][0]


def test_the_clusters_layer_is_compared_for_every_namespace(diff: Run, api: Server) -> None:
    """Lists without a namespace are read once each."""
    api.namespace("team1", enrolled="true")
    serve(api, "", deployments=(template("labelled", **{"kagenti.io/inject": "enabled"}),))
    everywhere(api)
    answer = orjson.loads(diff(CLUSTER).out)
    changed = {change["path"]: change["class"] for change in answer["changed"][0]["changes"]}
    assert changed["trace.sampling.rate"] == "both"
    assert answer["changed"][0]["workload"] == "Deployment team1/labelled"


def test_a_namespace_keeps_the_labels_that_a_file_does_not_name(diff: Run, team: Server) -> None:
    """As ``kubectl apply`` leaves them: a manifest without the platform's label does not end enrolment."""
    head = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: team1"
    assert orjson.loads(diff(f"{head}}}\n").out)["changed"] == []
    added = orjson.loads(diff(f"{head}, labels: {{kagenti.io/break-glass: 'yes'}}}}\n").out)["changed"]
    assert {row["after"] for row in added} == {"left alone"}


@pytest.mark.parametrize(
    "text",
    [
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: team1}\n",
        "---\napiVersion: kagenti.io/v1alpha1\nkind: AgentCard\nmetadata: {name: c, namespace: team1}\n"
        "spec: {selector: {matchLabels: {app: a}}}\n",
    ],
    ids=["a Secret", "an AgentCard, which is no layer"],
)
def test_files_without_a_layer_are_an_input_error(text: str, diff: Run, api: Server) -> None:
    """Nothing is read of the cluster."""
    done = diff(text)
    assert done.code == 2
    assert "hold no AgentRuntimeClusterConfig" in done.err
    assert api.requests == []
