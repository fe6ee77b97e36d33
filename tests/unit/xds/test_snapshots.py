"""Snapshots: who gets which, what a change rebuilds, and what leaves running proxies as they are."""

import json
from typing import Any

import pytest

from kagenti.core.store import Apply, Delete
from kagenti.core.workload import WorkloadRef
from tests.unit.xds.bench import KEYS, SHORT, WEATHER, Bench, running, stored
from tests.unit.xds.cluster import RECEIPT, pod
from tests.unit.xds.waiting import eventually

JSON = Any  # a receipt

TOOL = WorkloadRef("apps", "Deployment", "team1", "tool")


def _receipt(**overrides: JSON) -> str:
    return json.dumps(json.loads(RECEIPT) | overrides)


def _of_tool(uid: str = "tool-1", **fields: Any) -> Any:
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "tool", "uid": "d-2", "controller": True}
    return pod(uid, name=uid, ownerReferences=[owner], **fields)


async def _with_tool(bench: Bench, **fields: Any) -> Any:
    bench.owners.tops["d-2"] = TOOL
    return await bench.stream(_of_tool(**fields), workload=TOOL)


class TestSharing:
    """Pods that were built alike share a snapshot; others never see it."""

    async def test_one_snapshot_for_all_pods_of_a_kind(self) -> None:
        """Built once, the very same object for each."""
        async with running() as bench:
            streams = [await bench.stream(pod(uid, name=uid)) for uid in ("a", "b", "c")]
            for stream in streams:
                await stream.given()
            assert len({id(stream.snapshot) for stream in streams}) == 1
            assert (bench.builder.outcomes["built"], bench.snapshots.counts()["snapshots"]) == (1, 1)

    @pytest.mark.parametrize(
        "fields",
        [
            {"account": "other"},
            {"receipt": _receipt(portMapping={})},
            {"receipt": _receipt(settings={SHORT["realm"]: "a"})},
        ],
    )
    async def test_another_way_of_being_built_is_another_snapshot(self, fields: JSON) -> None:
        """Service account and receipt are in the key."""
        async with running() as bench:
            one, other = await bench.stream(pod("a", name="a")), await bench.stream(pod("b", name="b", **fields))
            assert await one.given() != await other.given()

    async def test_circumstances_of_the_injection_are_not(self) -> None:
        """Trigger and live revision at admission make no other pod."""
        async with running() as bench:
            one = await bench.stream(pod("a", name="a"))
            other = await bench.stream(pod("b", name="b", receipt=_receipt(trigger="Label", liveRevision="x")))
            assert await one.given() == await other.given()

    async def test_workloads_share_encoded_resources(self) -> None:
        """Equal content is encoded once for the whole fleet."""
        async with running() as bench:
            one, other = await bench.stream(), await _with_tool(bench)
            await one.given()
            await other.given()
            assert bench.encoder.found > 0


