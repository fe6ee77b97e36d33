"""Bare and stale pods of real controllers: replaced, left alone, or given up, and nothing else touched.

Deployment first, AgentRuntime after it: the order in which Helm and GitOps tools apply them.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.admission.manifests import pod as standalone
from tests.e2e.admission.manifests import runtime, workload
from tests.e2e.admission.observed import bare, injected
from tests.e2e.api_client import ApiClient
from tests.e2e.audit import OURS, requests
from tests.e2e.installed import Installed
from tests.e2e.operator.bench import DEADLINE, NAME, Bench, ready, users
from tests.e2e.operator_process import RESTART, Operator
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received

INJECTOR = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/kagenti-injector"
AS_PROXY = {"securityContext": {"runAsUser": 1337}}


@pytest.fixture(scope="module")
def operator(install: Callable[..., Installed]) -> Iterator[Callable[..., Operator]]:
    """Gives the leading operator of the installation with these options."""
    current: dict[Installed, Operator] = {}

    def give(**options: Any) -> Operator:
        installation = install(**options)
        if installation not in current:
            for other in current.values():
                other.stop()
            current.clear()
            current[installation] = Operator(installation)
            current[installation].start()
        return current[installation]

    yield give
    for running in current.values():
        running.stop()


@pytest.fixture
def bench(cluster: ControlPlane, api: ApiClient, team: Callable[..., str], operator: Callable[..., Operator]) -> Bench:
    """An enrolled namespace of its own, with the default installation and its operator."""
    operator()
    return Bench(cluster, api, team())


def evictions(bench: Bench) -> list[int]:
    """The answers to the operator's evictions in that namespace, oldest first."""
    found = requests(bench.cluster.audit_log, user=f"{OURS}kagenti-operator", namespace=bench.namespace)
    return [request.code for request in found if request.subresource == "eviction"]


def target(bench: Bench, kind: str = "Deployment", **spec: JSON) -> None:
    """Creates the AgentRuntime of the workload."""
    answer = bench.api.create(runtime(bench.namespace, NAME, kind=kind, target=NAME, **spec))
    assert answer.ok, answer.message


def condition(bench: Bench) -> JSON:
    """PodsInjected of the AgentRuntime."""
    status = bench.api.get("AgentRuntime", bench.namespace, NAME).body.get("status") or {}
    return next((found for found in status.get("conditions") or () if found["type"] == "PodsInjected"), {})


def says(bench: Bench, reason: str, *words: str, status: str = "False") -> None:
    """Waits until PodsInjected has that status and reason, and a message with these words."""

    def said() -> bool:
        found = condition(bench)
        matches = (found.get("status"), found.get("reason")) == (status, reason)
        return matches and all(word in found["message"] for word in words)

    wait_until(said, DEADLINE, lambda: f"PodsInjected is {condition(bench)}")


def all_injected(bench: Bench, count: int) -> bool:
    """Whether the workload has that many Ready pods, all injected."""
    pods = bench.pods()
    return len(pods) == count and all(injected(pod) and ready(pod) for pod in pods)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_bare_pods_are_replaced_one_by_one_without_a_word(bench: Bench, kind: str) -> None:
    """Nobody does anything but apply the AgentRuntime; the workload is never written, and never two pods short."""
    count = 2 if kind == "DaemonSet" else 3
    bench.run(kind, replicas=count)
    assert all(map(bare, bench.pods()))
    before, fewest = bench.workload(kind)["metadata"], [count]

    def over() -> bool:
        fewest.append(sum(map(ready, bench.pods())))
        return all_injected(bench, count)

    target(bench, kind)
    wait_until(over, DEADLINE, lambda: f"PodsInjected is {condition(bench)}")
    says(bench, "Injected", status="True")
    assert min(fewest) >= count - 1
    assert evictions(bench) == [201] * count
    after = bench.workload(kind)["metadata"]
    assert (after["generation"], users(after)) == (before["generation"], users(before))


def test_a_budget_is_respected(bench: Bench) -> None:
    """As long as it leaves no room the pods stay and status says so; with room they go."""
    bench.run()
    bench.budget("all", minAvailable=2)
    target(bench)
    says(bench, "BarePods", "disruption budget")
    assert all(map(bare, bench.pods()))
    bench.api.request("DELETE", f"/apis/policy/v1/namespaces/{bench.namespace}/poddisruptionbudgets/all")
    bench.budget("one", minAvailable=1)
    wait_until(lambda: all_injected(bench, 2), DEADLINE, lambda: f"PodsInjected is {condition(bench)}")
    assert set(evictions(bench)) == {201, 429}


