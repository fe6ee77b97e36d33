"""From streams to status: counts by workload, one entry per replica, one condition, few writes."""

import asyncio
import datetime
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kagenti import errors
from kagenti.core.ads import ROUTE, Rejection, StreamState, TypeState
from kagenti.core.propagation import Counts
from kagenti.core.store import Apply, Delete
from kagenti.kube import StoredObject, StoredPod
from kagenti.xds.census import Census
from kagenti.xds.figures import Figures, Reporter, Target
from kagenti.xds.identity import PodIdentity
from kagenti.xds.propagation import INTERVAL, PATIENCE, SETTLE, Publisher
from kagenti.xds.session import Connection, Node
from tests.unit.xds.bench import SHORT, WEATHER, Bench, Stream, running
from tests.unit.xds.cluster import NOW, pod
from tests.unit.xds.statuses import Statuses
from tests.unit.xds.waiting import eventually

JSON = Any  # statuses

TARGET_REF = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather"}
REFUSED = (TypeState(ROUTE, "v", subscribed=True, rejected=(Rejection("inbound", "v", "unknown cluster 'x'"),)),)


class Said(logging.Handler):
    """What was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Proxies:
    """Envoys as the server reports them: each opens a stream, acknowledges, refuses, leaves."""

    def __init__(self, bench: Bench, census: Census) -> None:
        self._bench, self._census, self._number = bench, census, 0

    async def connect(self, made: StoredPod | None = None) -> tuple[Connection, Stream]:
        made = made or pod()
        stream = await self._bench.stream(made)
        self._number += 1
        identity = PodIdentity(made, WEATHER, NOW + 3600)
        connection = Connection(self._number, identity, Node("", "", {}), "delta", "ipv4:10.0.0.7:1")
        self._census.opened(connection)
        return connection, stream

    async def acked(self, made: StoredPod | None = None) -> tuple[Connection, Stream]:
        connection, stream = await self.connect(made)
        self._census.reported(connection, StreamState(await stream.given(), "propagated"))
        return connection, stream


class Desk:
    """Everything between streams and statuses; its clock runs as fast as it is asked, and not beyond ``until``."""

    def __init__(self, bench: Bench, *, replica: str = "xds-1") -> None:
        self.bench, self.statuses, self.time, self.until = bench, Statuses(bench), 1000.0, math.inf
        self.busy = False
        self.census = Census(bench.snapshots, bench.pods)
        self.proxies = Proxies(bench, self.census)
        self.reporter = Reporter(
            catalogue=bench.catalogue,
            pods=bench.pods,
            census=self.census,
            snapshots=bench.snapshots,
            layers=bench.layers,
        )
        self.publisher = Publisher(
            self.statuses,
            replica=replica,
            catalogue=bench.catalogue,
            reporter=self.reporter,
            logger=bench.logger,
            busy=lambda: self.busy,
            now=lambda: self.time,
            sleep=self._sleep,
            clock=lambda: datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=self.time),
        )

    async def _sleep(self, seconds: float) -> None:
        self.time = min(self.time + seconds, self.until)
        await asyncio.sleep(0)

    async def quiet(self) -> None:
        """Waits until nothing is left to be written, or on its way."""
        await eventually(lambda: self.publisher.idle and not self.bench.snapshots.counts()["due"])


@asynccontextmanager
async def _desk() -> AsyncIterator[Desk]:
    async with running() as bench:
        desk = Desk(bench)
        task = asyncio.create_task(desk.publisher.run())
        try:
            yield desk
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class TestCensus:
    """Pods are counted, not streams."""

    async def test_a_second_stream_is_the_same_proxy(self) -> None:
        """The old stream may end after the new one began, and says nothing any more."""
        async with _desk() as desk:
            first, _ = await desk.proxies.acked()
            second, _ = await desk.proxies.acked()
            desk.census.closed(first, "moved")
            desk.census.reported(first, StreamState("old", "rejected", REFUSED))
            assert desk.census.counts(WEATHER) == Counts(acked=1)
            desk.census.closed(second, "gone")
            assert desk.census.counts(WEATHER) == Counts(disconnected=1)

    async def test_a_lost_pod_counts_while_it_runs(self) -> None:
        """Not after it ended, was deleted, or came back."""
        async with _desk() as desk:
            connection, _ = await desk.proxies.acked()
            desk.census.closed(connection, "gone")
            assert desk.census.counts(WEATHER).disconnected == 1
            again, _ = await desk.proxies.acked()
            assert desk.census.counts(WEATHER) == Counts(acked=1)
            desk.census.closed(again, "gone")
            desk.bench.pods.store.apply(Delete(pod()))
            assert (desk.census.counts(WEATHER), desk.census.workloads()) == (Counts(), ())

    @pytest.mark.parametrize("other", [{"deletionTimestamp": "2026-01-01T00:00:00Z"}, {"phase": "Pending"}, None])
    async def test_only_pods_that_run_count_as_acknowledged(self, other: JSON) -> None:
        """In a roll-out, the stream of a pod that goes, comes or is gone must not stand in for one that is not so far."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            await desk.proxies.acked(pod("a", name="a"))
            await desk.proxies.connect(pod("b", name="b"))
            changed = pod("a", name="a", **(other or {}))
            desk.bench.pods.store.apply(Apply(changed) if other else Delete(changed))
            await desk.quiet()
            assert desk.census.counts(WEATHER) == Counts(pending=1)
            assert desk.statuses.condition(runtime) == ("False", "Pending")

    async def test_what_keeps_the_newest_back_makes_pending(self) -> None:
        """An acknowledgement of what is no longer wanted is none."""
        async with _desk() as desk:
            await desk.proxies.acked()
            desk.bench.apply("AgentRuntimeConfig", namespace="team1", spec={"identity": 7})
            await eventually(lambda: desk.census.counts(WEATHER).kept)
            assert desk.census.counts(WEATHER).pending == 1


