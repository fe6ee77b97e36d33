"""Writes: one field manager, one object by its uid, events that wait their turn; and metrics of what was seen."""

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from kagenti import errors
from kagenti.core.reconcile import Event, Judged
from kagenti.core.workload import WorkloadRef
from kagenti.kube import StoredObject
from kagenti.operator.census import Census
from kagenti.operator.keys import ObjectKey
from kagenti.operator.lag import Lag
from kagenti.operator.metrics import Metrics, Readings
from kagenti.operator.pods import ObservedPod
from kagenti.operator.status import PATIENCE, QUIET, StatusWriter

JSON = Any  # a manifest

RUNTIME = StoredObject("AgentRuntime", "team1", "weather", "uid-1", "7", "2026-11-01T00:00:00Z")
CLUSTER = StoredObject("AgentRuntimeClusterConfig", "", "default", "uid-2", "7", "2026-11-01T00:00:00Z")
CARD = StoredObject("AgentCard", "team1", "weather", "uid-3", "7", "2026-11-01T00:00:00Z")


class Client:
    """Takes writes, and may refuse them."""

    def __init__(self) -> None:
        self.applied: list[tuple[str, JSON, str]] = []
        self.posted: list[tuple[str, JSON]] = []
        self.refuses = False
        self.answer = b'{"metadata":{"resourceVersion":"8"}}'

    async def apply(self, path: str, manifest: JSON, *, manager: str, timeout: float) -> bytes:
        self.applied.append((path, manifest, manager))
        return self.answer

    async def post(self, path: str, body: JSON, *, timeout: float) -> bytes:
        if self.refuses:
            raise errors.Forbidden("no")
        self.posted.append((path, body))
        return b"{}"


@pytest.fixture
def client() -> Client:
    """An API server."""
    return Client()


class Time:
    """Seconds that pass only while somebody sleeps; ``meanwhile`` is done in each sleep."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        if self.meanwhile is not None:
            await self.meanwhile()
        await asyncio.sleep(0)


@pytest.fixture
def time() -> Time:
    """The monotonic clock."""
    return Time()


@pytest.fixture
def writer(client: Client, time: Time) -> StatusWriter:
    """At noon."""
    noon = datetime.datetime(2026, 11, 26, 12, 0, 0, tzinfo=datetime.UTC)
    log = logging.getLogger("test")
    return StatusWriter(client, identity="op-0", logger=log, clock=lambda: noon, now=time.now, sleep=time.sleep)


PATHS = [
    (RUNTIME, "namespaces/team1/agentruntimes/weather/status"),
    (CLUSTER, "agentruntimeclusterconfigs/default/status"),
    (CARD, "namespaces/team1/agentcards/weather/status"),
]


@pytest.mark.parametrize(("stored", "path"), PATHS, ids=[stored.kind for stored, _ in PATHS])
async def test_a_status_is_applied_to_exactly_that_object(
    stored: StoredObject, path: str, writer: StatusWriter, client: Client
) -> None:
    """Another object of the same name, made meanwhile, is not meant."""
    assert await writer.write(stored, {"phase": "Active"}) == "8"
    ((where, manifest, manager),) = client.applied
    assert where == f"/apis/kagenti.io/v1alpha1/{path}"
    assert manifest["metadata"]["uid"] == stored.uid
    assert (manifest["status"], manager) == ({"phase": "Active"}, "kagenti-operator")


async def test_a_status_that_met_another_object_of_that_name_is_said(writer: StatusWriter, client: Client) -> None:
    """The API server takes no uid as a precondition on the status of a custom resource (seen on 1.36): the answer tells."""
    client.answer = b'{"metadata":{"resourceVersion":"9","uid":"uid-of-the-next"}}'
    with pytest.raises(errors.Conflict, match="AgentRuntime team1/weather was replaced"):
        await writer.write(RUNTIME, {"phase": "Active"})


async def test_a_crashed_replica_s_entry_is_given_up_in_its_name(writer: StatusWriter, client: Client) -> None:
    """What a field manager no longer applies is removed, and nothing else."""
    await writer.prune(RUNTIME, "kagenti-xds-1")
    ((_, manifest, manager),) = client.applied
    assert ("status" in manifest, manager) == (False, "kagenti-xds-kagenti-xds-1")


async def run_for_a_moment(writer: StatusWriter) -> None:
    """Lets the writer post what waits."""
    task = asyncio.create_task(writer.run())
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_events_are_posted_behind_and_name_their_object(writer: StatusWriter, client: Client) -> None:
    """In the object's namespace; of the cluster's config in default."""
    for stored in (RUNTIME, CLUSTER):
        writer.tell(stored, [Event("Warning", "BarePods", "x" * 5000)])
    assert client.posted == []
    await run_for_a_moment(writer)
    paths = [path for path, _ in client.posted]
    assert [path.rpartition("namespaces/")[2] for path in paths] == ["team1/events", "default/events"]
    body = client.posted[0][1]
    assert body["regarding"]["uid"] == "uid-1"
    assert body["metadata"]["name"].startswith("weather.")
    assert (body["reason"], body["type"], len(body["note"])) == ("BarePods", "Warning", 1024)


async def test_an_event_of_a_long_name_has_a_name_that_is_taken(writer: StatusWriter, client: Client) -> None:
    """RFC 1123: a label ends with a letter or digit, wherever it was cut."""
    writer.tell(msgspec.structs.replace(RUNTIME, name="a" * 198 + "-.b"), [Event("Normal", "AsDesired", "")])
    await run_for_a_moment(writer)
    assert client.posted[0][1]["metadata"]["name"].startswith("a" * 198 + ".")


async def test_statuses_go_before_events(writer: StatusWriter, client: Client, time: Time) -> None:
    """One change may concern hundreds of objects: nobody waits for a status because of events, nor for ever for these."""
    seen: list[tuple[float, int]] = []

    async def writes_go_on() -> None:
        seen.append((time.now(), len(client.posted)))
        await writer.write(RUNTIME, {})

    await writer.write(RUNTIME, {})
    writer.tell(RUNTIME, [Event("Normal", "AsDesired", "")])
    time.meanwhile = writes_go_on
    task = asyncio.create_task(writer.run())
    while not client.posted:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert {posted for _, posted in seen} == {0}
    assert time.now() == pytest.approx(100 + PATIENCE)
    time.meanwhile, before = None, time.now()
    writer.tell(RUNTIME, [Event("Normal", "AsDesired", "")])
    await run_for_a_moment(writer)
    assert len(client.posted) == 2
    assert time.now() == pytest.approx(before + QUIET)


async def test_an_event_that_is_refused_is_counted_and_let_go(writer: StatusWriter, client: Client) -> None:
    """Statuses do not wait for it."""
    client.refuses = True
    writer.tell(RUNTIME, [Event("Normal", "AsDesired", "")])
    await run_for_a_moment(writer)
    assert writer.events == {"failed": 1}


async def test_a_flood_of_events_is_cut_off(writer: StatusWriter) -> None:
    """A change of the cluster's config may concern ten thousand objects."""
    for _ in range(1500):
        writer.tell(RUNTIME, [Event("Normal", "AsDesired", "")])
    assert writer.events == {"dropped": 500}


