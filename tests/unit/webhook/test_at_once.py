"""Answers that hang on nothing: given whatever state the process is in (target workloads)."""

from typing import Any

import orjson
import pytest
from tests.unit.webhook.manifests import pod, review
from tests.unit.webhook.test_reviews import Bench, FakeCluster

from kagenti import errors
from kagenti.core.admission import respond

STATES: dict[str, dict[str, Any]] = {
    "busy": {"busy": True},
    "not synced": {"synced": False},
    "API server away, namespace unseen": {"cluster": FakeCluster(fault=errors.Unreachable("x")), "namespace": "team9"},
}


def deployment(**spec: Any) -> dict[str, Any]:
    """A labelled Deployment."""
    return {"metadata": {"name": "weather"}, "spec": {"template": pod(owner=None, label="enabled"), **spec}}


async def ask(state: dict[str, Any], new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """The answer to an UPDATE of a Deployment in that state of the process."""
    bench = Bench(cluster=state.get("cluster"), synced=state.get("synced", True))
    request = review(new, kind="Deployment", group="apps", operation="UPDATE", name="weather", oldObject=old)
    request["request"]["namespace"] = state.get("namespace", "team1")
    return await bench.ask("/mutate/workloads", request, busy=state.get("busy", False))


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
async def test_an_update_that_leaves_the_users_part_alone_is_never_denied(state: dict[str, Any]) -> None:
    """A scale-up, which an autoscaler writes, waits for nothing of ours."""
    response = await ask(state, deployment(replicas=3), deployment(replicas=1))
    assert (response["allowed"], response["auditAnnotations"]["reason"]) == (True, "Unchanged")


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
async def test_an_object_on_its_way_out_is_never_denied(state: dict[str, Any]) -> None:
    """The garbage collector's UPDATE passes, even where it changes the template."""
    new, old = deployment(replicas=1), deployment(replicas=1)
    new["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "example.test/weather:2"
    response = await ask(state, new, old)
    assert (response["allowed"], response["auditAnnotations"]["reason"]) == (True, "Deleting")


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
async def test_a_change_of_the_users_part_waits(state: dict[str, Any]) -> None:
    """What needs facts is denied until they can be had."""
    new = deployment()
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "example.test/weather:2"
    response = await ask(state, new, deployment())
    assert (response["allowed"], response["auditAnnotations"]["reason"]) == (False, "NotReady")


@pytest.mark.parametrize("path", ["/validate", "/advise", "/mutate/pods"])
async def test_an_answer_that_cannot_be_encoded_follows_the_entry(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash in encoding denies where the entry fails closed, and only there; the uid comes back."""
    plain = respond.Answer.body

    def broken(answer: respond.Answer) -> bytes:
        if answer.reason != respond.INTERNAL_ERROR:
            raise TypeError("not JSON")
        return plain(answer)

    monkeypatch.setattr(respond.Answer, "body", broken)
    bench = Bench()
    response = orjson.loads(await bench.entries[path](orjson.dumps(review(pod())), False))["response"]
    assert (response["uid"], response["allowed"]) == ("u-1", path != "/mutate/pods")
    assert sum(bench.metrics.crashes.values()) == 1