class TestEntries:
    """What this replica writes on each kind."""

    async def test_on_the_agentruntime_and_both_configs(self) -> None:
        """The same counts, each with its revision; the condition follows."""
        async with _desk() as desk:
            targets = [
                desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF),
                desk.statuses.create("AgentRuntimeConfig", namespace="team1"),
                desk.statuses.create("AgentRuntimeClusterConfig"),
            ]
            await desk.proxies.acked(pod("a", name="a"))
            await desk.proxies.acked(pod("b", name="b"))
            await desk.quiet()
            for target in targets:
                entry = desk.statuses.entry(target, "xds-1")
                assert (entry["acked"], entry["pending"], len(entry["revision"])) == (2, 0, 12)
                assert desk.statuses.condition(target) == ("True", "Propagated")
            assert {manager for _, manager, _ in desk.statuses.applied} == {"kagenti-xds-xds-1", "kagenti-xds"}

    async def test_a_refusal_in_one_line(self) -> None:
        """Resource type and reason on the AgentRuntime; the config names the workload too."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            config = desk.statuses.create("AgentRuntimeConfig", namespace="team1")
            connection, stream = await desk.proxies.connect()
            desk.census.reported(connection, StreamState(await stream.given(), "rejected", REFUSED))
            await desk.quiet()
            assert desk.statuses.condition(runtime) == desk.statuses.condition(config) == ("False", "Rejected")
            line = "RouteConfiguration inbound: unknown cluster 'x'"
            assert desk.statuses.entry(runtime, "xds-1")["lastError"] == line
            assert desk.statuses.entry(config, "xds-1")["lastError"] == f"Deployment team1/weather: {line}"

    async def test_a_change_is_pending_until_it_is_acknowledged(self) -> None:
        """The entry moves to the new revision with it."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            connection, stream = await desk.proxies.acked()
            await desk.quiet()
            before = desk.statuses.entry(runtime, "xds-1")["revision"]
            old = stream.revision
            desk.bench.configure(audience="https://new.example")
            new = await stream.another(old)
            await desk.quiet()
            assert desk.statuses.condition(runtime) == ("False", "Pending")
            desk.census.reported(connection, StreamState(new, "propagated"))
            await desk.quiet()
            assert desk.statuses.condition(runtime) == ("True", "Propagated")
            assert desk.statuses.entry(runtime, "xds-1")["revision"] != before

    async def test_a_running_pod_without_a_stream_is_missed(self) -> None:
        """Never connected, or lost: not true before it is there."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            await desk.proxies.acked(pod("a", name="a"))
            await desk.bench.run_pod(pod("b", name="b"))
            await desk.quiet()
            assert desk.statuses.condition(runtime) == ("False", "Pending")
            connection, _ = await desk.proxies.acked(pod("b", name="b"))
            await desk.quiet()
            assert desk.statuses.condition(runtime) == ("True", "Propagated")
            desk.census.closed(connection, "gone")
            await desk.quiet()
            assert desk.statuses.entry(runtime, "xds-1")["disconnected"] == 1
            assert desk.statuses.condition(runtime) == ("False", "Pending")

    async def test_two_replicas_are_one_truth(self) -> None:
        """A pod that moved to another replica is missed by nobody."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            await desk.proxies.acked(pod("a", name="a"))
            moved, _ = await desk.proxies.acked(pod("b", name="b"))
            await desk.quiet()
            revision = desk.statuses.entry(runtime, "xds-1")["revision"]
            desk.census.closed(moved, "max age")
            entry = {
                "replica": "xds-2",
                "acked": 1,
                "rejected": 0,
                "pending": 0,
                "disconnected": 0,
                "revision": revision,
            }
            desk.statuses.write(runtime, "kagenti-xds-xds-2", propagation=[entry])
            await desk.quiet()
            assert desk.statuses.entry(runtime, "xds-1")["disconnected"] == 0
            assert desk.statuses.condition(runtime) == ("True", "Propagated")

    async def test_the_last_pod_takes_the_entry_with_it(self) -> None:
        """Nothing runs: no entry, and the condition says unknown, not true."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            connection, stream = await desk.proxies.acked()
            await desk.quiet()
            stream.subscription.close()
            desk.census.closed(connection, "gone")
            desk.bench.pods.store.apply(Delete(pod()))
            await desk.quiet()
            assert desk.statuses.entry(runtime, "xds-1") is None
            assert desk.statuses.condition(runtime) == ("Unknown", "NoProxies")

    async def test_the_heir_of_an_agentruntime_is_written(self) -> None:
        """Though nothing changes for the proxies."""
        async with _desk() as desk:
            winner = desk.statuses.create("AgentRuntime", "a", namespace="team1", targetRef=TARGET_REF)
            heir = desk.statuses.create("AgentRuntime", "b", namespace="team1", targetRef=TARGET_REF)
            await desk.proxies.acked()
            await desk.quiet()
            assert desk.statuses.condition(heir) == ("", "")
            desk.bench.delete(desk.bench.catalogue.stores[winner.kind].get(winner.namespace, winner.name))
            await desk.quiet()
            assert desk.statuses.condition(heir) == ("True", "Propagated")

    async def test_objects_without_proxies_are_left_alone(self) -> None:
        """No entry, no condition, no write; and the loser of two AgentRuntimes gets none of the winner's."""
        async with _desk() as desk:
            idle = desk.statuses.create("AgentRuntime", "idle", namespace="team2", targetRef=TARGET_REF)
            winner = desk.statuses.create("AgentRuntime", "a", namespace="team1", targetRef=TARGET_REF)
            loser = desk.statuses.create("AgentRuntime", "b", namespace="team1", targetRef=TARGET_REF)
            await desk.proxies.acked()
            await desk.quiet()
            assert {target for target, _, _ in desk.statuses.applied} == {winner}
            assert desk.statuses.status(idle) == desk.statuses.status(loser) == {"propagation": [], "conditions": []}


