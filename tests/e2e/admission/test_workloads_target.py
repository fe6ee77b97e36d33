"""Target workloads: the template inside the workload is mutated, on CREATE and UPDATE, as spec 03 says."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.admission.manifests import config, runtime, workload
from tests.e2e.admission.observed import OURS, verdicts
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received
ENABLED = {"kagenti.io/inject": "enabled"}
KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")


def template(manifest: JSON) -> JSON:
    """Returns the pod template inside a workload."""
    spec = manifest["spec"]["jobTemplate"]["spec"] if manifest["kind"] == "CronJob" else manifest["spec"]
    return spec["template"]


def sidecars(manifest: JSON) -> list[str]:
    """Returns the names of our containers in a workload's template."""
    return [found["name"] for found in template(manifest)["spec"].get("initContainers") or () if found["name"] in OURS]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["workload", "template"])
@pytest.mark.parametrize("mode", ["label", "both"])
def test_a_label_in_either_place_injects_the_template(
    mode: str, where: str, kind: str, install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """The label triggers from the workload's own metadata or from its template."""
    install(mode=mode, target="workloads")
    marks = {"own": ENABLED} if where == "workload" else {"labels": ENABLED}
    answer = api.create(workload(kind, team(), "weather", **marks))
    assert answer.ok, answer.message
    assert sidecars(answer.body) == list(OURS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["cr", "both"])
def test_an_agentruntime_injects_the_template(
    mode: str, kind: str, install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """A clean workload targeted by an AgentRuntime is injected in modes cr and both."""
    install(mode=mode, target="workloads")
    namespace = team()
    assert api.create(runtime(namespace, "weather", kind=kind, target="weather")).ok
    answer = api.create(workload(kind, namespace, "weather"))
    assert answer.ok, answer.message
    assert sidecars(answer.body) == list(OURS)


@pytest.mark.parametrize(
    ("mode", "marks", "outcome", "reason"),
    [
        ("both", {}, "bare", "NoTrigger"),
        ("cr", {"labels": ENABLED}, "bare", "LabelIgnored"),
        ("both", {"labels": {"kagenti.io/inject": "disabled"}}, "bare", "OptOut"),
        ("both", {"labels": {"kagenti.io/inject": "yes"}}, "denied", "InvalidLabel"),
    ],
)
def test_other_rows_hold_for_workloads(
    mode: str,
    marks: dict[str, dict[str, str]],
    outcome: str,
    reason: str,
    install: Callable[..., Installed],
    api: ApiClient,
    team: Callable[..., str],
    cluster: ControlPlane,
) -> None:
    """Rows without injection give the same reason codes for workloads as for pods."""
    install(mode=mode, target="workloads")
    namespace = team()
    answer = api.create(workload("Deployment", namespace, "weather", **marks))
    assert answer.ok == (outcome != "denied"), answer.message
    if answer.ok:
        assert sidecars(answer.body) == []
    assert verdicts(cluster, resource="deployments", namespace=namespace)[-1].reason == reason


def test_an_unrelated_update_does_not_render_anew(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """After a layer changed, scaling leaves the template alone; changing the user's part renders the sidecars anew."""
    install(mode="both", target="workloads")
    namespace = team()
    first = api.create(workload("Deployment", namespace, "weather", labels=ENABLED))
    assert api.create(config(namespace, trace={"sampling": {"rate": 0.75}})).ok

    def in_force() -> bool:
        probe = api.create(workload("Deployment", namespace, "probe", labels=ENABLED), dry_run=True)
        return "0.75" in str(template(probe.body)["spec"]["containers"][0]["env"])

    wait_until(in_force, 10, lambda: "the webhook has not seen the layer")
    scaled = api.merge("Deployment", namespace, "weather", {"spec": {"replicas": 2}})
    assert scaled.ok, scaled.message
    assert template(scaled.body) == template(first.body)

    def anew() -> bool:
        marks = {"spec": {"template": {"metadata": {"annotations": {"example.com/touched": "yes"}}}}}
        api.merge(
            "Deployment",
            namespace,
            "weather",
            {"spec": {"template": {"metadata": {"annotations": {"example.com/touched": None}}}}},
        )
        changed = api.merge("Deployment", namespace, "weather", marks)
        return "0.75" in str(template(changed.body)["spec"]["containers"][0]["env"])

    wait_until(anew, 10, lambda: "the change of the user's part did not render the sidecars anew")


def test_removing_the_label_strips_and_the_agentruntime_vanishing_does_not(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str], cluster: ControlPlane
) -> None:
    """Sidecars are stripped when the label goes or says disabled, never because an AgentRuntime vanished."""
    install(mode="both", target="workloads")
    namespace = team()
    assert sidecars(api.create(workload("Deployment", namespace, "labelled", labels=ENABLED)).body) == list(OURS)
    gone = {"spec": {"template": {"metadata": {"labels": {"kagenti.io/inject": None}}}}}
    stripped = api.merge("Deployment", namespace, "labelled", gone)
    assert stripped.ok, stripped.message
    assert sidecars(stripped.body) == []
    assert api.create(runtime(namespace, "weather", kind="Deployment", target="weather")).ok
    assert sidecars(api.create(workload("Deployment", namespace, "weather")).body) == list(OURS)
    assert api.delete("AgentRuntime", namespace, "weather").ok

    def forgotten() -> bool:
        api.create(workload("Deployment", namespace, "weather"), dry_run=True)  # there is one: the answer is a conflict
        return verdicts(cluster, resource="deployments", namespace=namespace, name="weather")[-1].reason == "NoTrigger"

    wait_until(forgotten, 10, lambda: "the webhook still knows the AgentRuntime")
    scaled = api.merge("Deployment", namespace, "weather", {"spec": {"replicas": 3}})
    assert sidecars(scaled.body) == list(OURS)


def test_the_pods_of_a_mutated_template_run(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """The real Deployment controller makes pods with the sidecars from the stored template."""
    install(mode="both", target="workloads")
    namespace = team()
    assert api.create(workload("Deployment", namespace, "weather", own=ENABLED)).ok
    wait_until(lambda: bool(api.items("Pod", namespace)), 30, lambda: "no pod")
    names = [found["name"] for found in api.items("Pod", namespace)[0]["spec"]["initContainers"]]
    assert names == list(OURS)
