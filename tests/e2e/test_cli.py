"""The command line against a real API server: what it applies, reads and follows, and what it costs to start."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.e2e.admission.manifests import runtime, workload
from tests.e2e.command import kagenti
from tests.e2e.installed import ROOT
from tests.e2e.plane.access import Plane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a manifest, or an explanation
TEAMS = ("cli-one", "cli-two")
KINDS = ("agentcards", "agentruntimeclusterconfigs", "agentruntimeconfigs", "agentruntimes")
CUSTOM: JSON = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "rollouts.cli.example.com"},
    "spec": {
        "group": "cli.example.com",
        "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout", "shortNames": ["roll"]},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


def apply(cluster: Plane, *manifests: JSON) -> None:
    """Applies manifests as administrator."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)


def namespace(name: str) -> JSON:
    """An enrolled namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kagenti.io/enrolled": "true"}},
    }


@pytest.fixture(scope="module", autouse=True)
def _objects(cluster: Plane) -> Iterator[None]:
    """The CRDs by our own command, two teams, and in each an AgentRuntime for its Deployment; no webhook."""
    for kind in ("mutatingwebhookconfiguration", "validatingwebhookconfiguration"):
        cluster.kubectl("delete", kind, "--all", "--ignore-not-found")
    assert kagenti("crds", "--apply", "--kubeconfig", str(cluster.kubeconfig)).returncode == 0
    apply(cluster, CUSTOM, *map(namespace, TEAMS))
    # By name: whoever waits for all of them waits in vain for one that somebody is deleting.
    names = (CUSTOM["metadata"]["name"], *(f"{kind}.kagenti.io" for kind in KINDS))
    cluster.kubectl("wait", "--for=condition=Established", "crd", *names, "--timeout=20s")
    for team in TEAMS:
        apply(cluster, workload("Deployment", team, "weather"))
        apply(cluster, runtime(team, "weather", kind="Deployment", target="weather"))
    yield
    for team in TEAMS:
        cluster.kubectl("delete", "namespace", team, "--wait=false")
    cluster.kubectl("delete", "crd", "rollouts.cli.example.com", "--wait=false")


def explained(cluster: Plane, asked: str, team: str = TEAMS[0]) -> JSON:
    """Returns the explanation of a workload, as JSON."""
    done = kagenti("explain", asked, "-n", team, "-o", "json", "--kubeconfig", str(cluster.kubeconfig))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_crds_are_applied_again_without_harm(cluster: Plane) -> None:
    """One line each, by the command as a process; a second time changes nothing."""
    before = cluster.kubectl("get", "crd", "-o", "jsonpath={.items[*].metadata.generation}")
    command = [sys.executable, "-m", "kagenti", "crds", "--apply", "--kubeconfig", str(cluster.kubeconfig)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    lines = [f"customresourcedefinition {kind}.kagenti.io applied" for kind in KINDS]
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, lines, "")
    assert cluster.kubectl("get", "crd", "-o", "jsonpath={.items[*].metadata.generation}") == before


@pytest.mark.parametrize("asked", ["deployment/weather", "deploy/weather", "deployments.apps/weather"])
def test_explain_of_a_deployment(asked: str, cluster: Plane) -> None:
    """However its kind is written, its AgentRuntime is found."""
    answer = explained(cluster, asked)
    assert (answer["workload"], answer["exists"]) == (f"Deployment {TEAMS[0]}/weather", True)
    assert (answer["decision"], answer["trigger"]) == ("inject", "AgentRuntime")
    assert answer["inbound"]["portMapping"] == {"8080": 8081}


def test_explain_of_its_pod(cluster: Plane) -> None:
    """The real controllers' chain is followed up to the Deployment."""
    found: list[str] = []

    def made() -> bool:
        found[:] = cluster.kubectl("get", "pods", "-n", TEAMS[0], "-l", "app=weather", "-o", "name").split()
        return bool(found)

    wait_until(made, 60, lambda: "no pod of the Deployment")
    answer = explained(cluster, found[0])
    assert (answer["workload"], answer["trigger"]) == (f"Deployment {TEAMS[0]}/weather", "AgentRuntime")


def test_explain_of_a_job_of_a_cron_job(cluster: Plane) -> None:
    """The Job belongs to the CronJob that it was made from."""
    cron = workload("CronJob", TEAMS[0], "nightly")
    apply(cluster, {**cron, "spec": {**cron["spec"], "suspend": True}})
    apply(cluster, runtime(TEAMS[0], "nightly", kind="CronJob", target="nightly"))
    cluster.kubectl("create", "job", "nightly-1", "--from=cronjob/nightly", "-n", TEAMS[0])
    answer = explained(cluster, "job/nightly-1")
    assert (answer["workload"], answer["trigger"]) == (f"CronJob {TEAMS[0]}/nightly", "AgentRuntime")


