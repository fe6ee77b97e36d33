"""Exempt by owner: the name in a pod's controller reference counts once the API server has confirmed it."""

import base64
from typing import Any

import pytest
from tests.unit.webhook.manifests import pod, review, stored
from tests.unit.webhook.test_reviews import Bench, FakeCluster

from kagenti.kube import StoredObject

DAEMONSET = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "collector"}


def policy(*exempt: dict[str, str]) -> StoredObject:
    """A cluster that makes team1 Mandatory with exemptions."""
    rule = {"names": ["team1"], "injection": "Mandatory", "exempt": list(exempt)}
    return stored("AgentRuntimeClusterConfig", "default", policy={"namespaces": [rule]})


class Owners(FakeCluster):
    """Top owners are taken at their word, as kinds at the top of a chain are."""

    async def top_owner(self, reference: Any, namespace: str) -> Any:
        return reference.workload(namespace)


def owned(reference: dict[str, str]) -> dict[str, Any]:
    """A pod that names that controller."""
    return pod(ownerReferences=[{**reference, "uid": "made-up", "controller": True}])


def injected(response: dict[str, Any]) -> bool:
    """Whether the answer adds the proxy."""
    return b"envoy-proxy" in base64.b64decode(response.get("patch", ""))


async def test_an_owner_that_exists_exempts() -> None:
    """One look at the owner, then the pod is let through with the policy in the audit log."""
    bench = Bench(policy(DAEMONSET), cluster=Owners(proof="holds"))
    response = await bench.ask("/mutate/pods", review(owned(DAEMONSET)))
    assert bench.cluster.asked == ["strict DaemonSet team1/collector", "proof DaemonSet collector"]
    assert not injected(response)
    assert (response["auditAnnotations"]["reason"], response["auditAnnotations"]["policy"]) == ("Exempt", "Exempt")


async def test_a_made_up_owner_exempts_nobody() -> None:
    """A reference that does not hold makes the pod a standalone pod, which Mandatory binds."""
    bench = Bench(policy(DAEMONSET), cluster=Owners(proof="broken"))
    response = await bench.ask("/mutate/pods", review(owned(DAEMONSET)))
    assert injected(response)
    assert response["auditAnnotations"]["reason"] == "Mandatory"
    assert response["auditAnnotations"]["owner"] == "Pod team1/"


async def test_an_owner_that_nobody_may_read_exempts_nobody() -> None:
    """Another kind cannot be verified: the pod is injected and its author told why and what to do."""
    rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "collector"}
    bench = Bench(policy(rollout), cluster=Owners(proof="unknown"))
    response = await bench.ask("/mutate/pods", review(owned(rollout)))
    assert injected(response)
    assert response["warnings"][0] == (
        "Exempt: Rollout team1/collector is not exempt: kagenti may not read Rollout.argoproj.io, "
        "so that nothing proves the owner; exempt its service account"
    )


@pytest.mark.parametrize(
    "exempt",
    [{"serviceAccount": "default"}, {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "other"}],
    ids=["by service account", "another owner"],
)
async def test_nothing_else_costs_a_read(exempt: dict[str, str]) -> None:
    """Where no exemption hangs on the owner, no owner is read."""
    bench = Bench(policy(exempt), cluster=Owners(proof="broken"))
    await bench.ask("/mutate/pods", review(owned(DAEMONSET)))
    assert bench.cluster.asked == ["strict DaemonSet team1/collector"]


async def test_a_job_that_names_a_cronjob_is_asked_about_it() -> None:
    """With target workloads a Job's controller is its author's word as well."""
    cronjob = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly"}
    manifest = {
        "metadata": {"name": "nightly-1", "ownerReferences": [{**cronjob, "uid": "made-up", "controller": True}]},
        "spec": {"template": pod(owner=None)},
    }
    bench = Bench(policy(cronjob), cluster=Owners(proof="broken"))
    response = await bench.ask("/mutate/workloads", review(manifest, kind="Job", group="batch", name="nightly-1"))
    assert "proof CronJob nightly" in bench.cluster.asked
    assert injected(response)
