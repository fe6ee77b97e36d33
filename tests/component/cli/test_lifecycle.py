"""``kagenti check``, ``images`` and ``withdraw``: what they ask, in which order, and what they say when they may not look."""

from collections.abc import Callable

import orjson
import pytest
from ruamel.yaml import YAML

from kagenti.cli.schemas import packaged
from tests.component.cli.api_server import OURS, Server, runtime
from tests.unit.cli.conftest import Done
from tests.unit.core.test_health import HEALTHY, INJECTED, crd, deployment

Run = Callable[..., Done]
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
INJECTOR = f"{ADMISSION}/mutatingwebhookconfigurations/kagenti-injector"
VALIDATOR = f"{ADMISSION}/validatingwebhookconfigurations/kagenti-validator"
SYSTEM = "/apis/apps/v1/namespaces/kagenti-system/deployments"
PODS = "/api/v1/namespaces/kagenti-system/pods"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture
def healthy(api: Server) -> Server:
    """A cluster with a healthy installation."""
    api.objects |= {
        INJECTOR: HEALTHY.injector,
        VALIDATOR: HEALTHY.validator,
        SYSTEM: {"items": [deployment("kagenti-webhook")]},
        "/api/v1/namespaces": {"items": []},
        "/api/v1/namespaces/default/pods": INJECTED.stored,
    }
    for plural in HEALTHY.crds:
        api.objects[f"{CRDS}/{plural}.kagenti.io"] = crd()
    return api


def test_a_healthy_installation_exits_with_0(healthy: Server, kagenti: Run) -> None:
    """The pod is asked for as a dry run, in the namespace that was named."""
    done = kagenti("check", "--kubeconfig", healthy.kubeconfig)
    assert (done.code, done.out, done.err) == (0, "healthy: a dry-run pod comes back injected\n", "")
    posts = [(path, method) for method, path, _ in healthy.requests if method != "GET"]
    assert posts == [("/api/v1/namespaces/default/pods?dryRun=All", "POST")]


def test_findings_exit_with_1_and_are_printed_as_json(healthy: Server, kagenti: Run) -> None:
    """What the account may not read is listed and is no finding."""
    healthy.objects[SYSTEM] = {"items": [deployment("kagenti-webhook", ready=0)]}
    healthy.refused["/api/v1/namespaces"] = 403
    done = kagenti("check", "-o", "json", "--kubeconfig", healthy.kubeconfig)
    answer = orjson.loads(done.out)
    assert (done.code, answer["healthy"], answer["notChecked"]) == (1, False, ["namespaces"])
    assert [finding["reason"] for finding in answer["findings"]] == ["ReplicasNotReady"]


@pytest.mark.parametrize("command", ["check", "images"])
def test_yaml_is_yaml_and_says_the_same_as_json(command: str, healthy: Server, kagenti: Run) -> None:
    """In block style, as ``explain`` prints it: JSON would pass for YAML with a machine, not with a reader."""
    healthy.objects[SYSTEM] = {"items": [deployment("kagenti-webhook", ready=0)]}
    printed = {form: kagenti(command, "-o", form, "--kubeconfig", healthy.kubeconfig).out for form in ("json", "yaml")}
    assert YAML(typ="safe", pure=True).load(printed["yaml"]) == orjson.loads(printed["json"])
    assert printed["yaml"][0] not in "{["


def test_a_refused_probe_is_a_finding_with_the_servers_words(healthy: Server, kagenti: Run) -> None:
    """Not an error of the command."""
    healthy.refused["/api/v1/namespaces/default/pods"] = 403
    done = kagenti("check", "--kubeconfig", healthy.kubeconfig)
    assert done.code == 1
    assert done.out.startswith("ProbeRefused: ")
    assert "no /api/v1/namespaces/default/pods for you" in done.out


def test_a_cluster_without_an_installation_is_not_probed(api: Server, kagenti: Run) -> None:
    """Nothing is asked for that nobody would answer."""
    api.objects |= {SYSTEM: {"items": []}, "/api/v1/namespaces": {"items": []}}
    done = kagenti("check", "--kubeconfig", api.kubeconfig)
    assert done.code == 1
    assert done.out.count("NotInstalled") == 2
    assert {method for method, *_ in api.requests} == {"GET"}


def test_withdrawal_holds_before_it_takes_away(healthy: Server, kagenti: Run) -> None:
    """Scale, look until nothing runs, then delete; what does not exist is passed over."""
    healthy.objects[PODS] = {"items": []}
    done = kagenti("withdraw", "--kubeconfig", healthy.kubeconfig)
    assert (done.code, done.err) == (0, "")
    asked = [(method, path.partition("?")[0]) for method, path, _ in healthy.requests]
    assert asked == [
        ("PATCH", f"{SYSTEM}/kagenti-xds/scale"),
        ("PATCH", f"{SYSTEM}/kagenti-operator/scale"),
        ("GET", PODS),
        ("DELETE", INJECTOR),
        ("DELETE", VALIDATOR),
    ]
    healthy.refused[f"{SYSTEM}/kagenti-operator/scale"] = 404
    assert kagenti("withdraw", "--kubeconfig", healthy.kubeconfig).out == "deployment kagenti-xds scaled to 0\n"


def test_withdrawal_leaves_admission_while_something_writes(healthy: Server, kagenti: Run) -> None:
    """It says what still runs, and exits with 3."""
    healthy.objects[PODS] = {"items": [{"metadata": {"name": "kagenti-xds-1"}}]}
    done = kagenti("withdraw", "--timeout", "0", "--kubeconfig", healthy.kubeconfig)
    assert done.code == 3
    assert "pods kagenti-xds-1 still run after 0 s; admission was not taken away" in done.err
    assert INJECTOR in healthy.objects


def test_images_are_listed_for_a_mirror(kagenti: Run) -> None:
    """Two columns: the name to pull, and the one to push to; each image once."""
    lines = kagenti("images", "--registry", "m.example/k").out.splitlines()
    assert "ghcr.io/spiffe/spiffe-helper:0.11.0 m.example/k/spiffe/spiffe-helper:0.11.0" in lines
    assert len(lines) == len(set(lines))
    assert len(orjson.loads(kagenti("images", "-o", "json").out)) == len(lines)


def test_before_an_upgrade_crds_and_objects_of_another_version_are_named(healthy: Server, kagenti: Run) -> None:
    """With this version's own CRDs nothing is found; a field of a newer one and a CRD of an older one are."""
    for name, found in packaged().items():
        status = {"storedVersions": ["v1alpha1"], "conditions": [{"type": "Established", "status": "True"}]}
        healthy.objects[f"{CRDS}/{name}"] = {**found, "status": status}
        healthy.objects.setdefault(f"{OURS}/{name.partition('.')[0]}", {"items": []})
    healthy.objects["/api/v1/pods"] = {"items": []}
    done = kagenti("check", "--before", "upgrade", "--kubeconfig", healthy.kubeconfig)
    assert (done.code, done.err) == (0, "")
    healthy.objects[f"{OURS}/agentruntimes"] = {"items": [runtime("team1", "weather", future="x")]}
    older = healthy.objects[f"{CRDS}/agentcards.kagenti.io"]
    older = healthy.objects[f"{CRDS}/agentcards.kagenti.io"] = orjson.loads(orjson.dumps(older))
    del older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["endpoint"]
    done = kagenti("check", "--before", "upgrade", "--kubeconfig", healthy.kubeconfig)
    assert done.code == 1
    assert "UnknownField: AgentRuntime team1/weather sets spec.future, " in done.out
    assert "OldCRD: CRD agentcards.kagenti.io lacks spec.endpoint, " in done.out
