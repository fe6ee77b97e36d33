"""What a pod's replacement would be, by the webhook's own decision and injection."""

from typing import Any

import pytest

from kagenti.core import rollout, trigger
from kagenti.core.admission.evaluate import evaluate
from kagenti.core.rollout import Prospect
from kagenti.core.workload import Subject
from tests.json_patch import applied
from tests.unit.core.admission import cluster
from tests.unit.core.admission.cluster import DEPLOYMENT, ENROLLED, Cluster, pod, reference, stored

JSON = Any  # a raw pod

RUNTIME = stored("team1", "weather", targetRef=reference())
AS_PROXY = {"securityContext": {"runAsUser": 1337}}


def found(raw: JSON, *, runtime: bool = True, labels: dict[str, str] | None = None, mode: Any = "both") -> Prospect:
    """The prospect of a pod of the Deployment, in a namespace that is enrolled unless its labels say otherwise."""
    known = Cluster(agent_runtimes=[RUNTIME] if runtime else [])
    namespace = ENROLLED if labels is None else labels
    return rollout.prospect(
        raw,
        owner=DEPLOYMENT,
        sources=cluster.layers().gather(cluster=None, namespace=None, runtimes=known.runtimes_for(DEPLOYMENT)),
        context=cluster.context(mode),
        namespace_labels=namespace,
        coverage=trigger.coverage_of("team1", labels=namespace, selector="kagenti.io/enrolled=true"),
        now=cluster.NOW,
    )


BREAK_GLASS = {**ENROLLED, "kagenti.io/break-glass": "true"}
RESTRICTED = {**ENROLLED, "pod-security.kubernetes.io/enforce": "restricted"}
DISABLED = pod(labels={"kagenti.io/inject": "disabled"})
MISSPELT = pod(labels={"kagenti.io/inject": "yes"})

CASES: list[tuple[str, Prospect, str, str]] = [
    ("targeted by an AgentRuntime", found(pod()), "AgentRuntime", ""),
    ("its label alone", found(pod(labels=cluster.ENABLED), runtime=False), "Label", ""),
    ("it would be denied for what it is", found(pod(**AS_PROXY)), "ProxyUid", "be denied"),
    ("it would be denied for its label", found(MISSPELT), "InvalidLabel", "be denied"),
    ("the namespace forbids the sidecars", found(pod(), labels=RESTRICTED), "PodSecurity", "be denied"),
    ("hostNetwork: left bare by an AgentRuntime", found(pod(hostNetwork=True)), "UnsupportedPod", "come up without"),
    ("it opts out", found(DISABLED), "OptOut", "come up without"),
    ("nobody wants it", found(pod(), runtime=False), "NoTrigger", "come up without"),
    ("the webhook is not called here", found(pod(), labels={}), "NotEnrolled", "come up without"),
    ("the emergency door is open", found(pod(), labels=BREAK_GLASS), "BreakGlass", "come up without"),
    ("no entry for pods without the label", found(pod(), mode="label"), "LabelMissing", "come up without"),
    ("what no API server would have", found({"spec": {"containers": "?"}}), "BadRequest", "object.spec.containers"),
]


@pytest.mark.parametrize(("why", "prospect", "reason", "message"), CASES, ids=[row[0] for row in CASES])
def test_what_the_replacement_would_be(why: str, prospect: Prospect, reason: str, message: str) -> None:
    """Each row: the decision's reason, and how it would end where not injected."""
    assert (prospect.injected, prospect.reason) == (not message, reason), why
    assert message in prospect.message


def test_an_injected_pod_is_judged_like_the_pod_that_it_was_made_from() -> None:
    """What an earlier injection left on it is no obstacle of its own."""
    known = Cluster(agent_runtimes=[RUNTIME])
    made = injected(pod(), known)
    assert found(made) == found(pod())


def injected(raw: JSON, known: Cluster) -> JSON:
    """The pod after the webhook."""
    made = evaluate(
        Subject(DEPLOYMENT, raw),
        sources=cluster.layers().gather(cluster=None, namespace=None, runtimes=known.runtimes_for(DEPLOYMENT)),
        context=cluster.context(),
        namespace_labels=ENROLLED,
        now=cluster.NOW,
    )
    assert made.patch
    return applied(raw, made.patch)
