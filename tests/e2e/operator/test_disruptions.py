"""Evictions and restarts against the real API server, its real controllers and its real disruption budgets."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kagenti.core import rollout
from kagenti.core.rollout import Outcome
from kagenti.core.workload import WorkloadRef
from kagenti.kube import KubeClient
from kagenti.kube.connection import connect
from kagenti.operator.disruptions import RESTARTED_AT, Disruptor
from tests.e2e.admission.manifests import workload
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import RELEASE_NAMESPACE, Installed
from tests.e2e.operator.bench import DEADLINE, NAME, Bench, users
from tests.e2e.operator_process import RESTART
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received

KINDS = ["Deployment", "StatefulSet", "DaemonSet"]


@pytest.fixture
def bench(cluster: ControlPlane, api: ApiClient, team: Callable[..., str]) -> Bench:
    """A namespace of its own."""
    return Bench(cluster, api, team())


@pytest.fixture(scope="module")
def account(install: Callable[..., Installed], cluster: ControlPlane) -> Path:
    """The operator's own account where restarts are allowed: what it may not, these tests cannot."""
    install(mode="both", extra=(RESTART,))
    name = f"system:serviceaccount:{RELEASE_NAMESPACE}:kagenti-operator"

    def may() -> bool:
        try:
            cluster.kubectl("auth", "can-i", "patch", "daemonsets.apps", "-A", f"--as={name}", "--quiet")
        except RuntimeError:
            return False
        return True

    wait_until(may, 30, lambda: "the role kagenti-operator is not aggregated")
    return cluster.service_account_kubeconfig(RELEASE_NAMESPACE, "kagenti-operator")


async def evict(bench: Bench, account: Path, pod: JSON, *, uid: str = "") -> Outcome:
    """Evicts that pod as the operator does."""
    metadata = pod["metadata"]
    async with KubeClient(connect(str(account))) as client:
        return await Disruptor(client).evict(bench.namespace, metadata["name"], uid or metadata["uid"])


@pytest.mark.parametrize("kind", KINDS)
async def test_an_evicted_pod_is_replaced_and_its_workload_untouched(bench: Bench, account: Path, kind: str) -> None:
    """The spec, the generation and the field managers of the workload are as they were."""
    bench.run(kind)
    before, victim = bench.workload(kind)["metadata"], bench.pods()[0]
    assert (await evict(bench, account, victim)).answer == "Accepted"
    gone = victim["metadata"]["uid"]
    wait_until(lambda: gone not in {pod["metadata"]["uid"] for pod in bench.pods()}, DEADLINE, lambda: "the pod stays")
    bench.settled(kind, 2)
    after = bench.workload(kind)["metadata"]
    assert after["generation"] == before["generation"]
    assert users(after) == users(before)


async def test_a_budget_is_heard(bench: Bench, account: Path) -> None:
    """With no room the answer is a refusal, with room it is not."""
    bench.run()
    bench.budget("all", minAvailable=2)
    outcome = await evict(bench, account, bench.pods()[0])
    assert outcome.answer == "Refused"
    assert "disruption budget" in outcome.message
    bench.api.request("DELETE", f"/apis/policy/v1/namespaces/{bench.namespace}/poddisruptionbudgets/all")
    bench.budget("one", minAvailable=1)
    assert (await evict(bench, account, bench.pods()[0])).answer == "Accepted"


async def test_two_budgets_for_one_pod_are_no_licence(bench: Bench, account: Path) -> None:
    """The API server answers 500; the pod stays, and the words are kept."""
    bench.run()
    bench.budget("one", maxUnavailable=1)
    bench.budget("two", maxUnavailable=1)
    outcome = await evict(bench, account, bench.pods()[0])
    assert outcome.answer == "Unknown"
    assert "more than one PodDisruptionBudget" in outcome.message
    assert len(bench.pods()) == 2


async def test_another_pod_of_that_name_is_left_alone(bench: Bench, account: Path) -> None:
    """A StatefulSet's replacement has its predecessor's name."""
    bench.run("StatefulSet")
    pod = bench.pods()[0]
    assert (await evict(bench, account, pod, uid="9e1fdd0e-0000-4000-8000-000000000000")).answer == "Conflict"
    assert bench.pods()[0]["metadata"]["uid"] == pod["metadata"]["uid"]


async def test_a_pod_that_is_gone_is_gone(bench: Bench, account: Path) -> None:
    """Not an error, and not a refusal."""
    assert (await evict(bench, account, {"metadata": {"name": "nobody", "uid": "u"}})).answer == "Gone"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_restart_replaces_every_pod(bench: Bench, account: Path, kind: str) -> None:
    """By the workload's own strategy; what its manifest says tells when it is over."""
    bench.run(kind)
    before, old = bench.workload(kind), {pod["metadata"]["uid"] for pod in bench.pods()}
    target = WorkloadRef("apps", kind, bench.namespace, NAME)
    async with KubeClient(connect(str(account))) as client:
        now = datetime.datetime.now(datetime.UTC)
        outcome = await Disruptor(client).restart(target, uid=before["metadata"]["uid"], now=now)
        again = await Disruptor(client).restart(target, uid="9e1fdd0e-0000-4000-8000-000000000000", now=now)
    assert (outcome.answer, outcome.generation) == ("Accepted", before["metadata"]["generation"] + 1)
    assert again.answer == "Conflict", "422 on the uid: another workload of that name, and nothing was written"
    assert "metadata.uid" in again.message

    def over() -> bool:
        found = rollout.read(bench.workload(kind))
        return found.observed >= outcome.generation and not found.rolling

    wait_until(over, DEADLINE, lambda: f"restart not over: {bench.workload(kind)['status']}")
    bench.settled(kind, 2)
    assert old.isdisjoint(pod["metadata"]["uid"] for pod in bench.pods())
    annotations = bench.workload(kind)["spec"]["template"]["metadata"]["annotations"]
    assert list(annotations) == [RESTARTED_AT]


async def test_a_template_that_waits_for_deletions_is_seen(bench: Bench, account: Path) -> None:
    """OnDelete: from the change of the template until every pod has been replaced by hand."""
    manifest = workload("StatefulSet", bench.namespace, NAME)
    manifest["spec"] |= {"replicas": 2, "updateStrategy": {"type": "OnDelete"}}
    assert bench.api.create(manifest).ok
    bench.settled("StatefulSet", 2)
    assert rollout.read(bench.workload("StatefulSet")).held_back == ""
    template = {"metadata": {"annotations": {"team": "changed"}}}
    assert bench.api.merge("StatefulSet", bench.namespace, NAME, {"spec": {"template": template}}).ok

    def held_back() -> bool:
        return bool(rollout.read(bench.workload("StatefulSet")).held_back)

    wait_until(held_back, DEADLINE, lambda: str(bench.workload("StatefulSet")["status"]))
    for pod in bench.pods():
        bench.api.delete("Pod", bench.namespace, pod["metadata"]["name"])
    wait_until(lambda: not held_back(), DEADLINE, lambda: str(bench.workload("StatefulSet")["status"]))
