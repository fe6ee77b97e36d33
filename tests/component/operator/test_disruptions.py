"""What is sent to evict a pod or restart a workload, and what each answer of the API server means."""

import datetime
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from aiohttp import web

from kagenti.core.rollout import Outcome
from kagenti.core.workload import WorkloadRef
from kagenti.operator.disruptions import Disruptor
from tests.component.kube.scripted import Script, Step, serving, whole

JSON = Any  # a raw body

NOW = datetime.datetime(2026, 11, 26, 12, 0, 0, tzinfo=datetime.UTC)
TARGET = WorkloadRef("apps", "Deployment", "team1", "weather")
BUDGET = "Cannot evict pod as it would violate the pod's disruption budget."


def status(code: int, message: str, headers: Mapping[str, str] | None = None) -> Step:
    """Answers with a Status."""
    return whole(orjson.dumps({"kind": "Status", "message": message}), status=code, headers=headers)


def noting(into: list[JSON], answer: bytes = b"{}") -> Step:
    """Notes content type and body of a request, and answers."""

    async def step(request: web.Request) -> web.StreamResponse:
        into.append((request.method, request.content_type, orjson.loads(await request.read())))
        return web.Response(body=answer)

    return step


ANSWERS: list[tuple[str, Step, Outcome]] = [
    ("accepted", whole(b"{}", status=201), Outcome("Accepted")),
    ("a budget", status(429, BUDGET, {"Retry-After": "10"}), Outcome("Refused", BUDGET, retry_after=10)),
    ("gone", status(404, "not found"), Outcome("Gone", "not found")),
    ("another pod of that name", status(409, "the UID differs"), Outcome("Conflict", "the UID differs")),
    ("no right", status(403, "forbidden"), Outcome("Forbidden", "forbidden")),
    ("two budgets for one pod", status(500, "more than one"), Outcome("Unknown", "more than one")),
]


@pytest.mark.parametrize(("why", "answer", "expected"), ANSWERS, ids=[row[0] for row in ANSWERS])
async def test_answers_to_an_eviction(why: str, answer: Step, expected: Outcome) -> None:
    """Each row: the outcome, whose message holds the API server's own words."""
    async with serving(Script(answer)) as client:
        disruptor = Disruptor(client)
        found = await disruptor.evict("team1", "weather-a", "uid-a")
    assert (found.answer, found.retry_after) == (expected.answer, expected.retry_after), why
    assert expected.message in found.message
    assert disruptor.counts == {("evict", expected.answer): 1}


async def test_an_eviction_names_the_pod_by_name_and_uid() -> None:
    """A StatefulSet's new pod has the old one's name."""
    sent: list[JSON] = []
    script = Script(noting(sent))
    async with serving(script) as client:
        await Disruptor(client).evict("team1", "weather-0", "uid-0")
    assert script.paths == ["/api/v1/namespaces/team1/pods/weather-0/eviction"]
    method, _, body = sent[0]
    assert (method, body["kind"], body["deleteOptions"]) == ("POST", "Eviction", {"preconditions": {"uid": "uid-0"}})


async def test_a_restart_touches_one_annotation_of_the_template_of_that_very_workload() -> None:
    """As kubectl rollout restart does; the new generation tells when its controller has seen it."""
    sent: list[JSON] = []
    script = Script(noting(sent, b'{"metadata": {"generation": 7}}'))
    async with serving(script) as client:
        outcome = await Disruptor(client).restart(TARGET, uid="uid-w", now=NOW)
    assert outcome == Outcome("Accepted", generation=7)
    annotations = {"kubectl.kubernetes.io/restartedAt": "2026-11-26T12:00:00Z"}
    metadata = {"name": "weather", "namespace": "team1", "uid": "uid-w"}
    spec = {"template": {"metadata": {"annotations": annotations}}}
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    assert sent == [("PATCH", "application/apply-patch+yaml", manifest)]
    assert script.queries == [{"fieldManager": "kagenti-operator", "force": "true"}]


async def test_a_pod_that_is_gone_is_no_error() -> None:
    """Somebody else may be faster."""
    async with serving(Script(status(404, "not found"))) as client:
        assert await Disruptor(client).read_pod("team1", "weather-a") is None
