"""``kagenti migrate`` as a person runs it: outputs, exit codes, what is read and written, from dumps and from a cluster."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from ruamel.yaml import YAML
from scripts import migrate_configmaps

from kagenti.core.migration import eras
from tests import legacy
from tests.unit.cli.api_server import OURS, Server
from tests.unit.cli.conftest import Done

JSON = Any  # an object
Run = Callable[..., Done]
Write = Callable[..., str]
PLACE = "lab1"
DEFAULTS = ("kagenti-webhook-system", "kagenti-webhook-defaults")


def dumped(written: Write, era: str = "E2b", *, without: str = "", more: tuple[JSON, ...] = ()) -> str:
    """Writes an era's example as kubectl dumps it; returns the path."""
    objects = [one for one in legacy.example(era, PLACE) if one["metadata"]["name"] != without]
    return written(json.dumps({"apiVersion": "v1", "kind": "List", "items": [*objects, *more]}), "dump.yaml")


def documents(text: str) -> list[JSON]:
    """Returns the documents of a stream."""
    return list(YAML(typ="safe").load_all(text))


def test_manifests_to_stdout_and_the_report_to_stderr(kagenti: Run, written: Write) -> None:
    """So that one can be piped into kubectl while the other is read."""
    done = kagenti("migrate", "configmaps", "-f", dumped(written))
    assert done.code == 0, done.err
    kinds = [one["kind"] for one in documents(done.out)]
    assert kinds == ["AgentRuntimeClusterConfig", "AgentRuntimeConfig"]
    assert "era E2b: the maps are in kagenti-webhook-system, and name v0.4.0-alpha.10" not in done.out
    assert "proxy.adminPort" in done.err
    assert "warning AdminSecret" in done.err


def test_a_folder_and_a_report_in_each_form(kagenti: Run, written: Write, tmp_path: Path) -> None:
    """Files in the order of application; the same facts as table, JSON, YAML and Markdown."""
    folder = tmp_path / "out"
    words = ("migrate", "configmaps", "-f", dumped(written), "--output-dir", str(folder))
    told = {form: kagenti(*words, "-o", form) for form in ("table", "json", "yaml", "markdown")}
    assert sorted(path.name for path in folder.iterdir()) == [
        "01-agentruntimeclusterconfig-default.yaml",
        "02-agentruntimeconfig-lab1-default.yaml",
    ]
    answer = json.loads(told["json"].out)
    assert documents(told["yaml"].out) == [answer]
    assert answer["counts"]["carried"] == sum(one["verdict"] == "carried" for one in answer["keys"]) > 30
    for one in answer["keys"]:
        assert one["key"] in told["table"].out
        assert f"`{one['key']}`" in told["markdown"].out
    assert "| `AdminSecret` |" in told["markdown"].out


@pytest.mark.parametrize("era", sorted(eras.ERAS))
def test_verification_of_an_example(era: str, kagenti: Run, written: Write) -> None:
    """Workloads without our trigger would lose their sidecars: exit 1, and all else is compared and explained."""
    words = ("--era", era, "--trust-domain", legacy.TRUST_DOMAIN, "--verify", "-o", "json")
    done = kagenti("migrate", "configmaps", "-f", dumped(written, era), *words)
    answer = json.loads(done.out)
    assert done.code == 1
    assert all(one["ok"] for one in answer["workloads"])
    forecast = next(one for one in answer["workloads"] if one["workload"].endswith("/forecast"))
    assert forecast["equal"] > 15
    fields = {found["field"] for one in answer["workloads"] for found in one["differences"]}
    assert "injected" in fields


def test_verification_with_our_trigger(kagenti: Run, written: Write) -> None:
    """Nothing is left to say: exit 0."""
    objects = [one for one in legacy.example("E3", PLACE) if one["kind"] not in ("Deployment", "StatefulSet")]
    agent = legacy.agent("ledger", PLACE, labels={**legacy.AGENT, "kagenti.io/inject": "enabled"}, kind="StatefulSet")
    file = written(json.dumps({"apiVersion": "v1", "kind": "List", "items": [*objects, agent]}))
    done = kagenti("migrate", "configmaps", "-f", file, "--verify", "--trust-domain", "a.example")
    assert done.code == 0, done.out
    assert "StatefulSet lab1/ledger: " in done.out


