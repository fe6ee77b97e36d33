"""``kagenti migrate`` of a cluster as a person runs it: what is read, what is written, and what stops a step."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from kagenti.core.migration import eras
from tests import legacy
from tests.component.cli.api_server import OURS, Server
from tests.unit.cli.conftest import Done
from tests.unit.cli.test_migrate_dump import PLACE, documents

JSON = Any  # an object
Run = Callable[..., Done]


class Cluster:
    """An old installation behind the API server of the tests."""

    def __init__(self, api: Server, era: str) -> None:
        self.api, self.row = api, eras.ERAS[era]
        self.objects = legacy.example(era, PLACE)
        api.namespace(PLACE)
        api.objects["/api/v1/namespaces"]["items"][-1]["metadata"]["labels"] = {self.row.namespace_label: "true"}
        hooks = legacy.of_kind(self.objects, "MutatingWebhookConfiguration")
        api.objects["/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"] = {"items": hooks}
        api.objects["/api/v1/configmaps"] = {"items": []}
        for one in legacy.of_kind(self.objects, "ConfigMap"):
            metadata = one["metadata"]
            api.objects[f"/api/v1/namespaces/{metadata['namespace']}/configmaps/{metadata['name']}"] = one
        for kind, plural in (("Deployment", "deployments"), ("StatefulSet", "statefulsets")):
            api.objects[f"/apis/apps/v1/namespaces/{PLACE}/{plural}"] = {"items": legacy.of_kind(self.objects, kind)}

    def install(self, *entries: str) -> None:
        """Registers kagenti's webhook with these entries."""
        hooks = [{"name": f"{entry}.kagenti.io"} for entry in entries]
        found = {"metadata": {"name": "kagenti-injector"}, "webhooks": hooks}
        self.api.objects["/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"]["items"].append(found)

    def written(self) -> list[str]:
        """Returns the paths that were written to."""
        return [path.partition("?")[0] for verb, path, _ in self.api.requests if verb not in ("GET",)]


@pytest.fixture
def old(api: Server) -> Cluster:
    """The example of E2b."""
    return Cluster(api, "E2b")


def run_in(kagenti: Run, old: Cluster, *words: str) -> Done:
    """Runs a command of migrate over that namespace."""
    return kagenti("migrate", *words, "-n", PLACE, "--kubeconfig", old.api.kubeconfig)


def test_a_run_without_apply_writes_nothing(kagenti: Run, old: Cluster) -> None:
    """Whatever it reads; and it reads ConfigMaps by their names only."""
    done = run_in(kagenti, old, "configmaps", "--verify", "-o", "json")
    assert json.loads(done.out)["faults"] == []
    assert old.written() == []
    maps = {path.rpartition("/")[2] for _, path, _ in old.api.requests if "/configmaps" in path}
    assert maps <= {*eras.NAMESPACE_MAPS, *(name for _, *pair in eras.PAIRS for name in pair)}


def test_apply_is_server_side_and_takes_nobodys_field(kagenti: Run, old: Cluster) -> None:
    """No force; a conflict is said, everything else is applied: exit 1."""
    done = run_in(kagenti, old, "configmaps", "--apply")
    assert done.code == 0, done.out
    paths = [path for verb, path, _ in old.api.requests if verb == "PATCH"]
    assert all("fieldManager=kagenti-migrate" in path and "force" not in path for path in paths)
    assert old.written() == [
        f"{OURS}/agentruntimeclusterconfigs/default",
        f"{OURS}/namespaces/{PLACE}/agentruntimeconfigs/default",
    ]
    old.api.contested.add(f"{OURS}/agentruntimeclusterconfigs/default")
    done = run_in(kagenti, old, "configmaps", "--apply")
    assert done.code == 1
    assert "AgentRuntimeClusterConfig default: not applied" in done.out
    assert f"AgentRuntimeConfig {PLACE}/default applied" in done.out


@pytest.mark.parametrize(("replace", "code"), [((), 1), (("--replace",), 0)])
def test_what_an_earlier_run_set_is_not_taken_away(
    replace: tuple[str, ...], code: int, kagenti: Run, old: Cluster
) -> None:
    """A ConfigMap that was deleted meanwhile changes nothing, unless that is meant."""
    fields = {
        "f:spec": {"f:trace": {"f:sampling": {"f:rate": {}}}, "f:injection": {".": {}, "f:types": {"v:agent": {}}}}
    }
    live = {"managedFields": [{"manager": "kagenti-migrate", "fieldsV1": fields}], "resourceVersion": "1"}
    old.api.objects[f"{OURS}/agentruntimeclusterconfigs/default"] = {"metadata": live}
    done = run_in(kagenti, old, "configmaps", "--apply", *replace)
    assert done.code == code
    assert ("it would take spec.trace.sampling.rate away" in done.out) is bool(code)