def test_a_standalone_pod_is_left_alone(bench: Bench) -> None:
    """Nothing would create it anew."""
    assert bench.api.create(standalone(bench.namespace, NAME)).ok
    wait_until(lambda: all(map(ready, bench.pods())), DEADLINE, lambda: "the pod does not run")
    target(bench, "Pod")
    says(bench, "EvictionWithheld", NAME, "nothing would create it anew")
    assert len(bench.pods()) == 1
    assert evictions(bench) == []


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_the_pod_of_a_job_is_left_alone(bench: Bench, kind: str) -> None:
    """It is work under way; here it waits for a node that never comes, so that KWOK does not complete it."""
    manifest = workload(kind, bench.namespace, NAME)
    spec = manifest["spec"]["jobTemplate"]["spec"] if kind == "CronJob" else manifest["spec"]
    spec["template"]["spec"]["nodeSelector"] = {"none": "such"}
    assert bench.api.create(manifest).ok
    if kind == "CronJob":
        bench.cluster.kubectl("create", "job", "-n", bench.namespace, f"--from=cronjob/{NAME}", f"{NAME}-by-hand")
    wait_until(bench.pods, DEADLINE, lambda: "no pod of the job")
    target(bench, kind)
    says(bench, "EvictionWithheld", "pods of a Job are work under way")
    assert evictions(bench) == []


def test_a_pod_whose_replacement_would_be_denied_is_left_alone(bench: Bench) -> None:
    """The webhook's own refusal is in the condition; nothing is sent."""
    bench.run(**AS_PROXY)
    before = bench.pods()
    target(bench)
    says(bench, "EvictionWithheld", "ProxyUid", "runAsUser")
    assert [pod["metadata"]["uid"] for pod in bench.pods()] == [pod["metadata"]["uid"] for pod in before]
    assert evictions(bench) == []


def scope(bench: Bench, *conditions: JSON) -> None:
    """Sets the further matchConditions of both entries, as an administrator's mistake would, and waits until they hold."""
    configuration = bench.api.request("GET", INJECTOR).body
    for entry in configuration["webhooks"]:
        kept = [found for found in entry["matchConditions"] if found["name"] != "mistake"]
        entry["matchConditions"] = [*kept, *conditions]
    assert bench.api.request("PUT", INJECTOR, configuration).ok
    probe = standalone(bench.namespace, "probe", label="enabled")
    scoped_away = bool(conditions)
    wait_until(
        lambda: bare(bench.api.create(probe, dry_run=True).body) is scoped_away,
        DEADLINE,
        lambda: "the API server goes by the matchConditions of before",
    )


def test_a_replacement_that_comes_up_bare_again_ends_the_attempt(bench: Bench) -> None:
    """One pod is lost to a webhook that is scoped away; once that is mended the others follow."""
    bench.run(replicas=3)
    scope(bench, {"name": "mistake", "expression": f"request.namespace != '{bench.namespace}'"})
    try:
        target(bench)
        says(bench, "ReplacementBare", "MutatingWebhookConfiguration kagenti-injector")
        assert len(evictions(bench)) == 1
    finally:
        scope(bench)
    # Any change that decides takes it up again at once; the webhook's configuration alone is looked at once a minute.
    assert bench.api.merge("AgentRuntime", bench.namespace, NAME, {"spec": {"type": "agent"}}).ok
    wait_until(lambda: all_injected(bench, 3), DEADLINE, lambda: f"PodsInjected is {condition(bench)}")
    says(bench, "Injected", status="True")
    assert evictions(bench) == [201] * 4


def test_a_new_leader_does_not_take_up_what_was_given_up(bench: Bench, operator: Callable[..., Operator]) -> None:
    """The condition says it, and the new process reads it."""
    bench.run()
    scope(bench, {"name": "mistake", "expression": f"request.namespace != '{bench.namespace}'"})
    try:
        target(bench)
        says(bench, "ReplacementBare")
        before = condition(bench)
        operator().stop()
        operator().start()
        bench.api.merge("Deployment", bench.namespace, NAME, {"spec": {"replicas": 3}})  # has it looked at again
        bench.settled("Deployment", 3)
        wait_until(lambda: pods_counted(bench) == 3, DEADLINE, lambda: "the new leader has not looked")
        assert len(evictions(bench)) == 1
        assert condition(bench) == before
    finally:
        scope(bench)