def test_pods_are_counted_by_what_was_last_found() -> None:
    """And a workload without pods is no workload."""
    census, weather = Census(), WorkloadRef("apps", "Deployment", "team1", "weather")
    found = [Judged("current", "Label", "", trigger="Label"), Judged("bare", "Label", "", trigger="Label")]
    census.take(weather, found, with_runtime=True)
    assert census.pods() == {"current": 1, "bare": 1}
    assert census.workloads() == {("Label", "true"): 1}
    census.take(weather, found[:1], with_runtime=False)
    assert census.workloads() == {("Label", "false"): 1}
    census.take(weather, [], with_runtime=True)
    assert census.pods() == {}


def test_only_changes_that_were_seen_to_come_are_timed() -> None:
    """Not what was there before, and each of them once."""
    seen: list[float] = []
    times = iter(range(100, 200, 10))
    lag, key = Lag(seen.append, now=lambda: float(next(times))), ObjectKey("AgentRuntime", "team1", "weather")
    lag.note(key, "a", acknowledged=True)
    lag.note(key, "b", acknowledged=False)
    lag.note(key, "b", acknowledged=True)
    lag.note(key, "b", acknowledged=True)
    assert seen == [10.0]


def test_the_time_to_ready_is_taken_of_injected_pods_that_were_seen_to_become_ready() -> None:
    """Not of bare ones, and not of those that were ready when we came."""
    deeds = {("evict", "Accepted"): 2}
    readings = Readings(
        lambda: True, dict, dict, dict, lambda: 3, dict, dict, dict, lambda: 0, lambda: deeds, lambda: 1
    )  # fmt: skip
    metrics = Metrics(readings)
    before = ObservedPod("n", "a", "u", "1", created="2026-11-26T12:00:00Z", receipted=True)
    after = msgspec.structs.replace(before, is_ready=True, ready_at="2026-11-26T12:00:07Z")
    metrics.pod_changed(before, after)
    metrics.pod_changed(None, after)
    metrics.pod_changed(
        msgspec.structs.replace(before, receipted=False), msgspec.structs.replace(after, receipted=False)
    )
    text = metrics.render().decode()
    assert "kagenti_pod_ready_seconds_count 1.0" in text
    assert "kagenti_pod_ready_seconds_sum 7.0" in text
    assert "kagenti_operator_queue 3.0" in text
    assert 'kagenti_operator_disruptions_total{answer="Accepted",deed="evict"} 2.0' in text
    assert "kagenti_operator_replacements 1.0" in text
    assert 'kagenti_pods{state="tampered"} 0.0' in text