@pytest.mark.parametrize(("word", "applied"), [("", False), ("--keep-injecting", True), ("--stop-injecting", True)])
def test_gates_that_are_all_false_wait_for_a_word(word: str, applied: bool, kagenti: Run, old: Cluster) -> None:
    """They had no effect; applied as written, the next restart of an agent would leave it bare."""
    gates = "{globalEnabled: false, envoyProxy: false, spiffeHelper: false, clientRegistration: false}"
    found = legacy.config_map(
        "kagenti-webhook-system", "kagenti-webhook-feature-gates", **{"feature-gates.yaml": gates}
    )
    old.api.objects["/api/v1/namespaces/kagenti-webhook-system/configmaps/kagenti-webhook-feature-gates"] = found
    done = run_in(kagenti, old, "configmaps", "--apply", *([word] if word else []))
    assert (done.code, bool(old.written())) == (0 if applied else 1, applied), done.out
    assert ("say --keep-injecting or --stop-injecting" in done.out) is not applied


def test_nothing_of_the_old_world(kagenti: Run, old: Cluster) -> None:
    """No ConfigMap, no manifest: a run after the move is harmless."""
    for path in [path for path in old.api.objects if "/configmaps/" in path]:
        del old.api.objects[path]
    done = run_in(kagenti, old, "configmaps", "--apply")
    assert (done.code, old.written()) == (0, [])
    assert "nothing is migrated" in done.out


def test_a_namespace_without_access(kagenti: Run, old: Cluster) -> None:
    """One fault, everything else is migrated: exit 1, and applied only as asked."""
    for name in eras.NAMESPACE_MAPS:
        old.api.refused[f"/api/v1/namespaces/closed/configmaps/{name}"] = 403
    done = run_in(kagenti, old, "configmaps", "-n", "closed", "-o", "json")
    assert done.code == 1
    assert len(documents(done.out)) == 2
    (fault,) = json.loads(done.err)["faults"]
    assert (fault["reason"], fault["object"]) == ("NoAccess", "ConfigMaps of namespace closed")
    done = run_in(kagenti, old, "configmaps", "-n", "closed", "--apply")
    assert (done.code, old.written()) == (1, [])
    assert "nothing was applied: 1 object could not be read" in done.out
    run_in(kagenti, old, "configmaps", "-n", "closed", "--apply", "--partial")
    assert len(old.written()) == 2


def test_namespaces_one_by_one_where_the_cluster_may_not_be_listed(kagenti: Run, old: Cluster) -> None:
    """Then those are asked that this account sees."""
    old.api.refused["/api/v1/configmaps"] = 403
    done = kagenti("migrate", "configmaps", "--kubeconfig", old.api.kubeconfig)
    assert done.code == 0, done.err
    assert [one["kind"] for one in documents(done.out)] == ["AgentRuntimeClusterConfig", "AgentRuntimeConfig"]


@pytest.mark.parametrize(
    ("entries", "enrolled", "step", "code"),
    [
        ((), False, "labels", 1),
        (("inject-label",), True, "labels", 1),
        (("inject-label", "inject-cr"), False, "labels", 1),
        (("inject-label", "inject-cr"), True, "labels", 0),
        ((), False, "old-webhook", 1),
        (("inject-label", "inject-cr"), True, "old-webhook", 0),
        (("inject-cr",), True, "mode-cr", 0),
        ((), False, "runtimes", 0),
        ((), False, "enrolment", 0),
        ((), False, "mode-both", 0),
    ],
)
def test_a_step_and_its_guard(
    entries: tuple[str, ...], enrolled: bool, step: str, code: int, kagenti: Run, old: Cluster
) -> None:
    """What would leave a pod bare is refused before anything is written."""
    if entries:
        old.install(*entries)
    if enrolled:
        old.api.objects[f"/api/v1/namespaces/{PLACE}"]["metadata"]["labels"]["kagenti.io/enrolled"] = "true"
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "forecast"}
        runtimes = [
            {
                "metadata": {"name": name, "namespace": PLACE},
                "spec": {"targetRef": {**reference, "kind": kind, "name": name}},
            }
            for name, kind in (("forecast", "Deployment"), ("ledger", "StatefulSet"))
        ]
        old.api.objects[f"{OURS}/namespaces/{PLACE}/agentruntimes"] = {"items": runtimes}
    done = run_in(kagenti, old, "trigger", "--to", "cr", "--step", step)
    assert done.code == code, done.err
    if code:
        assert old.written() == []
        assert "nothing was changed" in done.err


