"""``kagenti analyze`` on files: each fault is found once, under the object that has to be mended."""

import base64
import datetime
from collections.abc import Callable

import orjson
import pytest

from kagenti.operator.certificates.issue import new_authority
from tests.unit.cli.api_server import Server
from tests.unit.cli.conftest import Done
from tests.unit.cli.test_difference import everywhere, serve, template

Run = Callable[..., Done]
Write = Callable[..., str]


def deployment(name: str, *, own: str = "", labels: str = "", more: str = "") -> str:
    """A Deployment with labels on its own metadata, on its template, and another container."""
    return f"""\
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{app: w{own}}}}}
spec:
  template:
    metadata: {{labels: {{app: w{labels}}}}}
    spec: {{containers: [{{name: a, image: b}}{more}]}}
"""


def ours(kind: str, name: str, spec: str) -> str:
    """An object of ours."""
    return f"---\napiVersion: kagenti.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def space(name: str, labels: str = "") -> str:
    """A Namespace."""
    return f"---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n"


def aims(target: str, more: str = "") -> str:
    """The spec of an AgentRuntime."""
    return f"{{targetRef: {{apiVersion: apps/v1, kind: Deployment, name: {target}}}{more}}}"


ENABLED = ", kagenti.io/inject: enabled"
LATEST = "{components: {envoyProxy: {image: 'registry.example.com/envoy:latest'}}}"
LOCKED = "{trace: {sampling: {rate: 0.2}}, policy: {locked: [trace.sampling.rate]}}"

CASES = {
    "a label where pods do not see it": (
        deployment("a", own=ENABLED),
        [("Deployment default/a", "LabelOnWorkload")],
    ),
    "sidecars of an older webhook in the template": (
        deployment("a", labels=ENABLED, more=", {name: envoy-proxy, image: x}"),
        [("Deployment default/a", "SidecarsInTemplate"), ("Deployment default/a", "ReservedName")],
    ),
    "an image that can change, told once for two workloads below": (
        deployment("a", labels=ENABLED) + deployment("b", labels=ENABLED) + ours("AgentRuntimeClusterConfig", "default", LATEST),
        [("AgentRuntimeClusterConfig default", "LatestTag")],
    ),
    "a value that a lock makes ineffective": (
        deployment("a")
        + ours("AgentRuntimeClusterConfig", "default", LOCKED)
        + ours("AgentRuntime", "a", aims("a", ", trace: {sampling: {rate: 0.9}}")),
        [("AgentRuntime default/a", "LockViolation")],
    ),
    "two AgentRuntimes of one workload": (
        deployment("a") + ours("AgentRuntime", "a", aims("a")) + ours("AgentRuntime", "b", aims("a")),
        [("Deployment default/a", "Conflict")],
    ),
    "an AgentRuntime whose workload is missing": (
        ours("AgentRuntime", "a", aims("nope")),
        [("AgentRuntime default/a", "NotFound")],
    ),
    "an AgentRuntime in a namespace that is not enrolled": (
        space("default") + deployment("a") + ours("AgentRuntime", "a", aims("a")),
        [("Deployment default/a", "NotEnrolled")],
    ),
    "a Mandatory policy there, told once for two workloads": (
        space("default") + deployment("a") + deployment("b")
        + ours("AgentRuntimeConfig", "default", "{policy: {injection: Mandatory}}"),
        [("Namespace default", "PolicyUnenforced")],
    ),
    "a label in a namespace under break-glass; plain workloads there are not told of": (
        space("default", "kagenti.io/break-glass: 'yes'") + deployment("a", labels=ENABLED) + deployment("b"),
        [("Deployment default/a", "BreakGlass")],
    ),
    "an AgentRuntime there": (
        space("default", "kagenti.io/break-glass: 'yes'") + deployment("a") + ours("AgentRuntime", "a", aims("a")),
        [("Deployment default/a", "BreakGlass")],
    ),
    "a workload there that opts out anyhow": (
        space("default", "kagenti.io/break-glass: 'yes'") + deployment("a", labels=ENABLED.replace("enabled", "disabled")),
        [],
    ),
    "a plain workload in a namespace that is not enrolled": (space("default") + deployment("a"), []),
    "nothing": (deployment("a", labels=ENABLED), []),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_fault_is_found_under_the_object_to_mend(case: str, kagenti: Run, written: Write) -> None:
    """And nothing else."""
    text, expected = CASES[case]
    done = kagenti("analyze", "-f", written(text), "-o", "json")
    assert [(row["object"], row["reason"]) for row in orjson.loads(done.out)] == expected
    assert done.code == int(bool(expected))


def test_the_cluster_is_looked_at_without_files(kagenti: Run, api: Server) -> None:
    """Every namespace; one line for each finding."""
    api.namespace("team1", enrolled="true")
    misplaced = template("weather")
    misplaced["metadata"]["labels"] = {"kagenti.io/inject": "enabled"}
    serve(api, "", deployments=(misplaced, template("plain")))
    everywhere(api)
    done = kagenti("analyze", "--kubeconfig", api.kubeconfig)
    assert done.code == 1
    assert done.out.startswith("Deployment team1/weather: LabelOnWorkload: ")
    assert len(done.out.splitlines()) == 1


@pytest.mark.parametrize("refused", [False, True], ids=["it may be read", "it may not"])
def test_a_ca_bundle_near_its_end_is_found_where_it_may_be_read(refused: bool, kagenti: Run, api: Server) -> None:
    """A tenant may not, and is told of workloads alone."""
    api.namespace("team1")
    serve(api, "")
    everywhere(api)
    now = datetime.datetime.now(datetime.UTC)
    authority = new_authority("kagenti", life=datetime.timedelta(days=9), now=now).certificate
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/kagenti-injector"
    entry = {"clientConfig": {"caBundle": base64.b64encode(authority).decode()}}
    api.objects[path] = {"metadata": {"name": "kagenti-injector"}, "webhooks": [entry]}
    api.refused = {path: 403} if refused else {}
    rows = orjson.loads(kagenti("analyze", "-o", "json", "--kubeconfig", api.kubeconfig).out)
    expected = [("MutatingWebhookConfiguration kagenti-injector", "CertificateNearExpiry")]
    assert [(row["object"], row["reason"]) for row in rows] == expected * (not refused)
