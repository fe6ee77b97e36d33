"""Facts about a new AgentRuntime's target: one GET, one LIST, a second, and "unknown" instead of an error."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from kagenti import errors
from kagenti.core.admission.targets import UNKNOWN, TargetFacts
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.webhook import targets

DEPLOYMENT = WorkloadRef("apps", "Deployment", "team1", "weather")
CRONJOB = WorkloadRef("batch", "CronJob", "team1", "report")
DEPLOYMENT_PATH = "/apis/apps/v1/namespaces/team1/deployments/weather"
CRONJOB_PATH = "/apis/batch/v1/namespaces/team1/cronjobs/report"
PODS_PATH = "/api/v1/namespaces/team1/pods"
WORKLOAD = {"metadata": {"name": "weather", "namespace": "team1"}, "spec": {"selector": {"matchLabels": {"app": "w"}}}}


def _pod(phase: str, *, job: str = "") -> dict[str, Any]:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": f"uid-{job}", "controller": True}
    return {"metadata": {"ownerReferences": [owner] if job else []}, "status": {"phase": phase}}


class Client:
    """Answers by path; an exception is raised, None hangs."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Mapping[str, str] | None]] = []

    async def get(self, path: str, *, params: Mapping[str, str] | None = None, timeout: float) -> bytes:
        self.asked.append((path, params))
        answer = self.answers["pods" if path == PODS_PATH else "target"]
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        return orjson.dumps(answer)


class Owners:
    async def top_owner(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        return CRONJOB if reference.name == "report-1" else None


async def _facts(client: Client, target: WorkloadRef, *, budget: float = targets.BUDGET) -> TargetFacts:
    return await targets.TargetReader(client, Owners(), budget=budget).facts(target)


@pytest.mark.parametrize(
    ("target", "answers", "expected", "reason"),
    [
        (
            DEPLOYMENT,
            {"target": WORKLOAD, "pods": {"items": [_pod("Running"), _pod("Running"), _pod("Failed")]}},
            TargetFacts("found", pods=2),
            "running pods are counted",
        ),
        (
            DEPLOYMENT,
            {"target": WORKLOAD, "pods": {"items": [_pod("Running")], "metadata": {"continue": "x"}}},
            TargetFacts("found", pods=1, more=True),
            "a further page is said, not read",
        ),
        (DEPLOYMENT, {"target": errors.NotFound("404")}, TargetFacts("missing"), "it may come later"),
        (DEPLOYMENT, {"target": errors.Forbidden("403")}, UNKNOWN, "no right to look is no error"),
        (DEPLOYMENT, {"target": WORKLOAD, "pods": errors.Unreachable("503")}, TargetFacts("found"), "pods unknown"),
        (
            CRONJOB,
            {
                "target": {"metadata": {"namespace": "team1"}, "spec": {}},
                "pods": {"items": [_pod("Running", job="report-1"), _pod("Running", job="report-x"), _pod("Running")]},
            },
            TargetFacts("found", pods=1),
            "without a selector the owner chain decides",
        ),
        (WorkloadRef("", "Pod", "team1", "one"), {"target": _pod("Running")}, TargetFacts("found", pods=1), "itself"),
        (WorkloadRef("argoproj.io", "Rollout", "team1", "one"), {}, UNKNOWN, "a kind without a right to read it"),
    ],
)
async def test_facts(target: WorkloadRef, answers: dict[str, Any], expected: TargetFacts, reason: str) -> None:
    """One answer of the cluster, one set of facts."""
    assert await _facts(Client(**answers), target) == expected, reason


async def test_asks_once_for_target_and_once_for_pods() -> None:
    """The LIST is limited and narrowed by the workload's own selector."""
    client = Client(target=WORKLOAD, pods={"items": []})
    await _facts(client, DEPLOYMENT)
    assert client.asked == [(DEPLOYMENT_PATH, None), (PODS_PATH, {"limit": "500", "labelSelector": "app=w"})]


async def test_a_name_cannot_leave_its_path() -> None:
    """The name is an author's word: what it says stays one segment."""
    client = Client(target=errors.NotFound("404"))
    await _facts(client, WorkloadRef("apps", "Deployment", "team1", "../../secrets/x?y"))
    assert client.asked == [("/apis/apps/v1/namespaces/team1/deployments/..%2F..%2Fsecrets%2Fx%3Fy", None)]


@pytest.mark.parametrize(
    ("answers", "expected"), [({"target": None}, UNKNOWN), ({"target": WORKLOAD, "pods": None}, TargetFacts("found"))]
)
async def test_silence_is_unknown_after_the_budget(answers: dict[str, Any], expected: TargetFacts) -> None:
    """An API server that does not answer costs the budget and no more."""
    assert await asyncio.wait_for(_facts(Client(**answers), DEPLOYMENT, budget=0.02), 5) == expected