def pods_counted(bench: Bench) -> int:
    """How many pods status counts."""
    status = bench.api.get("AgentRuntime", bench.namespace, NAME).body["status"]
    return int(status["pods"]["total"])


def test_a_leader_that_is_killed_is_followed_by_one_that_keeps_the_pace(
    bench: Bench, operator: Callable[..., Operator]
) -> None:
    """What is under way is read from the cluster, so that no second pod goes, and none goes twice."""
    bench.run(replicas=4)
    fewest = [4]

    def over() -> bool:
        fewest.append(sum(map(ready, bench.pods())))
        return all_injected(bench, 4)

    target(bench)
    wait_until(lambda: evictions(bench), DEADLINE, lambda: f"PodsInjected is {condition(bench)}")
    operator().kill()
    operator().start()
    wait_until(over, DEADLINE, lambda: f"PodsInjected is {condition(bench)}")
    assert evictions(bench).count(201) == 4
    assert min(fewest) >= 3


def test_nothing_goes_while_the_webhook_is_not_ready(bench: Bench, install: Callable[..., Installed]) -> None:
    """Its process is down; the pods stay until it is back."""
    bench.run()
    webhook = install().webhook
    webhook.stop()
    try:
        target(bench)
        says(bench, "BarePods", "waiting for the webhook")
        assert evictions(bench) == []
    finally:
        webhook.start()
        webhook.wait_ready()
    wait_until(lambda: all_injected(bench, 2), DEADLINE, lambda: f"PodsInjected is {condition(bench)}")


def test_whoever_asks_for_nothing_gets_nothing(bench: Bench) -> None:
    """rollout.bare None: reported only."""
    bench.run()
    target(bench, rollout={"bare": "None"})
    says(bench, "BarePods", "2 of 2 pods (", "have no sidecars")
    assert evictions(bench) == []


STALE = {"identity": {"outbound": {"trafficInterception": {"excludePorts": [9999]}}}}


def made_stale(bench: Bench, **spec: JSON) -> None:
    """Runs an injected workload, then changes a restart setting of its AgentRuntime."""
    target(bench, **spec)
    bench.run()
    assert all(map(injected, bench.pods()))
    assert bench.api.merge("AgentRuntime", bench.namespace, NAME, {"spec": STALE}).ok


def current(bench: Bench) -> bool:
    """Whether status, as of the present spec, counts two current pods."""
    found = bench.api.get("AgentRuntime", bench.namespace, NAME).body
    status = found.get("status") or {}
    seen = status.get("observedGeneration") == found["metadata"]["generation"]
    return seen and bool((status.get("pods") or {}).get("current") == 2)


def test_stale_pods_are_reported_by_default(bench: Bench) -> None:
    """They carry sidecars: PodsInjected stays True."""
    made_stale(bench)
    says(bench, "StalePods", "trafficInterception.excludePorts", status="True")
    assert evictions(bench) == []


def test_stale_pods_are_evicted_where_that_is_asked_for(bench: Bench) -> None:
    """One by one, as bare ones are."""
    made_stale(bench, rollout={"stale": "Evict"})
    wait_until(lambda: current(bench), DEADLINE, lambda: f"PodsInjected is {condition(bench)}")
    assert evictions(bench) == [201, 201]
    assert bench.workload()["metadata"]["generation"] == 1


def test_a_restart_is_not_carried_out_unless_the_installation_allows_it(bench: Bench) -> None:
    """The condition says what to set; the workload is untouched."""
    made_stale(bench, rollout={"stale": "Restart"})
    says(bench, "RestartNotAllowed", "operator.allowRestart", status="True")
    assert bench.workload()["metadata"]["generation"] == 1


def test_a_restart_that_is_asked_for_and_allowed(
    cluster: ControlPlane, api: ApiClient, team: Callable[..., str], operator: Callable[..., Operator]
) -> None:
    """One annotation of the template, once; nobody is evicted. Without being asked the workload stays untouched."""
    operator(extra=(RESTART,))
    bench, other = Bench(cluster, api, team()), Bench(cluster, api, team())
    made_stale(other)
    made_stale(bench, rollout={"stale": "Restart"})
    wait_until(lambda: current(bench), DEADLINE, lambda: f"PodsInjected is {condition(bench)}")
    says(bench, "Injected", status="True")
    made = bench.workload()
    assert made["metadata"]["generation"] == 2
    assert list(made["spec"]["template"]["metadata"]["annotations"]) == ["kubectl.kubernetes.io/restartedAt"]
    assert evictions(bench) == []
    says(other, "StalePods", status="True")
    assert other.workload()["metadata"]["generation"] == 1
