"""AgentRuntimes on the real control plane: what their status says, and how soon; targets of every kind, layers, deletion."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.admission import manifests
from tests.e2e.api_client import ApiClient
from tests.e2e.controller.conftest import Statuses, conditions_of
from tests.e2e.installed import Installed
from tests.e2e.operator_process import Operator
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object

pytestmark = pytest.mark.usefixtures("operator")
ENABLED = {"kagenti.io/inject": "enabled"}
# Components without Envoy: nobody here runs one, so that a proxy would never acknowledge anything.
NO_PROXY = {
    "components": {"envoyProxy": {"enabled": False}, "proxyInit": {"enabled": False}},
    "trace": {"exporters": []},
}
GROUP = "crews.example"


def deployment(namespace: str, name: str, *, replicas: int = 1, labels: dict[str, str] | None = None) -> JSON:
    """A Deployment."""
    made = manifests.workload("Deployment", namespace, name, labels=labels)
    made["spec"]["replicas"] = replicas
    return made


def runtime(namespace: str, name: str, **spec: JSON) -> JSON:
    """An AgentRuntime for the Deployment of its name."""
    return manifests.runtime(namespace, name, kind="Deployment", target=name, **spec)


def create(api: ApiClient, *objects: JSON) -> None:
    """Creates them in this order: a pod that comes before its AgentRuntime is bare."""
    for found in objects:
        answer = api.create(found)
        assert answer.ok, answer.message


def test_a_labelled_deployment_has_the_right_status_within_five_seconds(
    api: ApiClient, team: Callable[..., str], statuses: Statuses
) -> None:
    """From apply to counts, conditions and revisions; and the Deployment is as its author wrote it."""
    namespace = team()
    begun = time.monotonic()
    create(api, deployment(namespace, "weather", replicas=2, labels=ENABLED), runtime(namespace, "weather"))
    expected = {
        "TargetResolved": ("True", "Found"),
        "ConfigResolved": ("True", "Resolved"),
        "PodsInjected": ("True", "Injected"),
    }

    def right(found: JSON) -> bool:  # target and pods come by watches of their own
        return (found.get("pods") or {}).get("current") == 2 and expected.items() <= conditions_of(found).items()

    status = statuses.until(namespace, "weather", right, within=5)  # the limit is the test's point
    print(f"right after {time.monotonic() - begun:.2f} s")
    assert status["configuredPods"] == 2
    assert status["observedGeneration"] == 1
    assert status["config"]["restartFields"] == []
    answer = api.get("Deployment", namespace, "weather").body
    assert answer["metadata"]["generation"] == 1
    managers = {entry["manager"] for entry in answer["metadata"]["managedFields"]}
    assert managers <= {"kagenti-tests", "kube-controller-manager"}  # its author, and Kubernetes


def test_ready_can_be_waited_for(
    api: ApiClient, cluster: ControlPlane, team: Callable[..., str], statuses: Statuses
) -> None:
    """``kubectl wait``, and columns that read well."""
    namespace = team()
    create(api, runtime(namespace, "plain", type="agent", **NO_PROXY), deployment(namespace, "plain"))
    cluster.kubectl("wait", "--for=condition=Ready", "agentruntime/plain", "-n", namespace, "--timeout=30s")
    table = cluster.kubectl("get", "agentruntime", "-A").splitlines()
    assert table[0].split() == [
        "NAMESPACE", "NAME", "TARGET-KIND", "TARGET", "TYPE", "PHASE", "READY", "CURRENT", "PODS", "AGE",
    ]  # fmt: skip
    row = next(line.split() for line in table if line.startswith(f"{namespace} "))
    assert row[1:9] == ["plain", "Deployment", "plain", "agent", "Active", "True", "1", "1"]
    assert statuses.of(namespace, "plain")["identity"] == {"spiffeEnabled": True, "idpRegistered": True}


def test_a_target_may_come_later_go_and_come_back(api: ApiClient, team: Callable[..., str], statuses: Statuses) -> None:
    """NotFound is a state, not an error."""
    namespace = team()
    create(api, runtime(namespace, "late"))
    statuses.until_condition(namespace, "late", "TargetResolved", ("False", "NotFound"))
    assert statuses.of(namespace, "late")["phase"] == "Pending"
    for _ in range(2):
        create(api, deployment(namespace, "late"))
        statuses.until_condition(namespace, "late", "TargetResolved", ("True", "Found"))
        statuses.until(namespace, "late", lambda found: found["pods"]["current"] == 1)
        assert api.delete("Deployment", namespace, "late").ok
        statuses.until_condition(namespace, "late", "TargetResolved", ("False", "NotFound"))
        statuses.until(namespace, "late", lambda found: found["pods"]["total"] == 0)


def test_pods_that_were_there_before_are_bare(api: ApiClient, team: Callable[..., str], statuses: Statuses) -> None:
    """The Helm order: the Deployment first."""
    namespace = team()
    create(api, deployment(namespace, "helm", replicas=2))
    wait_until(lambda: len(api.items("Pod", namespace)) == 2, 30, lambda: "no pods")
    create(api, runtime(namespace, "helm", rollout={"bare": "None"}))
    # The operator may hear of the AgentRuntime before it hears of both pods.
    status = statuses.until(namespace, "helm", lambda found: (found.get("pods") or {}).get("bare") == 2)
    assert conditions_of(status)["PodsInjected"] == ("False", "BarePods")
    assert "2 of 2" in next(one["message"] for one in status["conditions"] if one["type"] == "PodsInjected")


def test_of_two_for_one_target_the_older_is_in_force(
    api: ApiClient, cluster: ControlPlane, team: Callable[..., str], statuses: Statuses, installation: Installed
) -> None:
    """The second comes in while the validating webhook, which fails open, is away."""
    namespace = team()
    create(api, deployment(namespace, "twice"), runtime(namespace, "twice"))
    statuses.until_condition(namespace, "twice", "TargetResolved", ("True", "Found"))
    cluster.kubectl("delete", "validatingwebhookconfiguration", "--all")
    # Within one second of each other the name decides (spec 02).
    second = manifests.runtime(namespace, "twice-younger", kind="Deployment", target="twice")
    try:
        wait_until(lambda: api.create(second).ok, 30, lambda: "still refused")
    finally:
        installation.start_registered()
    message = statuses.until_condition(namespace, "twice-younger", "TargetResolved", ("False", "Conflict"))
    assert "twice" in message
    assert statuses.of(namespace, "twice-younger")["phase"] == "Error"
    assert api.delete("AgentRuntime", namespace, "twice").ok
    statuses.until_condition(namespace, "twice-younger", "TargetResolved", ("True", "Found"))


def test_an_unenrolled_namespace_says_how_to_enrol(
    api: ApiClient, cluster: ControlPlane, team: Callable[..., str], statuses: Statuses
) -> None:
    """And once it is enrolled the pods are bare: they came before."""
    namespace = team(enrolled=False)
    create(api, deployment(namespace, "outside"), runtime(namespace, "outside", rollout={"bare": "None"}))
    statuses.until(namespace, "outside", lambda found: (found.get("pods") or {}).get("total") == 1)
    message = statuses.until_condition(namespace, "outside", "PodsInjected", ("False", "NotEnrolled"))
    assert f"kubectl label namespace {namespace} kagenti.io/enrolled=true" in message
    cluster.kubectl("label", "namespace", namespace, "kagenti.io/enrolled=true")
    statuses.until_condition(namespace, "outside", "PodsInjected", ("False", "BarePods"))


def test_a_lock_that_comes_later_is_said_of_the_value_that_it_overrules(
    api: ApiClient, team: Callable[..., str], statuses: Statuses, cluster_config: Callable[[JSON], None]
) -> None:
    """Nothing but the lock changed."""
    namespace = team()
    create(api, deployment(namespace, "locked"), runtime(namespace, "locked", trace={"sampling": {"rate": 1.0}}))
    statuses.until_condition(namespace, "locked", "ConfigResolved", ("True", "Resolved"))
    cluster_config({"policy": {"locked": ["trace.sampling.rate"]}})
    message = statuses.until_condition(namespace, "locked", "ConfigResolved", ("False", "LockViolation"))
    assert "trace.sampling.rate" in message
    assert api.delete("AgentRuntimeClusterConfig", "", "default").ok
    statuses.until_condition(namespace, "locked", "ConfigResolved", ("True", "Resolved"))


def test_a_restart_setting_of_the_namespace_makes_pods_stale_and_names_itself(
    api: ApiClient, team: Callable[..., str], statuses: Statuses
) -> None:
    """And the pod is current again once the setting is gone."""
    namespace = team()
    create(api, deployment(namespace, "behind", labels=ENABLED), runtime(namespace, "behind"))
    statuses.until(namespace, "behind", lambda found: (found.get("pods") or {}).get("current") == 1)
    create(api, manifests.config(namespace, trace={"genai": {"enabled": True}}))
    status = statuses.until(namespace, "behind", lambda found: found["pods"]["stale"] == 1)
    assert status["config"]["restartFields"] == ["trace.genai.enabled"]
    assert statuses.conditions(namespace, "behind")["Ready"] == ("False", "StalePods")
    assert api.delete("AgentRuntimeConfig", namespace, "default").ok
    statuses.until(namespace, "behind", lambda found: found["pods"]["current"] == 1)


def definition(plural: str, kind: str) -> JSON:
    """A CRD of somebody else, with a pod template."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def crew(namespace: str, kind: str, name: str) -> JSON:
    """An object of that CRD."""
    template = {"metadata": {}, "spec": {"containers": [manifests.CONTAINER]}}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata, "spec": {"template": template}}