def test_the_script_is_the_command(
    written: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For people who look in scripts/."""
    monkeypatch.setattr("sys.argv", ["migrate_configmaps.py", "-f", dumped(written), "-o", "json"])
    with pytest.raises(SystemExit) as ended:
        migrate_configmaps.main()
    assert ended.value.code == 0
    assert "AgentRuntimeClusterConfig" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("migrate", "trigger", "--to", "cr", "--step", "99"), "the runbook has"),
        (("migrate", "trigger", "--to", "cr", "--step", "enrolment"), "leave -f out"),
        (("migrate", "labels", "--apply"), "leave -f out"),
        (("migrate", "configmaps", "--apply"), "name its --kubeconfig"),
    ],
)
def test_what_a_dump_cannot_do(words: tuple[str, ...], said: str, kagenti: Run, written: Write) -> None:
    """Changes need a cluster: exit 2."""
    done = kagenti(*words, "-f", dumped(written))
    assert (done.code, said in done.err) == (2, True), done.err


@pytest.mark.parametrize("way", ["cr", "label"])
def test_the_runbook_in_each_form(way: str, kagenti: Run, written: Write) -> None:
    """Numbered steps, each with what it does and why it stands there."""
    file = dumped(written)
    answer = json.loads(kagenti("migrate", "trigger", "--to", way, "-f", file, "-o", "json").out)
    table = kagenti("migrate", "trigger", "--to", way, "-f", file).out
    markdown = kagenti("migrate", "trigger", "--to", way, "-f", file, "-o", "markdown").out
    folder = Path(file).parent / "out"
    assert kagenti("migrate", "trigger", "--to", way, "-f", file, "--output-dir", str(folder)).code == 0
    assert len(list(folder.iterdir())) == sum(len(step["manifests"]) for step in answer)
    for step in answer:
        assert f"{step['step']}. {step['name']}: {step['title']}" in table
        assert f"## {step['step']}. {step['title']} (`{step['name']}`)" in markdown
        assert step["does"]
        assert step["why"]


def test_patches_of_labels_can_be_pasted(kagenti: Run, written: Write) -> None:
    """One kubectl command for each workload, with a comment that says what it does."""
    file = dumped(written, "E1c")
    done = kagenti("migrate", "labels", "-f", file)
    lines = done.out.splitlines()
    assert done.code == 0
    assert [line.startswith("#") for line in lines] == [True, False] * 2
    assert lines[1].startswith("kubectl patch deployment.apps forecast -n lab1 --type=json -p '[{")
    assert len(json.loads(kagenti("migrate", "labels", "-f", file, "-o", "json").out)) == 2


def test_older_objects_from_a_dump(kagenti: Run, written: Write) -> None:
    """Manifests in our group, and a report."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "forecast"}
    metadata = {"name": "forecast", "namespace": PLACE}
    card = {
        "apiVersion": "agent.kagenti.dev/v1alpha1",
        "kind": "AgentCard",
        "metadata": metadata,
        "spec": {"targetRef": target},
    }
    broken = {**card, "metadata": {**metadata, "name": "broken"}, "spec": {"targetRef": {**target, "name": "nobody"}}}
    done = kagenti("migrate", "crs", "-f", dumped(written, more=(card, broken)))
    assert done.code == 1
    assert [one["spec"] for one in documents(done.out)] == [{"selector": {"matchLabels": {"app": "forecast"}}}]
    assert "fault InvalidResult: AgentCard.agent.kagenti.dev lab1/broken" in done.err


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


def test_a_dump_that_is_no_dump(kagenti: Run, written: Write) -> None:
    """Exit 2, with the file and what to do."""
    assert kagenti("migrate", "configmaps", "-f", written("a: [")).code == 2


DEFAULT = {"name": "x", "namespace": "lab1"}
RULES = {"name": "x", "rules": [7]}
BARE_TEMPLATE = {"template": {"spec": {"containers": 7}}}


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({"kind": "ConfigMap", "apiVersion": "v1"}, "metadata.name"),
        ({"kind": "ConfigMap", "apiVersion": "v1", "metadata": []}, "metadata"),
        ({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": 7}}, "metadata.name"),
        ({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "x", "labels": ["a"]}}, "metadata.labels"),
        (
            {"kind": "MutatingWebhookConfiguration", "apiVersion": "v1", "metadata": {"name": "x"}, "webhooks": [7]},
            "webhooks",
        ),
        (
            {
                "kind": "MutatingWebhookConfiguration",
                "apiVersion": "v1",
                "metadata": {"name": "x"},
                "webhooks": [RULES],
            },
            "rules[0]",
        ),
        ({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": DEFAULT, "spec": BARE_TEMPLATE}, "containers"),
    ],
)
def test_an_object_that_no_server_gave(manifest: JSON, said: str, kagenti: Run, written: Write) -> None:
    """Exit 2, with file, line and field."""
    done = kagenti("migrate", "configmaps", "-f", written(orjson.dumps(manifest).decode()), "--verify")
    assert (done.code, said in done.err, "app.yaml:1" in done.err) == (2, True, True), done.err
