"""The installation that is asked about: mode, target, selector, domain and release namespace, alike in inject and explain."""

from collections.abc import Callable

import orjson
import pytest

from tests.documents import documents
from tests.unit.cli.conftest import Done

Run = Callable[..., Done]
Write = Callable[..., str]

TEMPLATE = "{metadata: {labels: {app: w%s}}, spec: {containers: [{name: a, image: b}]}}"
ON = ", kagenti.io/inject: enabled"


def deployment(*, own: str = "", template: str = "", namespace: str = "team1") -> str:
    """A Deployment with labels on its own metadata and on its template."""
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: weather, namespace: {namespace}, labels: {{app: w{own}}}}}
spec: {{template: {TEMPLATE % template}}}
"""


def pod(owner: str, name: str, *, kind: str = "Pod") -> str:
    """A pod, or with another kind something with a template, that is controlled by ``owner`` (apiVersion, kind, name)."""
    version, owner_kind, owner_name = owner.split()
    reference = f"{{apiVersion: {version}, kind: {owner_kind}, name: {owner_name}, uid: u, controller: true}}"
    groups = {"Pod": "v1", "ReplicaSet": "apps/v1", "Job": "batch/v1"}
    spec = "{containers: [{name: a, image: b}]}" if kind == "Pod" else f"{{template: {TEMPLATE % ''}}}"
    metadata = f"{{name: {name}, namespace: team1, ownerReferences: [{reference}]}}"
    return f"---\napiVersion: {groups[kind]}\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n"


def runtime(kind: str, name: str, version: str = "apps/v1") -> str:
    """An AgentRuntime that targets that workload."""
    target = f"{{apiVersion: {version}, kind: {kind}, name: {name}}}"
    head = "---\napiVersion: kagenti.io/v1alpha1\nkind: AgentRuntime\n"
    return f"{head}metadata: {{name: it, namespace: team1}}\nspec: {{targetRef: {target}}}\n"


def namespace(labels: str) -> str:
    """The namespace of the workloads."""
    return f"---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: team1, labels: {{{labels}}}}}\n"


@pytest.fixture
def decided(kagenti: Run, written: Write) -> Callable[..., str]:
    """Asks explain and inject alike; returns the reason after holding that both say the same of the injection."""

    def ask(text: str, *flags: str, workload: str = "deploy/weather") -> str:
        path = written(text)
        answer = orjson.loads(kagenti("explain", workload, "-n", "team1", "-o", "json", "-f", path, *flags).out)
        done = kagenti("inject", "-n", "team1", "-f", path, *flags)
        assert (done.out == text) is (answer["decision"] != "inject"), done.err
        reason: str = answer["reason"]
        return reason

    return ask


@pytest.mark.parametrize(
    ("text", "flags", "reason"),
    [
        (deployment(own=ON), (), "NoTrigger"),
        (deployment(own=ON), ("--target", "workloads"), "Label"),
        (deployment(template=ON), ("--target", "workloads"), "Label"),
        (deployment(template=ON), (), "Label"),
        (deployment(template=ON), ("--mode", "cr"), "LabelIgnored"),
        (deployment() + runtime("Deployment", "weather"), (), "AgentRuntime"),
        (deployment() + runtime("Deployment", "weather"), ("--mode", "label"), "LabelMissing"),
        (deployment() + runtime("Deployment", "weather"), ("--no-enrolled",), "NotEnrolled"),
        (deployment() + runtime("Deployment", "weather"), ("--namespace-selector", "team=a"), "AgentRuntime"),
        (deployment() + runtime("Deployment", "weather") + namespace("team: b"), (), "NotEnrolled"),
        (
            deployment() + runtime("Deployment", "weather") + namespace("team: b"),
            ("--namespace-selector", "team in (a, b)"),
            "AgentRuntime",
        ),
        (
            deployment() + runtime("Deployment", "weather") + namespace(""),
            ("--namespace-selector", "kubernetes.io/metadata.name=team1"),
            "AgentRuntime",
        ),
        (deployment(template=ON), ("--release-namespace", "team1"), "SystemNamespace"),
    ],
)
def test_the_installation_decides(text: str, flags: tuple[str, ...], reason: str, decided: Callable[..., str]) -> None:
    """What counts, and which namespaces are covered, is the installation's; both commands agree."""
    assert decided(text, *flags) == reason


@pytest.mark.parametrize("kind", ["Pod", "ReplicaSet"])
def test_what_target_workloads_does_not_cover(kind: str, decided: Callable[..., str]) -> None:
    """Pods and ReplicaSets are never called for there."""
    text = pod("apps/v1 Deployment weather", "one", kind=kind).removeprefix("---\n") + runtime("Deployment", "weather")
    assert decided(text, workload=f"{kind}/one") == "AgentRuntime"
    assert decided(text, "--target", "workloads", workload=f"{kind}/one") == "NotOurs"