def crew_pod(namespace: str, owner: JSON) -> JSON:
    """A pod that such an object controls."""
    made = manifests.pod(namespace, f"{owner['metadata']['name']}-0", label="enabled")
    keys = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
    made["metadata"]["ownerReferences"] = [{**keys, "uid": owner["metadata"]["uid"], "controller": True}]
    return made


@pytest.mark.parametrize("granted", [True, False], ids=["with the right", "without the right"])
def test_any_kind_can_be_a_target(
    granted: bool, api: ApiClient, cluster: ControlPlane, team: Callable[..., str], statuses: Statuses,
    operator: Operator,
) -> None:  # fmt: skip
    """By discovery; without the right to read it the state is unknown and says what to grant, and pods count anyway."""
    kind, plural = ("CrewJob", "crewjobs") if granted else ("SecretCrew", "secretcrews")
    apply(cluster, definition(plural, kind))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{plural}.{GROUP}", "--timeout=30s")
    if granted:
        apply(cluster, granting(plural))
        # Refused once, it would be told of in the audit log, whose tests allow no refusal of what was granted.
        wait_until(lambda: operator.may_read(f"{plural}.{GROUP}"), 30, lambda: "the role is not aggregated")
    namespace = team()
    owner = created(api, crew(namespace, kind, "night"), plural)
    made = manifests.runtime(namespace, "night", kind=kind, target="night")
    made["spec"]["targetRef"]["apiVersion"] = f"{GROUP}/v1beta9"
    create(api, made, crew_pod(namespace, owner))
    expected = ("True", "Found") if granted else ("Unknown", "Forbidden")
    message = statuses.until_condition(namespace, "night", "TargetResolved", expected, within=60)
    statuses.until(namespace, "night", lambda found: found["pods"]["current"] == 1)
    if not granted:
        assert f"list and watch {plural}.{GROUP}" in message
        assert "extraWorkloadKinds" in message