def test_status_and_diff_over_the_cluster(cluster: Plane, tmp_path: Path) -> None:
    """Pods that predate their AgentRuntime are bare; a layer is compared for them before it is applied."""
    team = (*("-n", TEAMS[1]), "-o", "json", "--kubeconfig", str(cluster.kubeconfig))
    rows: list[JSON] = []

    def bare() -> bool:
        rows[:] = json.loads(kagenti("status", "deploy/weather", *team).stdout)
        return bool(rows) and rows[0]["pods"].get("bare", 0) > 0

    wait_until(bare, 60, lambda: f"{rows} has no bare pod")
    assert rows[0]["trigger"] == "AgentRuntime"
    config = {
        "apiVersion": "kagenti.io/v1alpha1",
        "kind": "AgentRuntimeConfig",
        "metadata": {"name": "default", "namespace": TEAMS[1]},
        "spec": {"trace": {"sampling": {"rate": 0.5}}},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    before = kagenti("diff", "-f", str(tmp_path / "config.json"), *team)
    (changed,) = json.loads(before.stdout)["changed"]
    assert (before.returncode, changed["workload"]) == (1, f"Deployment {TEAMS[1]}/weather")
    assert [change["path"] for change in changed["changes"]] == ["trace.sampling.rate"]
    apply(cluster, config)
    after = kagenti("diff", "-f", str(tmp_path / "config.json"), *team)
    assert (after.returncode, json.loads(after.stdout)["changed"]) == (0, [])


@pytest.mark.parametrize("asked", ["rollout.cli.example.com", "rollouts.cli.example.com", "roll.cli.example.com"])
def test_explain_of_a_custom_kind(asked: str, cluster: Plane) -> None:
    """Discovery says its version and plural."""
    custom = workload("Deployment", TEAMS[0], "canary", labels={"kagenti.io/inject": "enabled"})
    apply(cluster, {**custom, "apiVersion": "cli.example.com/v1alpha1", "kind": "Rollout"})
    answer = explained(cluster, f"{asked}/canary")
    assert (answer["workload"], answer["trigger"]) == (f"Rollout {TEAMS[0]}/canary", "Label")
    assert explained(cluster, f"{asked}/later")["exists"] is False


def test_inject_over_the_cluster(cluster: Plane, tmp_path: Path) -> None:
    """Every namespace of the files is read, and a file's AgentRuntime stands for the cluster's of its name."""
    off = runtime(TEAMS[1], "weather", kind="Deployment", target="weather", injection={"enabled": False})
    for name, manifest in (("1", workload("Deployment", TEAMS[0], "weather")), ("2", off)):
        (tmp_path / f"{name}.yaml").write_text(json.dumps(manifest))
    second = json.dumps(workload("Deployment", TEAMS[1], "weather"))
    words = [
        "inject",
        "--from-cluster",
        "--kubeconfig",
        str(cluster.kubeconfig),
        "-f",
        "-",
        "-f",
        str(tmp_path / "1.yaml"),
    ]
    for more, expected in (((), [True, True]), (("-f", str(tmp_path / "2.yaml")), [False, True])):
        done = kagenti(*words, *more, stdin=second)
        assert done.returncode == 0, done.stderr
        pods = [
            found["spec"]["template"]
            for found in YAML(typ="safe").load_all(done.stdout)
            if found["kind"] == "Deployment"
        ]
        assert ["initContainers" in pod["spec"] for pod in pods] == expected


def _may_everything(cluster: Plane, account: str) -> bool:
    try:
        cluster.kubectl("auth", "can-i", "*", "*", "-A", f"--as=system:serviceaccount:{TEAMS[0]}:{account}", "--quiet")
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("command", ["explain", "inject", "crds"])
def test_a_kubeconfig_with_a_plugin(command: str, cluster: Plane, tmp_path: Path) -> None:
    """Logging in by an exec plugin works in every command that reads the cluster."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "person", "namespace": TEAMS[0]}}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "cli-person"},
        "roleRef": role,
        "subjects": [{"kind": "ServiceAccount", "name": "person", "namespace": TEAMS[0]}],
    }
    apply(cluster, account, binding)
    wait_until(lambda: _may_everything(cluster, "person"), 20, lambda: "the API server does not know the binding")
    config = json.loads(cluster.service_account_kubeconfig(TEAMS[0], "person").read_text())
    version = "client.authentication.k8s.io/v1"
    credential = {"apiVersion": version, "kind": "ExecCredential", "status": config["users"][0]["user"]}
    plugin = {"apiVersion": version, "command": sys.executable, "args": ["-c", f"print({json.dumps(credential)!r})"]}
    config["users"][0]["user"] = {"exec": {**plugin, "interactiveMode": "Never"}}
    path, file = tmp_path / "kubeconfig", tmp_path / "app.yaml"
    path.write_text(json.dumps(config))
    file.write_text(json.dumps(workload("Deployment", TEAMS[0], "weather")))
    words = {
        "explain": ("explain", "weather", "-n", TEAMS[0]),
        "inject": ("inject", "--from-cluster", "-f", str(file)),
        "crds": ("crds", "--apply"),
    }[command]
    done = kagenti(*words, "--kubeconfig", str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("words", "never"),
    [
        (("--help",), {"pydantic", "ruamel.yaml", "aiohttp", "asyncio", "jsonschema", "rich", "kubernetes"}),
        (("inject", "-f", "examples/weather-agent-label.yaml"), {"aiohttp", "jsonschema", "rich", "kubernetes"}),
    ],
)
def test_a_command_imports_what_it_needs(words: tuple[str, ...], never: set[str]) -> None:
    """What makes a start slow is left out: the figures themselves are the bench's."""
    command = [sys.executable, "-X", "importtime", "-m", "kagenti", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "kagenti.cli" in imported
    assert imported & never == set()
