"""What a check finds, and what it names before a step; each row is one fact and the reason that must come of it."""

import base64
from dataclasses import replace
from typing import Any

import orjson
import pytest

from kagenti.core import health
from kagenti.core.envoy import LAYOUT
from kagenti.core.health import Answer, Facts, Fleet

JSON = Any  # a raw object
BUNDLE = base64.b64encode(b"pem").decode()


def configuration(*names: str, resource: str = "pods", **entry: JSON) -> JSON:
    rules = [{"resources": [resource]}]
    given = {"clientConfig": {"caBundle": BUNDLE}, "failurePolicy": "Fail", "rules": rules, **entry}
    return {"webhooks": [{"name": f"{name}.kagenti.io", **given} for name in names]}


def crd(*, served: bool = True, established: str = "True") -> JSON:
    return {
        "spec": {"versions": [{"name": "v1alpha1", "served": served}]},
        "status": {"conditions": [{"type": "Established", "status": established}]},
    }


def deployment(name: str, *, ready: int = 2, image: str = "kagenti:1") -> JSON:
    template = {"spec": {"containers": [{"image": image}]}}
    return {
        "metadata": {"name": name},
        "spec": {"replicas": 2, "template": template},
        "status": {"readyReplicas": ready},
    }


def pod(name: str = "weather-1", *, layout: JSON = LAYOUT) -> JSON:
    annotations = {"kagenti.io/injected": orjson.dumps({"layout": layout}).decode()}
    metadata = {"name": name, "namespace": "team1", "annotations": annotations}
    return {"metadata": metadata, "spec": {"containers": [{"name": "app"}]}}


def workload(*, label: str = "", own: str = "", sidecar: str = "") -> JSON:
    containers = [{"name": "app"}, *([{"name": sidecar}] if sidecar else [])]
    mark = {"kagenti.io/inject": "enabled"}
    template = {"metadata": {"labels": mark if label else {}}, "spec": {"containers": containers}}
    metadata = {"name": "weather", "namespace": "team1", "labels": mark if own else {}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": template}}


INJECTED = Answer(stored={**pod(), "apiVersion": "v1", "kind": "Pod"})
HEALTHY = Facts(
    injector=configuration("inject-label", "inject-cr"),
    validator=configuration("validate", "advise", failurePolicy="Ignore"),
    deployments=[deployment("kagenti-webhook"), deployment("kagenti-xds")],
    crds={plural: crd() for plural in health.CRDS},
    namespaces=[{"metadata": {"name": "team1"}}],
    probe=INJECTED,
)
BARE = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}}
ROWS: list[tuple[str, dict[str, JSON], list[str]]] = [
    ("nothing is wrong", {}, []),
    ("the chart is not there", {"injector": None, "validator": None}, ["NotInstalled", "NotInstalled"]),
    ("who may not look has found nothing", {"validator": None, "unread": ["ValidatingWebhookConfiguration kagenti-validator"]}, []),
    ("cainjector has not run", {"injector": configuration("inject-label", clientConfig={})}, ["NoCABundle"]),
    ("pods start without us", {"injector": configuration("inject-label", failurePolicy="Ignore")}, ["FailsOpen"]),
    ("two bundles", {"injector": {"webhooks": [
        *configuration("inject-label")["webhooks"], *configuration("inject-cr", clientConfig={"caBundle": "eA=="})["webhooks"],
    ]}}, ["BundlesDiffer"]),
    ("nobody answers", {"probe": Answer(refusal="failed calling webhook \"x\": connection refused")}, ["WebhookUnreachable"]),
    ("another webhook or we refuse", {"probe": Answer(refusal="denied: ConfigInvalid")}, ["ProbeRefused"]),
    ("it comes back bare", {"probe": Answer(stored=BARE)}, ["NotInjected"]),
    ("no probe was sent", {"probe": None}, []),
    ("a kind is missing", {"crds": {"agentcards": None}}, ["NoCRD"]),
    ("an old kind", {"crds": {"agentcards": crd(served=False)}}, ["KindNotServed"]),
    ("a kind with a fault", {"crds": {"agentcards": crd(established="False")}}, ["KindNotServed"]),
    ("one replica", {"deployments": [deployment("kagenti-xds", ready=1)]}, ["ReplicasNotReady"]),
    ("half upgraded", {"deployments": [deployment("a"), deployment("b", image="kagenti:2")]}, ["VersionsDiffer"]),
    ("nobody leads", {"deployments": [deployment("kagenti-operator")]}, ["NoLeader"]),
    ("given back", {"deployments": [deployment("kagenti-operator")], "lease": {"spec": {"holderIdentity": ""}}}, ["NoLeader"]),
    ("somebody leads", {"deployments": [deployment("kagenti-operator")], "lease": {"spec": {"holderIdentity": "a"}}}, []),
    ("no SPIRE", {"drivers": {"csi.spiffe.io": None}}, ["NoCSIDriver"]),
    ("SPIRE", {"drivers": {"csi.spiffe.io": {}}}, []),
    ("an open door", {"namespaces": [{"metadata": {"name": "t", "labels": {"kagenti.io/break-glass": ""}}}]}, ["BreakGlass"]),
]  # fmt: skip


