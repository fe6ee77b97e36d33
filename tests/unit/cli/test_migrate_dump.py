"""``kagenti migrate`` of a dump as a person runs it: outputs and exit codes."""

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