def created(api: ApiClient, manifest: JSON, plural: str) -> JSON:
    """Creates an object of a new kind, which is served a moment after its CRD says so; returns it."""
    path, answers = f"/apis/{GROUP}/v1/namespaces/{manifest['metadata']['namespace']}/{plural}", []

    def stored() -> bool:
        answers.append(api.request("POST", path, manifest))
        return answers[-1].ok

    wait_until(stored, 30, lambda: answers[-1].message)
    return answers[-1].body


def apply(cluster: ControlPlane, manifest: JSON) -> None:
    """Server-side apply as the administrator."""
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))


def granting(plural: str) -> JSON:
    """A role for the operator, as the chart renders it from extraWorkloadKinds."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": f"kagenti-{plural}", "labels": {"kagenti.io/aggregate-to-operator": "true"}},
        "rules": [{"apiGroups": [GROUP], "resources": [plural], "verbs": ["list", "watch"]}],
    }


BUILT_IN = ["StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod"]


@pytest.mark.parametrize("kind", BUILT_IN)
def test_every_built_in_kind_can_be_a_target(
    kind: str, api: ApiClient, team: Callable[..., str], statuses: Statuses
) -> None:
    """Resolved, and its pods counted while they run."""
    namespace = team()
    create(api, manifests.runtime(namespace, "any", kind=kind, target="any"))
    statuses.until_condition(namespace, "any", "TargetResolved", ("False", "NotFound"))
    made = manifests.pod(namespace, "any") if kind == "Pod" else manifests.workload(kind, namespace, "any")
    create(api, made)
    statuses.until_condition(namespace, "any", "TargetResolved", ("True", "Found"))
    if kind in ("StatefulSet", "DaemonSet", "ReplicaSet", "Pod"):
        statuses.until(namespace, "any", lambda found: found["pods"]["current"] >= 1)


REFUSED = [("Secret", "v1", "UnsupportedTarget"), ("Nonsense", "apps/v1", "NotFound")]


@pytest.mark.parametrize(("kind", "version", "reason"), REFUSED)
def test_what_has_no_pods_is_no_target(
    kind: str, version: str, reason: str, api: ApiClient, cluster: ControlPlane, team: Callable[..., str],
    statuses: Statuses, installation: Installed,
) -> None:  # fmt: skip
    """A Secret is not even looked for; a kind that does not exist is said not to."""
    namespace = team()
    made = manifests.runtime(namespace, "odd", kind=kind, target="odd")
    made["spec"]["targetRef"]["apiVersion"] = version
    cluster.kubectl("delete", "validatingwebhookconfiguration", "--all")
    try:
        wait_until(lambda: api.create(made).ok, 30, lambda: "still refused")
    finally:
        installation.start_registered()
    statuses.until_condition(namespace, "odd", "TargetResolved", ("False", reason))


def test_deletion_leaves_nothing_stuck(
    api: ApiClient, team: Callable[..., str], statuses: Statuses, installation: Installed
) -> None:
    """Runtime, then namespace: nothing of ours holds either, and the next pods are bare."""
    namespace = team()
    create(api, runtime(namespace, "gone"), deployment(namespace, "gone"), manifests.config(namespace))
    statuses.until(namespace, "gone", lambda found: (found.get("pods") or {}).get("current") == 1)
    assert not api.get("AgentRuntime", namespace, "gone").body["metadata"].get("finalizers")
    assert api.delete("AgentRuntime", namespace, "gone").ok
    wait_until(lambda: heard(api, installation), 30, lambda: "the webhook does not hear of it")
    (pod,) = api.items("Pod", namespace)
    assert api.delete("Pod", namespace, pod["metadata"]["name"]).ok
    wait_until(lambda: _bare(api, namespace, pod["metadata"]["uid"]), 30, lambda: "the next pod is not bare")
    assert api.request("DELETE", f"/api/v1/namespaces/{namespace}").ok
    wait_until(lambda: api.get("Namespace", "", namespace).status == 404, 60, lambda: f"{namespace} is stuck")


def heard(api: ApiClient, installation: Installed) -> bool:
    """Whether the webhook knows as many AgentRuntimes as there are."""
    count = len(api.request("GET", "/apis/kagenti.io/v1alpha1/agentruntimes").body["items"])
    return f'_cache_objects{{resource="agentruntimes"}} {count}.0\n' in (installation.webhook.get("/metrics") or "")


def _bare(api: ApiClient, namespace: str, before: str) -> bool:
    """Whether a pod that came after carries nothing of ours."""
    found = [pod for pod in api.items("Pod", namespace) if pod["metadata"]["uid"] != before]
    keys = [key for pod in found for key in {**pod["metadata"].get("annotations", {}), **pod["metadata"]["labels"]}]
    return bool(found) and not any("kagenti" in key for key in keys)


def test_entries_of_a_replica_that_is_gone_are_pruned(
    api: ApiClient, cluster: ControlPlane, team: Callable[..., str], statuses: Statuses
) -> None:
    """A crashed xDS server cannot take its own away; and nobody is left to say that nobody serves."""
    namespace = team()
    create(api, runtime(namespace, "left"), deployment(namespace, "left"))
    statuses.until(namespace, "left", lambda found: (found.get("pods") or {}).get("current") == 1)
    entry = {"replica": "kagenti-xds-gone", "acked": 1, "rejected": 0, "pending": 0, "disconnected": 0}
    applied = {
        "apiVersion": "kagenti.io/v1alpha1",
        "kind": "AgentRuntime",
        "metadata": {"name": "left", "namespace": namespace},
        "status": {"propagation": [entry]},
    }
    cluster.kubectl(
        "apply", "--server-side", "--subresource=status", "--field-manager=kagenti-xds-kagenti-xds-gone",
        "-f", "-", stdin=json.dumps(applied),
    )  # fmt: skip
    statuses.until(namespace, "left", lambda found: not found.get("propagation"))


def test_configs_tell_whom_they_reach_and_what_is_wrong_with_them(
    api: ApiClient, cluster: ControlPlane, team: Callable[..., str], statuses: Statuses,
    cluster_config: Callable[[JSON], None],
) -> None:  # fmt: skip
    """Counts follow the workloads; a lock above shows; columns read well."""
    namespace = team()
    create(api, manifests.config(namespace, trace={"sampling": {"rate": 0.3}}, policy={"injection": "Mandatory"}))
    kind = "AgentRuntimeConfig"
    statuses.until_condition(namespace, "default", "Valid", ("True", "Valid"), kind=kind)
    statuses.until_condition(namespace, "default", "PolicyEnforced", ("True", "Enforced"), kind=kind)
    assert statuses.of(namespace, "default", kind)["workloads"] == 0
    create(api, deployment(namespace, "one"), deployment(namespace, "two", labels=ENABLED), runtime(namespace, "one"))
    statuses.until(namespace, "default", lambda found: found["workloads"] == 2, kind=kind)
    cluster_config({"policy": {"locked": ["trace.sampling"]}})
    statuses.until_condition(namespace, "default", "Valid", ("False", "LockViolation"), kind=kind)
    cluster_status = statuses.until(
        "", "default", lambda found: found.get("workloads", 0) >= 2, kind="AgentRuntimeClusterConfig"
    )
    assert cluster_status["namespaces"] >= 1
    cluster.kubectl("label", "namespace", namespace, "kagenti.io/enrolled-")
    statuses.until_condition(namespace, "default", "PolicyEnforced", ("False", "PolicyUnenforced"), kind=kind)
    table = cluster.kubectl("get", "artcc,artc", "-A")
    assert "LockViolation" not in table
    assert "POLICY" in table


def test_what_is_counted_can_be_scraped(
    api: ApiClient, team: Callable[..., str], statuses: Statuses, operator: Operator
) -> None:
    """Pods by state, writes, leadership, ages of the watches."""
    namespace = team()
    create(api, runtime(namespace, "counted"), deployment(namespace, "counted"))
    statuses.until(namespace, "counted", lambda found: (found.get("pods") or {}).get("current") == 1)
    assert operator.metric("kagenti_operator_leading") == 1
    assert operator.metric('kagenti_operator_status_writes_total{what="applied"}') > 0
    page = operator.page("/metrics") or ""
    assert 'kagenti_pods{state="current"}' in page
    assert 'kagenti_operator_cache_age_seconds{resource="agentruntimes"}' in page
    assert operator.page("/healthz") == "ok\n"
