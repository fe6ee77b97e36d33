"""``kagenti analyze`` on files: each fault is found once, under the object that has to be mended."""

from collections.abc import Callable

import orjson
import pytest

from tests.unit.cli.conftest import Done

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