def test_labels_of_the_renamed_prefix_are_brought_over(kagenti: Run, api: Server) -> None:
    """By a step of the runbook, before anything triggers by them."""
    old = Cluster(api, "E5")
    done = run_in(kagenti, old, "trigger", "--to", "cr", "--step", "pod-labels")
    assert (done.code, {path.rpartition("/")[2] for path in old.written()}) == (0, {"forecast", "ledger"}), done.err
    assert "sets label kagenti.io/type: agent" in done.out


def test_a_patch_that_meets_another_version(kagenti: Run, old: Cluster) -> None:
    """Is said, with what to do: exit 1."""
    old.install("inject-label", "inject-cr")
    old.api.refused[f"/apis/apps/v1/namespaces/{PLACE}/statefulsets/ledger"] = 409
    done = run_in(kagenti, old, "trigger", "--to", "label", "--step", "labels")
    assert done.code == 1
    assert "StatefulSet lab1/ledger: not patched" in done.err
    assert "run the step again" in done.err


@pytest.mark.parametrize("installed", [False, True])
def test_sidecars_come_out_of_templates_only_where_others_go_in(installed: bool, kagenti: Run, api: Server) -> None:
    """Stripped without an injector, a pod would be bare."""
    old = Cluster(api, "E1c")
    if installed:
        old.install("inject-label", "inject-cr")
    done = run_in(kagenti, old, "labels", "--apply")
    assert (done.code, len(old.written())) == ((0, 2) if installed else (1, 0)), done.err


def test_a_label_that_would_opt_out_stays_where_it_is(kagenti: Run, old: Cluster) -> None:
    """On the workload it did nothing; on the template of a pod that is injected it would leave it bare."""
    agent = legacy.agent("odd", PLACE, labels=legacy.AGENT)
    agent["metadata"]["labels"]["kagenti.io/inject"] = "disabled"
    old.api.objects[f"/apis/apps/v1/namespaces/{PLACE}/deployments"]["items"] = [agent]
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "odd"}
    runtime = {"metadata": {"name": "odd", "namespace": PLACE}, "spec": {"targetRef": target}}
    old.api.objects[f"{OURS}/namespaces/{PLACE}/agentruntimes"] = {"items": [runtime]}
    old.api.objects[f"/api/v1/namespaces/{PLACE}"]["metadata"]["labels"]["kagenti.io/enrolled"] = "true"
    old.install("inject-label", "inject-cr")
    done = run_in(kagenti, old, "labels", "--apply")
    assert (done.code, old.written()) == (1, [])
    assert "OptOut" in done.err


def test_a_workload_of_another_group(kagenti: Run, old: Cluster) -> None:
    """Its pods lead to it; its version comes from discovery, and so does the path of its patch."""
    reference = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "name": "canary",
        "uid": "1",
        "controller": True,
    }
    pod = legacy.agent("canary", PLACE, labels=legacy.AGENT)["spec"]["template"]
    pod = {
        **pod,
        "metadata": {**pod["metadata"], "name": "canary-1", "namespace": PLACE, "ownerReferences": [reference]},
    }
    old.api.objects[f"/api/v1/namespaces/{PLACE}/pods"] = {"items": [pod]}
    names = {"name": "rollouts", "singularName": "rollout", "kind": "Rollout", "namespaced": True}
    old.api.objects["/apis/argoproj.io"] = {"preferredVersion": {"version": "v1alpha1"}}
    old.api.objects["/apis/argoproj.io/v1alpha1"] = {"resources": [names]}
    rollout = {
        **legacy.agent("canary", PLACE, labels=legacy.AGENT),
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
    }
    path = f"/apis/argoproj.io/v1alpha1/namespaces/{PLACE}/rollouts/canary"
    old.api.objects[path] = rollout
    old.install("inject-label", "inject-cr")
    steps = json.loads(run_in(kagenti, old, "trigger", "--to", "cr", "-o", "json").out)
    targets = [one["spec"]["targetRef"] for step in steps for one in step["manifests"] if one["kind"] == "AgentRuntime"]
    assert {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "canary"} in targets
    assert run_in(kagenti, old, "trigger", "--to", "label", "--step", "labels").code == 0
    assert path in old.written()


def test_older_objects_of_a_cluster(kagenti: Run, old: Cluster) -> None:
    """Groups that are not served have none."""
    spec = {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "forecast"}}
    one = {"metadata": {"name": "forecast", "namespace": PLACE}, "spec": spec}
    other = {"metadata": {"name": "forecast", "namespace": "other"}, "spec": spec}
    old.api.objects["/apis/agent.kagenti.dev/v1alpha1/agentruntimes"] = {"items": [one, other]}
    done = run_in(kagenti, old, "crs", "--apply")
    assert done.code == 0, done.out
    assert old.written() == [f"{OURS}/namespaces/{PLACE}/agentruntimes/forecast"]