class TestWrites:
    """How often, and what becomes of failures."""

    async def test_one_write_a_second_for_a_thousand_changes(self) -> None:
        """Coalesced: the last state is what is written."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            connection, stream = await desk.proxies.acked()
            await desk.quiet()
            before, begun = len(desk.statuses.applied), desk.time
            for number in range(1000):
                verdict = "pending" if number % 2 else "propagated"
                desk.census.reported(connection, StreamState(stream.revision, verdict))
                await asyncio.sleep(0)
            await desk.quiet()
            writes = len(desk.statuses.applied) - before
            assert writes <= 2 * ((desk.time - begun) / INTERVAL + 1)  # an entry and a condition each
            assert desk.statuses.entry(runtime, "xds-1")["pending"] == 1

    async def test_what_is_acknowledged_soon_is_written_once(self) -> None:
        """The entry of the new revision, complete; the condition never says False for a moment."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            connection, stream = await desk.proxies.acked()
            await desk.quiet()
            before, old = len(desk.statuses.applied), stream.revision
            desk.until = desk.time + PATIENCE / 2
            desk.bench.configure(audience="https://new.example")
            new = await stream.another(old)
            desk.census.reported(connection, StreamState(new, "pending"))
            await eventually(lambda: desk.time == desk.until)
            desk.census.reported(connection, StreamState(new, "propagated"))
            desk.until += 2 * SETTLE  # news is not kept back
            await eventually(lambda: len(desk.statuses.applied) > before)
            desk.until = math.inf
            await desk.quiet()
            ((_, manager, status),) = desk.statuses.applied[before:]
            assert manager == "kagenti-xds-xds-1"
            assert status["propagation"][0]["acked"] == 1
            assert desk.statuses.condition(runtime) == ("True", "Propagated")

    async def test_another_replica_that_is_behind_is_given_a_moment(self) -> None:
        """Then the condition says so."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            connection, stream = await desk.proxies.acked(pod("a", name="a"))
            await desk.bench.run_pod(pod("b", name="b"))
            counts = {"acked": 1, "rejected": 0, "pending": 0, "disconnected": 0}
            other = {"replica": "xds-2", **counts, "revision": desk.bench.snapshots.revision(WEATHER)}
            desk.statuses.write(runtime, "kagenti-xds-xds-2", propagation=[other])
            await desk.quiet()
            assert desk.statuses.condition(runtime) == ("True", "Propagated")
            old, desk.until = stream.revision, desk.time + PATIENCE / 2
            desk.bench.configure(audience="https://new.example")
            desk.census.reported(connection, StreamState(await stream.another(old), "propagated"))
            await eventually(lambda: desk.statuses.entry(runtime, "xds-1")["revision"] != other["revision"])
            await eventually(lambda: desk.time == desk.until)
            assert desk.statuses.condition(runtime) == ("True", "Propagated")
            desk.until = math.inf
            await eventually(lambda: desk.statuses.condition(runtime) == ("False", "Pending"))

    async def test_status_waits_while_a_change_is_on_its_way(self) -> None:
        """For the workloads that have it already, but not for ever."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            desk.busy, desk.until = True, desk.time + PATIENCE
            await desk.proxies.acked()
            await eventually(lambda: desk.time == desk.until)
            assert desk.statuses.applied == []
            desk.until = math.inf
            await eventually(lambda: desk.statuses.condition(runtime) == ("True", "Propagated"))

    async def test_many_reports_are_one_piece_of_news(self) -> None:
        """Until somebody has looked: a push reports twice for each of a workload's proxies."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            connection, stream = await desk.proxies.acked()
            await desk.quiet()
            told: list[Target] = []
            desk.reporter.on_target(told.append)
            for _ in range(2):
                for verdict in ("pending", "propagated") * 10:
                    desk.census.reported(connection, StreamState(stream.revision, verdict))
                assert told == [runtime]
                told.clear()
                await desk.quiet()

    async def test_nothing_new_is_not_written(self) -> None:
        """Neither by streams that report the same, nor by our own write coming back."""
        async with _desk() as desk:
            desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            connection, stream = await desk.proxies.acked()
            await desk.quiet()
            before = len(desk.statuses.applied)
            desk.census.reported(connection, StreamState(stream.revision, "propagated"))
            await desk.quiet()
            assert len(desk.statuses.applied) == before

    @pytest.mark.parametrize(
        "fault", [errors.Unreachable("down"), errors.TooManyRequests("slow", 3.0), errors.Conflict("c")]
    )
    async def test_failures_are_tried_again(self, fault: Exception) -> None:
        """Counted, and no earlier than the server asks."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            desk.statuses.faults = [fault]
            await desk.proxies.acked()
            await eventually(lambda: desk.statuses.condition(runtime) == ("True", "Propagated"))
            assert desk.publisher.writes["failed"] == 1

    async def test_a_defect_is_one_objects_own(self) -> None:
        """It is counted and logged; the others are written, the process lives."""
        async with _desk() as desk:
            config = desk.statuses.create("AgentRuntimeConfig", namespace="team1")
            desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            await desk.quiet()  # both have been looked at: the AgentRuntime is the first whose figures are others
            desk.statuses.faults = [RuntimeError("boom")]
            await desk.proxies.acked()
            await desk.quiet()
            assert desk.publisher.writes["defect"] == 1
            assert desk.statuses.condition(config) == ("True", "Propagated")

    async def test_so_is_one_in_adding_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever is odd about one object must not end the process."""
        async with _desk() as desk:
            config = desk.statuses.create("AgentRuntimeConfig", namespace="team1")
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            figures = desk.reporter.figures

            def odd(stored: StoredObject) -> Figures:
                if stored.kind == runtime.kind:
                    raise RuntimeError("boom")
                return figures(stored)

            monkeypatch.setattr(desk.reporter, "figures", odd)
            await desk.proxies.acked()
            await desk.quiet()
            assert desk.publisher.writes["defect"] >= 1
            assert desk.statuses.condition(config) == ("True", "Propagated")

    async def test_an_object_that_is_gone_is_no_failure(self) -> None:
        """Deleted between our look and our write."""
        async with _desk() as desk:
            desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            desk.statuses.faults = [errors.NotFound("gone")]
            await desk.proxies.acked()
            await eventually(lambda: desk.publisher.writes["gone"])
            assert desk.publisher.writes["failed"] == 0

    async def test_an_object_that_goes_while_others_are_written_ends_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was due in the same round; the process ends with its writer."""
        monkeypatch.setattr("kagenti.xds.propagation._SLICE", 1)
        async with _desk() as desk:
            first = desk.statuses.create("AgentRuntimeClusterConfig", trace={})
            second = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            await desk.proxies.acked()
            await desk.quiet()
            apply, removed = desk.statuses.apply, []

            async def removing(path: str, manifest: JSON, *, manager: str, timeout: float) -> bytes:
                if not removed:
                    other = second if manifest["kind"] == first.kind else first
                    removed.append(desk.bench.catalogue.stores[other.kind].get(other.namespace, other.name))
                    desk.bench.catalogue.stores[other.kind].apply(Delete(removed[0]))
                return await apply(path, manifest, manager=manager, timeout=timeout)

            monkeypatch.setattr(desk.statuses, "apply", removing)
            await desk.proxies.acked(pod("b", name="b"))
            await eventually(lambda: removed)
            await desk.quiet()

    async def test_entries_of_an_earlier_process_are_known(self) -> None:
        """The same replica, restarted in place: what it left is corrected, not doubled."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            left = {"replica": "xds-1", "acked": 7, "rejected": 0, "pending": 0, "disconnected": 0, "revision": "old"}
            desk.statuses.write(runtime, "kagenti-xds-xds-1", propagation=[left])
            await desk.quiet()
            assert desk.statuses.entry(runtime, "xds-1") is None

    async def test_a_replica_that_ends_takes_its_entries_away(self) -> None:
        """The condition stays; replicas that go on will say what is so."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            await desk.proxies.acked()
            await desk.quiet()
            await desk.publisher.withdraw(5.0)
            assert desk.statuses.entry(runtime, "xds-1") is None
            assert desk.statuses.condition(runtime) == ("True", "Propagated")

    async def test_streams_that_end_while_it_leaves_are_nobodys_news(self) -> None:
        """They move to other replicas: an entry about them would come after its removal, and stay."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            connection, _ = await desk.proxies.acked()
            await desk.quiet()
            desk.census.closed(connection, "gone")
            await desk.publisher.withdraw(5.0)
            await desk.quiet()
            assert desk.statuses.entry(runtime, "xds-1") is None

    async def test_ending_waits_for_what_is_on_its_way(self) -> None:
        """A write that was cancelled still arrives, and must not come after its removal; nor be forgotten if the first."""
        async with running() as bench:
            desk, held = Desk(bench), asyncio.Event()
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            apply, sent = desk.statuses.apply, []

            async def slow(*arguments: Any, **keywords: Any) -> bytes:
                sent.append(arguments)
                await held.wait()
                return await apply(*arguments, **keywords)

            desk.statuses.apply = slow  # type: ignore[method-assign]  # an API server that takes its time
            task = asyncio.create_task(desk.publisher.run())
            await desk.proxies.acked()
            await eventually(lambda: sent)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            asyncio.get_running_loop().call_later(0.01, held.set)
            await desk.publisher.withdraw(5.0)
            assert (len(sent), desk.statuses.entry(runtime, "xds-1")) == (2, None)

    async def test_a_write_that_arrives_as_it_is_cancelled_is_taken_away(self) -> None:
        """Its answer is there, and nobody is left to hear it."""
        async with running() as bench:
            desk = Desk(bench)
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            apply, loop = desk.statuses.apply, asyncio.get_running_loop()

            async def answered(*arguments: Any, **keywords: Any) -> bytes:
                answer = await apply(*arguments, **keywords)
                loop.call_soon(loop.call_soon, task.cancel)  # after the write has ended, before its writer wakes up
                return answer

            desk.statuses.apply = answered  # type: ignore[method-assign]  # an API server, and a SIGTERM
            task = asyncio.create_task(desk.publisher.run())
            await desk.proxies.acked()
            await asyncio.gather(task, return_exceptions=True)
            assert desk.statuses.entry(runtime, "xds-1") is not None
            desk.statuses.apply = apply  # type: ignore[method-assign]  # as before
            await desk.publisher.withdraw(5.0)
            assert desk.statuses.entry(runtime, "xds-1") is None

    @pytest.mark.parametrize("arrives", [True, False])
    async def test_a_write_without_an_answer_counts_as_ours(self, arrives: bool) -> None:  # a case
        """The API server may have done it: the entry is taken away, and where that fails once, again."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            apply = desk.statuses.apply

            async def unanswered(*arguments: Any, **keywords: Any) -> bytes:
                if arrives:
                    await apply(*arguments, **keywords)
                raise errors.Unreachable("no answer")

            desk.statuses.apply = unanswered  # type: ignore[method-assign]  # an API server out of breath
            await desk.proxies.acked()
            await eventually(lambda: desk.publisher.writes["failed"])
            desk.statuses.apply = apply  # type: ignore[method-assign]  # it has recovered, but for one more answer
            desk.statuses.faults = [errors.Unreachable("no answer")]
            await desk.publisher.withdraw(5.0)
            assert desk.statuses.entry(runtime, "xds-1") is None
            assert desk.statuses.faults == []

    @pytest.mark.parametrize(
        ("fault", "times", "left"),
        [
            (errors.Conflict("written meanwhile"), 3, False),
            (errors.TooManyRequests("slower", retry_after=1), 2, False),
            (errors.NotFound("gone"), 1, True),
            (errors.Forbidden("no"), 1, True),
        ],
        ids=["contention", "asked to come later", "the object is gone", "a right that was taken away"],
    )
    async def test_what_a_removal_fails_by_is_said_once(self, fault: Exception, times: int, left: bool) -> None:
        """And tried again where that can help."""
        async with _desk() as desk:
            runtime = desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            await desk.proxies.acked()
            await desk.quiet()
            written, began = len(desk.statuses.applied), desk.time
            desk.statuses.faults = [fault] * times
            desk.bench.logger.addHandler(said := Said())
            await desk.publisher.withdraw(5.0)
            assert desk.statuses.faults == []
            assert (desk.statuses.entry(runtime, "xds-1") is not None) is left
            assert len(desk.statuses.applied) - written == (0 if left else 1)
            assert len(said.lines) == (0 if isinstance(fault, errors.NotFound) else 1)
            if isinstance(fault, errors.TooManyRequests):
                assert desk.time - began >= times

    async def test_ending_does_not_wait_for_ever(self) -> None:
        """An API server that is away leaves entries behind, for the operator to prune."""
        async with _desk() as desk:
            desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF)
            await desk.proxies.acked()
            await desk.quiet()

            async def never(*_: Any, **__: Any) -> bytes:
                await asyncio.Event().wait()
                return b""

            desk.statuses.apply = never  # type: ignore[method-assign]  # an API server that never answers
            await desk.publisher.withdraw(0.01)


async def test_nothing_is_written_from_half_a_cache() -> None:
    """Objects, pods and others' entries first."""
    async with running(synced=False) as bench:
        desk = Desk(bench)
        desk.statuses.create("AgentRuntime", "weather", namespace="team1", targetRef=TARGET_REF, values=SHORT)
        task = asyncio.create_task(desk.publisher.run())
        for _ in range(20):
            await asyncio.sleep(0)
        assert (desk.statuses.applied, task.done()) == ([], False)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_adopted_pod_is_counted_where_it_belongs() -> None:
    """Its controller changed while it was connected."""
    async with _desk() as desk:
        await desk.proxies.acked()
        desk.bench.owners.tops.pop("rs-1")
        desk.bench.pods.store.apply(Apply(pod(ownerReferences=[])))
        await eventually(lambda: desk.census.counts(WEATHER) == Counts())
        (other,) = desk.census.workloads()
        assert (other.kind, desk.census.counts(other).connected) == ("Pod", 1)