class TestChanges:
    """What a change of each kind of object reaches."""

    async def test_a_namespace_config_reaches_its_namespace(self) -> None:
        """And no other one."""
        async with running() as bench:
            bench.owners.tops["d-2"] = WorkloadRef("apps", "Deployment", "team2", "tool")
            mine = await bench.stream()
            foreign = await bench.stream(
                pod(
                    "f",
                    name="f",
                    namespace="team2",
                    ownerReferences=_of_tool().owner
                    and [
                        {
                            "apiVersion": "apps/v1",
                            "kind": "Deployment",
                            "name": "tool",
                            "uid": "d-2",
                            "controller": True,
                        }
                    ],
                ),
                workload=bench.owners.tops["d-2"],
            )
            before, untouched = await mine.given(), await foreign.given()
            bench.configure(audience="https://new.example")
            await mine.another(before)
            assert "https://new.example" in mine.text()
            assert (foreign.revision, foreign.changes) == (untouched, 1)

    async def test_a_cluster_config_reaches_everybody(self) -> None:
        """All workloads with streams."""
        async with running() as bench:
            one, other = await bench.stream(), await _with_tool(bench)
            before = await one.given(), await other.given()
            bench.apply("AgentRuntimeClusterConfig", values={SHORT["audience"]: "https://new.example"})
            assert (await one.another(before[0]), await other.another(before[1])) != before

    async def test_an_agentruntime_reaches_its_target(self) -> None:
        """Its coming, its change and its going."""
        async with running() as bench:
            one, other = await bench.stream(), await _with_tool(bench)
            first, untouched = await one.given(), await other.given()
            target = {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather"}}
            values = {SHORT["audience"]: "https://one.example"}
            bench.apply("AgentRuntime", "weather", namespace="team1", spec=target, values=values)
            second = await one.another(first)
            values = {SHORT["audience"]: "https://two.example"}
            made = bench.apply("AgentRuntime", "weather", namespace="team1", spec=target, values=values)
            await one.another(second)
            assert "https://two.example" in one.text()
            bench.delete(made)
            await eventually(lambda: one.revision == first)
            assert other.revision == untouched

    async def test_a_status_alone_is_no_news(self) -> None:
        """We write it ourselves, on every change."""
        async with running() as bench:
            stream = await bench.stream()
            await stream.given()
            bench.configure(audience="https://a.example")
            await eventually(lambda: "https://a.example" in stream.text())
            outcomes, changes = dict(bench.builder.outcomes), stream.changes
            spec = {"identity": {"inbound": {"validation": {"audience": "https://a.example"}}}}
            bench.apply("AgentRuntimeConfig", namespace="team1", spec=spec, status={"propagation": []})
            assert (bench.snapshots.counts()["due"], stream.changes, dict(bench.builder.outcomes)) == (
                0,
                changes,
                outcomes,
            )

    async def test_a_restart_setting_changes_nothing_at_running_pods(self) -> None:
        """The pod keeps what it was built from; once its origin is known, nothing is even built."""
        async with running() as bench:
            stream = await bench.stream()
            revision = await stream.given()
            bench.configure(port=9998)
            await eventually(lambda: bench.builder.outcomes["built"] == 2)
            bench.configure(port=9999)
            await eventually(lambda: bench.builder.outcomes["unchanged"])
            assert (stream.revision, stream.changes, bench.builder.outcomes["built"]) == (revision, 1, 2)

    async def test_a_burst_is_one_build(self) -> None:
        """Debounced: the last one counts."""
        async with running() as bench:
            stream = await bench.stream()
            await stream.given()
            for number in range(50):
                bench.configure(audience=f"https://{number}.example")
            await eventually(lambda: "https://49.example" in stream.text())
            assert bench.builder.outcomes["built"] == 2

    async def test_a_new_namespace_concerns_who_asked_for_it(self) -> None:
        """``name.namespace`` is inside the cluster once the namespace exists: no TLS towards it then."""
        async with running() as bench:
            one, other = await bench.stream(), await _with_tool(bench)
            await other.given()
            target = {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather"}}
            rules = [{"match": {"host": "tool.team9"}, "target": {"audience": "tool"}}]
            bench.apply("AgentRuntime", "weather", namespace="team1", spec=target, values={SHORT["rules"]: rules})
            await eventually(lambda: one.snapshot and "tool.team9" in one.text())
            before, untouched = one.revision, other.changes
            bench.apply("Namespace", "team9")
            await one.another(before)  # builds are not counted: keys that arrive in between may have one made again
            assert other.changes == untouched

    async def test_realms_move_with_the_next_pod(self) -> None:
        """The running pod keeps the old realm's policy; a new one gets the new realm's."""
        async with running() as bench:
            old = await bench.stream(pod("a", name="a", receipt=_receipt(settings={SHORT["realm"]: "old"})))
            await old.given()
            bench.configure(realm="new")
            new = await bench.stream(pod("b", name="b", receipt=_receipt(settings={SHORT["realm"]: "new"})))
            await new.given()
            assert ("/realms/old" in old.text(), "/realms/new" in old.text()) == (True, False)
            assert ("/realms/old" in new.text(), "/realms/new" in new.text()) == (False, True)
            assert {url.rpartition("/realms/")[2].partition("/")[0] for url, _ in bench.keys.leases} == {"old", "new"}


class TestKept:
    """What cannot be built leaves running proxies alone."""

    @pytest.mark.parametrize(
        ("spec", "said"),
        [
            ({"identity": 7}, "spec.identity"),
            (
                {"identity": {"outbound": {"defaultPolicy": "Exchange", "tokenExchange": {"enabled": False}}}},
                "Exchange",
            ),
        ],
    )
    async def test_layers_that_cannot_be_used(self, spec: JSON, said: str) -> None:
        """Unreadable, or in contradiction: the last snapshot stays, the reason is told; mended, it goes on."""
        async with running() as bench:
            stream = await bench.stream()
            revision = await stream.given()
            bench.catalogue.stores["AgentRuntimeConfig"].apply(
                Apply(stored("AgentRuntimeConfig", namespace="team1", version="90", spec=spec))
            )
            await eventually(lambda: bench.snapshots.desired("pod-1")[1])
            assert (stream.revision, bench.snapshots.desired("pod-1")[0]) == (revision, revision)
            assert said in bench.snapshots.desired("pod-1")[1]
            bench.configure(audience="https://mended.example")
            await stream.another(revision)
            assert bench.snapshots.desired("pod-1")[1] == ""

    async def test_a_version_that_was_valid_stays_in_force(self) -> None:
        """The next version does not parse: the one before still holds, for new streams too."""
        async with running() as bench:
            bench.configure(audience="https://valid.example")
            bench.apply("AgentRuntimeConfig", namespace="team1", spec={"identity": 7})
            stream = await bench.stream()
            await stream.given()
            assert "https://valid.example" in stream.text()

    async def test_a_process_without_a_valid_version_says_nothing(self) -> None:
        """Just started: the stream leaves its Envoy as it is."""
        async with running() as bench:
            bench.apply("AgentRuntimeConfig", namespace="team1", spec={"identity": 7})
            stream = await bench.stream()
            await eventually(lambda: bench.snapshots.desired("pod-1")[1])
            assert stream.snapshot is None

    @pytest.mark.parametrize(
        ("receipt", "said"),
        [
            (_receipt(layout=99), "upgrade kagenti-xds"),
            ("nonsense", "the receipt is not JSON"),
            (_receipt(settings={SHORT["port"]: "not a port"}, portMapping={"8080": 8081}), ""),
        ],
    )
    async def test_receipts_that_cannot_be_used(self, receipt: str, said: str) -> None:
        """Nothing is sent; what is wrong is told."""
        async with running() as bench:
            stream = await bench.stream(pod(receipt=receipt))
            if said:
                await eventually(lambda: said in bench.snapshots.desired("pod-1")[1])
                assert stream.snapshot is None
            other = await bench.stream(pod("b", name="b"))
            await other.given()

    @pytest.mark.parametrize(
        ("odd", "said"), [("18446744073709551616", ""), ("[" * 900 + "]" * 900, "a value has another form")]
    )
    async def test_a_receipt_that_is_made_odd_under_an_open_stream(self, odd: str, said: str) -> None:
        """Whoever may annotate a pod must not end the process: the annotation comes by the watch that feeds it."""
        async with running() as bench:
            stream = await bench.stream(pod())
            await stream.given()
            bench.pods.store.apply(Apply(pod(receipt=f'{RECEIPT[:-1]}, "odd": {odd}}}')))
            await eventually(lambda: said in bench.snapshots.desired("pod-1")[1])

    async def test_unlisted_providers_of_a_receipt(self) -> None:
        """The cluster's list is asked again, and its keys are not fetched."""
        async with running() as bench:
            bench.apply(
                "AgentRuntimeClusterConfig",
                values={SHORT["url"]: "https://new.example"},
                spec={"policy": {"identityProviders": ["https://new.example"]}},
            )
            stream = await bench.stream(pod(receipt=_receipt(settings={SHORT["url"]: "https://evil.example"})))
            await eventually(lambda: "https://evil.example" in bench.snapshots.desired("pod-1")[1])
            assert (stream.snapshot, bench.keys.leases) == (None, [])

    async def test_a_defect_is_one_workloads_own(self) -> None:
        """The others are served, the process lives, and nothing of the exception but its type is told."""
        async with running() as bench:
            bench.owners.tops["d-2"] = TOOL

            def broken(*arguments: Any) -> Any:
                if "boom" in str(arguments):
                    raise RuntimeError("secret detail")
                return real(*arguments)

            real, bench.encoder._encode = bench.encoder._encode, broken
            bench.configure(audience="boom")
            await bench.stream()
            await eventually(lambda: bench.snapshots.desired("pod-1")[1] == "defect: RuntimeError")
            bench.configure(audience="fine")
            await eventually(lambda: bench.snapshots.desired("pod-1")[1] == "")


class TestKeys:
    """Key sets of identity providers."""

    async def test_without_keys_jwt_is_withheld(self) -> None:
        """The rest is sent; when keys come, they follow at once, and a rotation too."""
        async with running(keys=None) as bench:
            stream = await bench.stream()
            first = await stream.given()
            assert stream.snapshot is not None
            assert {name for _, name in stream.snapshot.withheld} == {"jwt"}
            assert "no keys have come from http://keycloak." in bench.snapshots.desired("pod-1")[1]
            bench.keys.put(KEYS)
            second = await stream.another(first)
            assert stream.snapshot.withheld == frozenset()
            assert bench.snapshots.desired("pod-1")[1] == ""
            bench.keys.put('{"keys":[{"kty":"OKP"}]}')
            await stream.another(second)

    async def test_a_namespace_with_too_many_key_sets(self) -> None:
        """Nothing is built without a lease; the namespace is told."""
        async with running() as bench:
            bench.keys.room = 0
            await bench.stream()
            await eventually(lambda: "too many key sets" in bench.snapshots.desired("pod-1")[1])

    async def test_keys_are_let_go_with_the_last_pod(self) -> None:
        """A stream that ends may come back; a pod that is gone does not."""
        async with running() as bench:
            stream = await bench.stream()
            await stream.given()
            stream.subscription.close()
            stream.subscription.close()
            assert (len(bench.keys.leases), bench.snapshots.counts()["snapshots"]) == (1, 1)
            bench.pods.store.apply(Delete(pod()))
            assert (bench.keys.leases, bench.snapshots.counts()["snapshots"]) == ([], 0)


class TestStreams:
    """Streams that come, come back, and change under way."""

    async def test_nothing_from_half_a_cache(self) -> None:
        """Before the first full lists there is no snapshot at all: built-in settings would open doors."""
        async with running(synced=False) as bench:
            stream = await bench.stream()
            assert (stream.snapshot, bench.builder.outcomes) == (None, {})
            bench.sync()
            await stream.given()

    async def test_a_returning_stream_gets_no_older_snapshot(self) -> None:
        """What changed while nobody read it is built before it is shown: another replica may have sent it already."""
        async with running() as bench:
            first = await bench.stream()
            await first.given()
            first.subscription.close()
            bench.configure(audience="https://new.example")
            again = await bench.stream()
            assert again.snapshot is None
            await again.given()
            assert "https://new.example" in again.text()

    async def test_nor_one_that_comes_while_a_change_waits(self) -> None:
        """The same with other readers of the same snapshot."""
        async with running() as bench:
            await (await bench.stream()).given()
            bench.configure(audience="https://new.example")
            late = await bench.stream(pod("b", name="b"))
            assert late.snapshot is None
            await late.given()
            assert "https://new.example" in late.text()

    async def test_a_closed_stream_hears_nothing(self) -> None:
        """The protocol's promise to the server."""
        async with running() as bench:
            one, other = await bench.stream(pod("a", name="a")), await bench.stream(pod("b", name="b"))
            before = await other.given()
            one.subscription.close()
            told = one.changes
            bench.configure(audience="https://new.example")
            await other.another(before)
            assert (one.changes, one.snapshot) == (told, None)

    async def test_another_receipt_moves_the_stream(self) -> None:
        """A pod's annotation was written anew: its stream follows, and the old snapshot is given up."""
        async with running() as bench:
            stream = await bench.stream()
            first = await stream.given()
            bench.pods.store.apply(Apply(pod(receipt=_receipt(portMapping={}))))
            await stream.another(first)
            assert bench.snapshots.counts()["snapshots"] == 1

    async def test_an_adopted_pod_moves_too(self) -> None:
        """Its controller is another one: it gets that workload's snapshot, by owner references alone."""
        async with running() as bench:
            stream = await bench.stream(_as_weather())
            await stream.given()
            bench.owners.tops["d-2"] = TOOL
            bench.pods.store.apply(Apply(_of_tool("pod-1")))
            await eventually(lambda: stream.subscription.entry and stream.subscription.entry.key.workload == TOOL)

    async def test_revision_of_a_workload(self) -> None:
        """That of its live settings; none where nobody has a stream."""
        async with running() as bench:
            assert bench.snapshots.revision(WEATHER) == ""
            stream = await bench.stream()
            await stream.given()
            before = bench.snapshots.revision(WEATHER)
            bench.configure(audience="https://new.example")
            await eventually(lambda: bench.snapshots.revision(WEATHER) not in ("", before))


def _as_weather() -> Any:
    return pod("pod-1", name="pod-1")