@pytest.mark.parametrize(("why", "changed", "reasons"), ROWS, ids=[row[0] for row in ROWS])
def test_a_check_finds(why: str, changed: dict[str, JSON], reasons: list[str]) -> None:
    """One fact changed on a healthy installation."""
    assert [finding.reason for finding in health.examine(replace(HEALTHY, **changed))] == reasons


def test_a_bundle_that_does_not_fit_is_told_apart_from_a_webhook_that_is_away() -> None:
    """The API server's own words end the sentence."""
    told = 'failed calling webhook "x": tls: failed to verify certificate: x509: unknown authority'
    (finding,) = health.examine(replace(HEALTHY, probe=Answer(refusal=told)))
    assert "caBundle does not fit" in finding.message
    assert told in finding.message


TARGETED = frozenset({("Deployment", "team1", "weather")})
STEPS: list[tuple[str, health.Purpose, Fleet, list[str]]] = [
    ("pods live on", "uninstall", Fleet(pods=[pod(), pod("b")]), ["KeepsLastPolicy"]),
    ("sidecars would stay", "uninstall", Fleet(workloads=[workload(sidecar="envoy-proxy")]), ["SidecarsInTemplate"]),
    ("nothing of ours", "uninstall", Fleet(workloads=[workload(sidecar="istio-proxy")]), []),
    ("pods do not see it", "switch", Fleet(workloads=[workload(own="x")], targets=TARGETED), ["LabelOnWorkload", "EmptyTemplate"]),
    ("old sidecars", "switch", Fleet(workloads=[workload(label="x", sidecar="proxy-init")], targets=TARGETED), ["SidecarsInTemplate"]),
    ("bare in mode cr", "switch", Fleet(workloads=[workload(label="x")]), ["OnlyLabel", "EmptyTemplate"]),
    ("bare in mode label", "switch", Fleet(workloads=[workload()], targets=TARGETED), ["OnlyAgentRuntime", "EmptyTemplate"]),
    ("both triggers", "switch", Fleet(workloads=[workload(label="x")], targets=TARGETED), ["EmptyTemplate"]),
    ("no trigger", "switch", Fleet(workloads=[workload()]), []),
    ("today's pods", "upgrade", Fleet(pods=[pod()]), []),
    ("older pods", "upgrade", Fleet(pods=[pod(layout=0)]), ["OldLayout"]),
    ("no receipt", "upgrade", Fleet(pods=[{**pod(), "metadata": {"name": "x", "namespace": "t"}}]), ["OldLayout"]),
]  # fmt: skip


@pytest.mark.parametrize(("why", "purpose", "fleet", "reasons"), STEPS, ids=[f"{row[1]}: {row[0]}" for row in STEPS])
def test_before_a_step(why: str, purpose: health.Purpose, fleet: Fleet, reasons: list[str]) -> None:
    """What must be rolled or mended first."""
    assert [finding.reason for finding in health.before(purpose, fleet)] == reasons


def test_templates_that_workloads_would_leave_empty_are_counted_by_namespace() -> None:
    """Five are named; an installation that fills templates has nothing to lose there."""
    many = [workload(label="x") for _ in range(7)]
    for number, found in enumerate(many):
        found["metadata"]["name"] = f"w{number}"
    targets = frozenset(("Deployment", "team1", f"w{number}") for number in range(7))
    (finding,) = health.before("switch", Fleet(workloads=many, targets=targets))
    assert "7 triggered workloads in namespace team1" in finding.message
    assert "Deployment w4 and 2 more)" in finding.message
    assert "kubectl rollout restart deployment,statefulset,daemonset -n team1" in finding.message
    assert health.before("switch", Fleet(workloads=many, targets=targets), target="workloads") == []


def test_the_probe_tells_which_drivers_it_needs() -> None:
    """Of a pod and of a template alike; a refused probe needs none."""
    csi = [{"name": "svid", "csi": {"driver": "csi.spiffe.io"}}, {"name": "shared", "emptyDir": {}}]
    template = workload()
    template["spec"]["template"]["spec"]["volumes"] = csi
    assert health.needed_drivers({**BARE, "spec": {**BARE["spec"], "volumes": csi}}) == {"csi.spiffe.io"}
    assert health.needed_drivers(template) == {"csi.spiffe.io"}
    assert health.needed_drivers(None) == set()