@pytest.mark.parametrize(
    ("text", "workload", "reason"),
    [
        (pod("apps/v1 StatefulSet db", "db-0") + runtime("StatefulSet", "db"), "po/db-0", "AgentRuntime"),
        (
            pod("apps/v1 ReplicaSet w-1", "w-1-x")
            + pod("apps/v1 Deployment weather", "w-1", kind="ReplicaSet")
            + runtime("Deployment", "weather"),
            "po/w-1-x",
            "AgentRuntime",
        ),
        (pod("batch/v1 CronJob n", "n-1", kind="Job") + runtime("CronJob", "n", "batch/v1"), "job/n-1", "AgentRuntime"),
        (pod("batch/v1 CronJob n", "n-1", kind="Job") + runtime("Job", "n-1", "batch/v1"), "job/n-1", "NoTrigger"),
    ],
)
def test_owners_in_files_are_followed(text: str, workload: str, reason: str, decided: Callable[..., str]) -> None:
    """The chain is what the references in the files say."""
    assert decided(text.removeprefix("---\n"), workload=workload) == reason


def test_the_cluster_domain_reaches_what_is_injected(kagenti: Run, written: Write) -> None:
    """Addresses and the judgement of hosts follow it."""
    rule = "{match: {host: a.b.svc.corp.example}, target: {audience: t}, upstream: {tls: 'Off'}}"
    layer = f"""\
---
apiVersion: kagenti.io/v1alpha1
kind: AgentRuntimeConfig
metadata: {{name: default, namespace: team1}}
spec: {{identity: {{outbound: {{tokenExchange: {{destinationRules: [{rule}]}}}}}}}}
"""
    path = written(deployment(template=ON) + layer)
    arguments = ("explain", "weather", "-n", "team1", "-o", "json", "-f", path)
    assert orjson.loads(kagenti(*arguments).out)["reason"] == "ConfigInvalid"
    assert orjson.loads(kagenti(*arguments, "--cluster-domain", "corp.example").out)["reason"] == "Label"


def test_the_release_namespace_reaches_what_is_injected(kagenti: Run, written: Write) -> None:
    """The proxies' bootstrap names the xDS server of that release."""
    path = written(deployment(template=ON))
    out = kagenti("inject", "-f", path, "--release-namespace", "elsewhere").out
    assert "kagenti-xds.elsewhere.svc" in out
    assert "kagenti-xds.kagenti-system" not in out


def test_the_selector_is_checked(kagenti: Run, written: Write) -> None:
    """An input error, in words."""
    done = kagenti("inject", "-f", written(deployment()), "--namespace-selector", "team ~ a")
    assert (done.code, done.out) == (2, "")
    assert 'namespace selector has "team ~ a", want key=value' in done.err


@pytest.mark.parametrize("flags", [("-n", "team1"), ("-n", "other"), ()])
def test_explain_finds_the_one_of_that_name(flags: tuple[str, ...], kagenti: Run, written: Write) -> None:
    """A single workload of that name is meant, wherever it is."""
    answer = orjson.loads(kagenti("explain", "weather", *flags, "-f", written(deployment()), "-o", "json").out)
    assert (answer["workload"], answer["exists"]) == ("Deployment team1/weather", True)


def test_explain_asks_which_of_two(kagenti: Run, written: Write) -> None:
    """Unless -n chooses."""
    path = written(deployment() + "---\n" + deployment(namespace="team2", template=ON))
    done = kagenti("explain", "weather", "-f", path)
    assert (done.code, done.out) == (2, "")
    assert "Deployment weather is in namespaces team1, team2; name one with --namespace" in done.err
    assert "Deployment team2/weather: inject (Label)" in kagenti("explain", "weather", "-n", "team2", "-f", path).out


def test_explain_of_what_is_not_written_yet(kagenti: Run, written: Write) -> None:
    """The AgentRuntime alone says what its pods will get; of a custom kind the spelling is needed."""
    path = written(runtime("Deployment", "weather"))
    done = kagenti("explain", "weather", "-n", "team1", "-f", path)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Deployment team1/weather: inject (AgentRuntime), not created yet\n")
    done = kagenti("explain", "rollout.argoproj.io/weather", "-n", "team1", "-f", path)
    assert (done.code, done.out) == (2, "")
    assert "no rollout.argoproj.io named weather is in the files; add it with --filename" in done.err


def test_a_custom_kind_in_files(decided: Callable[..., str]) -> None:
    """With a pod template where most have it."""
    text = deployment(template=ON).replace("apps/v1", "argoproj.io/v1alpha1").replace("Deployment", "Rollout")
    assert decided(text, workload="rollouts.argoproj.io/weather") == "Label"


def test_explain_as_yaml_says_what_json_says(kagenti: Run, written: Write) -> None:
    """One answer, three forms."""
    arguments = ("explain", "weather", "-n", "team1", "-f", written(deployment(template=ON)), "-o")
    assert documents(kagenti(*arguments, "yaml").out) == [orjson.loads(kagenti(*arguments, "json").out)]


@pytest.mark.parametrize("kind", ["Namespace", "Job", "ReplicaSet"])
def test_broken_metadata_of_what_we_read(kind: str, kagenti: Run, written: Write) -> None:
    """Labels and owners are read for the decision on others; a fault in them is named with its line."""
    version = {"Namespace": "v1", "Job": "batch/v1", "ReplicaSet": "apps/v1"}[kind]
    odd = f"---\napiVersion: {version}\nkind: {kind}\nmetadata:\n  name: x\n  ownerReferences: [5]\n"
    path = written(deployment() + odd)
    done = kagenti("explain", "weather", "-f", path)
    assert (done.code, done.out) == (2, "")
    assert f"{path}:10: {kind} is invalid: metadata.ownerReferences[0]: " in done.err
