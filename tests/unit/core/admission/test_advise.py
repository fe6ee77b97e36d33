"""What the author of a workload is told at kubectl apply."""

# ruff: noqa: E501  # a table reads by line
import copy
from typing import Any

import pytest

from kagenti.core.admission import advise
from kagenti.core.admission.respond import Answer
from tests.unit.core.admission.cluster import (
    CONTAINER,
    ENABLED,
    NOW,
    Cluster,
    context,
    layers,
    reference,
    request,
    stored,
    workload,
)

JSON = Any  # a raw workload

AGENT = {**ENABLED, "kagenti.io/type": "agent"}
TARGETED = [stored("team1", "weather", targetRef=reference())]
OUTSIDE: dict[str, dict[str, str]] = {"team1": {}}


OWN_ACCOUNT = workload("Deployment", labels=AGENT)
OWN_ACCOUNT["spec"]["template"]["spec"]["serviceAccountName"] = "weather"


def advice(manifest: JSON, cluster: Cluster, *, mode: str = "both", target: str = "pods", old: JSON = None) -> Answer:
    asked = request(manifest, old=old)
    return advise.advise(asked, view=cluster, layers=layers(), context=context(mode), target=target, now=NOW)


def container(**changes: JSON) -> JSON:
    manifest = workload("Deployment", labels=AGENT)
    manifest["spec"]["template"]["spec"]["containers"] = [{**CONTAINER, **changes}]
    return manifest


@pytest.mark.parametrize(
    ("reason", "manifest", "cluster", "mode", "says"),
    [
        ("the label is in the wrong place", workload("Deployment", own=ENABLED), Cluster(), "both", "spec.template.metadata.labels"),
        ("in a CronJob too", workload("CronJob", own=ENABLED), Cluster(), "both", "spec.jobTemplate.spec.template.metadata.labels"),
        ("not enrolled", workload("Deployment"), Cluster(labels=OUTSIDE, agent_runtimes=TARGETED), "both", "kagenti.io/enrolled=true"),
        ("not enrolled, cr", workload("Deployment", labels=AGENT), Cluster(labels=OUTSIDE), "cr", "kagenti.io/enrolled=true"),
        ("no label in mode label", workload("Deployment"), Cluster(agent_runtimes=TARGETED), "label", "LabelMissing"),
        ("the type is missing", workload("Deployment", labels=ENABLED), Cluster(), "both", "kagenti.io/type is missing"),
        ("the type is odd", workload("Deployment", labels={**ENABLED, "kagenti.io/type": "robot"}), Cluster(), "both", '"robot"'),
        ("an AgentRuntime captures it", workload("Deployment"), Cluster(agent_runtimes=TARGETED), "both", "AgentRuntime team1/weather will capture"),
        ("the label is ignored", workload("Deployment", labels=AGENT), Cluster(), "cr", "LabelIgnored"),
        ("the label is invalid", workload("Deployment", labels={"kagenti.io/inject": "on"}), Cluster(), "both", "InvalidLabel: pods of this workload will be denied"),
        ("the app is the proxy's user", container(securityContext={"runAsUser": 1337}), Cluster(), "both", "ProxyUid"),
        ("interception cannot be enforced", container(securityContext={"privileged": True}), Cluster(), "both", "InterceptionNotEnforced"),
        ("a tcp probe", container(readinessProbe={"tcpSocket": {"port": 8081}}), Cluster(), "both", "tcp probe"),
        ("a grpc probe", container(livenessProbe={"grpc": {"port": 8081}}), Cluster(), "both", "grpc probe"),
        ("the identity is shared", workload("Deployment", labels=AGENT), Cluster(), "both", "SharedIdentity: Deployment team1/weather runs as service account 'default'"),
        ("Mandatory, not enforced", workload("Deployment"), Cluster(labels=OUTSIDE, configs={"team1": stored("team1", policy={"injection": "Mandatory"})}), "both", "PolicyUnenforced"),
    ],
)  # fmt: skip
def test_what_the_author_is_told(reason: str, manifest: JSON, cluster: Cluster, mode: str, says: str) -> None:
    """Each piece of advice of spec 03, and never a denial or a patch."""
    given = advice(manifest, cluster, mode=mode)
    assert (given.allowed, given.patch, given.reason) == (True, (), "Advice"), reason
    assert any(says in warning for warning in given.warnings), given.warnings


@pytest.mark.parametrize(
    ("reason", "manifest", "cluster", "mode", "target"),
    [
        ("nothing to say of a clean workload", workload("Deployment"), Cluster(), "both", "pods"),
        ("nor outside enrolment", workload("Deployment"), Cluster(labels=OUTSIDE), "both", "pods"),
        ("all is well", OWN_ACCOUNT, Cluster(), "both", "pods"),
        (
            "a shared account without SPIFFE",
            workload("Deployment", labels=AGENT),
            Cluster(cluster=stored("", identity={"spiffe": {"enabled": False}})),
            "both",
            "pods",
        ),
        (
            "the label's place is right for workloads",
            {**OWN_ACCOUNT, "metadata": {"name": "weather", "namespace": "team1", "labels": AGENT}},
            Cluster(),
            "both",
            "workloads",
        ),
        ("opted out", workload("Deployment", labels={"kagenti.io/inject": "disabled"}), Cluster(), "both", "pods"),
        ("caches not read yet", workload("Deployment", own=ENABLED), Cluster(is_synced=False), "both", "pods"),
    ],
)
def test_silence(reason: str, manifest: JSON, cluster: Cluster, mode: str, target: str) -> None:
    """Who has nothing to mend is told nothing."""
    given = advice(manifest, cluster, mode=mode, target=target)
    assert (given.reason, given.warnings) == ("Silent", ()), reason


def test_an_update_of_replicas_is_not_advised() -> None:
    """Autoscalers and controllers read no warnings."""
    manifest = workload("Deployment", own=ENABLED)
    scaled = copy.deepcopy(manifest)
    scaled["spec"]["replicas"] = 5
    assert advice(scaled, Cluster(), old=manifest).warnings == ()
    moved = copy.deepcopy(manifest)
    moved["spec"]["template"]["spec"]["containers"][0]["image"] = "new"
    assert advice(moved, Cluster(), old=manifest).warnings != ()


def test_a_kind_without_template_is_let_through() -> None:
    """Whatever arrives here is admitted."""
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}}
    assert advice(service, Cluster()).allowed
