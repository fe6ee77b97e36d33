"""From bytes to bytes: what is asked of the cluster, what every answer carries, and what hostile reviews get."""

import asyncio
import base64
import datetime
import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.webhook.manifests import agent_runtime, pod, review, runtime_review, stored

from kagenti import errors
from kagenti.core.admission.evaluate import Context
from kagenti.core.admission.targets import UNKNOWN, TargetFacts
from kagenti.core.installation import Installation
from kagenti.core.layers import LayerCache
from kagenti.core.settings import Resolver
from kagenti.core.store import InitApply, InitDone
from kagenti.core.trigger import OwnerProof
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.journal import JsonFormatter
from kagenti.kube import Catalogue, StoredObject
from kagenti.webhook.door import BadRequest
from kagenti.webhook.journal import Journal
from kagenti.webhook.metrics import Metrics
from kagenti.webhook.reviews import Reviews

PATHS = ("/mutate/pods", "/mutate/workloads", "/validate", "/advise")
OWNER = WorkloadRef("apps", "Deployment", "team1", "weather")
NOW = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)


@dataclass
class FakeCluster:
    """The API server as one test wants it; counts what it is asked."""

    runtimes: tuple[StoredObject, ...] = ()
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    facts: TargetFacts = UNKNOWN
    fault: Exception | None = None
    proof: OwnerProof = "holds"
    behind: str = ""
    asked: list[str] = field(default_factory=list)

    def _ask(self, call: str) -> None:
        self.asked.append(call)
        if self.fault is not None:
            raise self.fault

    async def caught_up(self) -> None:
        if self.behind:
            raise errors.Unreachable(self.behind)

    async def top_owner(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        self._ask(f"owner {reference.name}")
        return OWNER if reference.name == "weather-5d8f" else None

    async def proof_of(self, reference: OwnerReference, namespace: str) -> OwnerProof:
        self._ask(f"proof {reference.kind} {reference.name}")
        return self.proof

    async def runtimes_for(self, namespace: str, kind: str, name: str) -> tuple[StoredObject, ...]:
        self._ask(f"strict {kind} {namespace}/{name}")
        return self.runtimes

    async def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        self._ask(f"namespace {namespace}")
        return self.namespaces.get(namespace)

    async def target_facts(self, target: WorkloadRef) -> TargetFacts:
        self._ask(f"target {target}")
        return self.facts


class Bench:
    """Reviews over caches that a test fills, with the log in memory."""

    def __init__(self, *known: StoredObject, cluster: FakeCluster | None = None, **overrides: Any) -> None:
        self.cluster = cluster or FakeCluster()
        self.catalogue = Catalogue()
        everything = (stored("Namespace", "team1"), *known)
        for kind, store in self.catalogue.stores.items():
            for one in everything:
                if one.kind == kind:
                    store.apply(InitApply(one))
            if overrides.get("synced", True):
                store.apply(InitDone())
        self.metrics = Metrics(feeds=dict, reads=dict, certificate=lambda: (0.0, 0, 0))
        self.log = io.StringIO()
        logger = logging.Logger("kagenti.webhook", overrides.get("level", logging.INFO))
        handler = logging.StreamHandler(self.log)
        handler.setFormatter(JsonFormatter())
        logger.addHandler(handler)
        self.entries = Reviews(
            view=overrides.get("view", self.catalogue),
            cluster=self.cluster,
            context=Context(overrides.get("mode", "both"), Installation(), Resolver()),
            layers=LayerCache(),
            target="pods",
            consistency=overrides.get("consistency", "strict"),
            journal=Journal(logger),
            metrics=self.metrics,
            now=lambda: NOW,
        ).entries()

    async def ask(self, path: str, request: Any, *, busy: bool = False) -> dict[str, Any]:
        return await self.send(path, orjson.dumps(request), busy=busy)

    async def send(self, path: str, body: bytes, *, busy: bool = False) -> dict[str, Any]:
        answer = orjson.loads(await self.entries[path](body, busy))
        assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
        response: dict[str, Any] = answer["response"]
        return response

    @property
    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


def containers(response: Mapping[str, Any]) -> str:
    return base64.b64decode(response.get("patch", "")).decode()


class TestReads:
    """What a decision costs at the API server (spec 03, Freshness)."""

    async def test_index_hit_asks_for_the_owner_alone(self) -> None:
        """The cache knows the AgentRuntime: no LIST."""
        bench = Bench(agent_runtime())
        response = await bench.ask("/mutate/pods", review(pod()))
        assert bench.cluster.asked == ["owner weather-5d8f"]
        assert response["auditAnnotations"]["reason"] == "AgentRuntime"
        assert "envoy-proxy" in containers(response)

    @pytest.mark.parametrize("label", [None, "enabled"])
    async def test_miss_is_asked_once_before_it_counts(self, label: str | None) -> None:
        """Under both entries: without an answer from now, neither NoTrigger nor defaults."""
        bench = Bench(cluster=FakeCluster(runtimes=(agent_runtime(),)))
        response = await bench.ask("/mutate/pods", review(pod(label=label)))
        assert bench.cluster.asked == ["owner weather-5d8f", "strict Deployment team1/weather"]
        assert "envoy-proxy" in containers(response)

    async def test_strict_answer_of_another_group_is_no_hit(self) -> None:
        """The selector knows kind and name only; an AgentRuntime for another group's kind does not count."""
        other = agent_runtime(api_version="example.test/v1")
        bench = Bench(cluster=FakeCluster(runtimes=(other,)))
        response = await bench.ask("/mutate/pods", review(pod()))
        assert response["auditAnnotations"]["reason"] == "NoTrigger"

    async def test_cached_never_lists(self) -> None:
        """In cached mode a miss is a miss."""
        bench = Bench(consistency="cached", cluster=FakeCluster(runtimes=(agent_runtime(),)))
        response = await bench.ask("/mutate/pods", review(pod()))
        assert bench.cluster.asked == ["owner weather-5d8f"]
        assert response["auditAnnotations"]["reason"] == "NoTrigger"

    @pytest.mark.parametrize("label", ["disabled", "Enabled"])
    async def test_opt_out_and_typing_error_need_no_list(self, label: str) -> None:
        """What an AgentRuntime cannot change is not asked for."""
        bench = Bench()
        await bench.ask("/mutate/pods", review(pod(label=label)))
        assert not [call for call in bench.cluster.asked if call.startswith("strict")]

    async def test_pod_without_a_name_yet_cannot_be_a_target(self) -> None:
        """A standalone pod with generateName only has no name that an AgentRuntime could hold."""
        bench = Bench()
        await bench.ask("/mutate/pods", review(pod(owner=None)))
        assert bench.cluster.asked == []

    async def test_reference_that_does_not_hold_makes_a_standalone_pod(self) -> None:
        """A forged controller reference captures nothing; the pod itself may be targeted."""
        bench = Bench(agent_runtime())
        response = await bench.ask("/mutate/pods", review(pod(owner="weather-forged"), name="weather"))
        assert bench.cluster.asked == ["owner weather-forged", "strict Pod team1/weather"]
        assert response["auditAnnotations"]["reason"] == "NoTrigger"

    async def test_namespace_too_new_for_the_cache_is_read(self) -> None:
        """A pod in a namespace of a moment ago is decided, with that namespace's labels."""
        bench = Bench(cluster=FakeCluster(namespaces={"team9": {}}))
        response = await bench.ask("/mutate/pods", review(pod(owner=None, label="enabled"), namespace="team9"))
        assert bench.cluster.asked == ["namespace team9"]
        assert response["allowed"] is True


class TestFailingClosed:
    """No facts, no decision: denied with "retry", never "inject with defaults"."""

    @pytest.mark.parametrize("path", PATHS[:2])
    @pytest.mark.parametrize(("consistency", "expected"), [("strict", (False, 503)), ("cached", (True, None))])
    async def test_a_cache_that_has_lost_its_watch(self, path: str, consistency: str, expected: Any) -> None:
        """Configs are in memory alone: in strict they must not be those of before an outage; cached trades that away."""
        bench = Bench(consistency=consistency, cluster=FakeCluster(behind="the watch of agentruntimeconfigs is lost"))
        labelled = pod(label="enabled")
        deployment = {"metadata": {"name": "weather"}, "spec": {"template": labelled}}
        workload = review(deployment, kind="Deployment", group="apps", name="weather")
        response = await bench.ask(path, review(labelled) if "pods" in path else workload)
        assert (response["allowed"], response.get("status", {}).get("code")) == expected
        if not response["allowed"]:
            assert "agentruntimeconfigs" in response["status"]["message"]

    async def test_caches_not_synced(self) -> None:
        """Before the first full list nothing is decided."""
        response = await Bench(synced=False).ask("/mutate/pods", review(pod(label="enabled")))
        assert (response["allowed"], response["status"]["code"]) == (False, 503)
        assert response["auditAnnotations"]["reason"] == "NotReady"

    @pytest.mark.parametrize("fault", [errors.Unreachable("no answer"), errors.TooManyRequests("later")])
    async def test_read_fails(self, fault: Exception) -> None:
        """An API server that does not answer the strict read or the owner read."""
        bench = Bench(cluster=FakeCluster(fault=fault))
        response = await bench.ask("/mutate/pods", review(pod(label="enabled")))
        assert (response["allowed"], response["auditAnnotations"]["reason"]) == (False, "NotReady")
        assert str(fault) in response["status"]["message"]

    async def test_namespace_that_does_not_exist(self) -> None:
        """Neither cache nor API server know the namespace."""
        response = await Bench().ask("/mutate/pods", review(pod(owner=None), namespace="nowhere"))
        assert response["auditAnnotations"]["reason"] == "NotReady"

    async def test_busy(self) -> None:
        """Past the concurrency limit: an answer with the uid, that says retry."""
        response = await Bench().ask("/mutate/pods", review(pod(label="enabled")), busy=True)
        assert (response["uid"], response["allowed"], response["status"]["code"]) == ("u-1", False, 503)


DEPLOYMENT: dict[str, Any] = {
    "obj": {"metadata": {"name": "weather"}, "spec": {"template": pod(owner=None)}},
    "kind": "Deployment",
    "group": "apps",
    "name": "weather",
}


class Broken:
    """A view whose every question is a defect."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"{name} is broken")


class TestCrash:
    """A defect of ours: HTTP 200 with the uid, counted, and its stack in the log."""

    @pytest.mark.parametrize("path", ["/mutate/pods", "/mutate/workloads"])
    async def test_denied_where_the_entry_fails_closed(self, path: str) -> None:
        """Code 500, without the exception's text."""
        bench = Bench(view=Broken())
        response = await bench.ask(path, review(pod()) if path == "/mutate/pods" else review(**DEPLOYMENT))
        assert (response["uid"], response["allowed"], response["status"]["code"]) == ("u-1", False, 500)
        assert "is broken" not in response["status"]["message"]
        assert sum(bench.metrics.crashes.values()) == 1
        assert "synced is broken" in bench.logged[0]["exception"]

    @pytest.mark.parametrize(("path", "request_"), [("/validate", runtime_review()), ("/advise", None)])
    async def test_let_through_where_it_fails_open(self, path: str, request_: Any) -> None:
        """An ``allowed: false`` would deny whatever failurePolicy Ignore says: so it is a warning."""
        bench = Bench(view=Broken())
        response = await bench.ask(path, request_ or review(**DEPLOYMENT))
        assert (response["uid"], response["allowed"]) == ("u-1", True)
        assert response["warnings"][0].startswith("InternalError: not checked by kagenti: RuntimeError")
        assert sum(bench.metrics.crashes.values()) == 1


class TestOwnKinds:
    """/validate: the answer to a new AgentRuntime says what it meets."""

    async def test_creation_counts_pods_that_predate_it(self) -> None:
        """One look at the target, and its count in a warning."""
        bench = Bench(cluster=FakeCluster(facts=TargetFacts("found", pods=3)))
        response = await bench.ask("/validate", runtime_review())
        assert bench.cluster.asked == ["target Deployment team1/weather"]
        assert any("3 running pods predate this" in warning for warning in response["warnings"])

    async def test_deletion_asks_nothing(self) -> None:
        """What future pods will be is known from memory."""
        bench = Bench()
        response = await bench.ask(
            "/validate",
            runtime_review(operation="DELETE", object=None, oldObject=runtime_review()["request"]["object"]),
        )
        assert (bench.cluster.asked, response["allowed"]) == ([], True)


class TestHostile:
    """Fuzzed reviews: an answer with the uid, or a clean 400; never a crash."""

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"", "the body is not JSON"),
            (b"\xff\xfe", "the body is not JSON"),
            (b"[" * 10_000 + b"]" * 10_000, "the body is not JSON"),
            (b'{"request":' * 10_000 + b"{}" + b"}" * 10_000, "the body is not JSON"),
            (b"{}", "the body is not an AdmissionReview: it has no request"),
            (b"[]", "the body is not an AdmissionReview: it has no request"),
            (b'{"request": {}}', "the AdmissionReview has no request.uid"),
            (b'{"request": {"uid": 7}}', "the AdmissionReview has no request.uid"),
        ],
    )
    async def test_no_review(self, path: str, body: bytes, message: str) -> None:
        """Without a uid there is nobody to answer to."""
        with pytest.raises(BadRequest, match=message) as refused:
            await Bench().send(path, body)
        assert refused.value.status == 400

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize(
        "change",
        [
            {"operation": "CONQUER"},
            {"kind": "Pod"},
            {"namespace": 7},
            {"object": []},
            {"object": None},
            {"object": {"metadata": []}},
            {"object": {"metadata": {"labels": {"kagenti.io/inject": 1}}}},
            {"object": {"metadata": {"ownerReferences": [7]}}},
        ],
        ids=str,
    )
    async def test_wrong_types_are_answered_with_the_uid(self, path: str, change: dict[str, Any]) -> None:
        """A review with a uid gets an answer to it: code 400, a warning where the entry fails open."""
        bench = Bench()
        request = review(pod())
        request["request"] |= change
        response = await bench.ask(path, request)
        fails_open = path in ("/validate", "/advise")
        assert (response["uid"], response["allowed"]) == ("u-1", fails_open)
        if fails_open:
            assert response["warnings"][0].startswith("BadRequest: not checked by kagenti: ")
        else:
            assert response["status"]["code"] == 400
        assert bench.metrics.crashes == {}

    @pytest.mark.parametrize("path", PATHS)
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(body=st.binary(max_size=400))
    def test_any_bytes(self, path: str, body: bytes) -> None:
        """Whatever the bytes, one of the two."""
        assert asyncio.run(_status(Bench(), path, body)) in (200, 400)

    @pytest.mark.parametrize("path", PATHS)
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_any_json_in_place_of_any_part(self, path: str, data: st.DataObject) -> None:
        """One part of a good review replaced by any JSON, as no API server sends it: the uid comes back."""
        request = orjson.loads(orjson.dumps(runtime_review() if path == "/validate" else review(pod(label="enabled"))))
        spot = data.draw(st.sampled_from(list(_spots(request["request"]))))
        node: Any = request["request"]
        for key in spot[:-1]:
            node = node[key]
        node[spot[-1]] = data.draw(_JSON)
        request["request"]["uid"] = "u-1"
        assert asyncio.run(Bench(agent_runtime()).ask(path, request))["uid"] == "u-1"


async def _status(bench: Bench, path: str, body: bytes) -> int:
    """Returns the HTTP status that a body gets; fails on an answer without a uid."""
    try:
        assert (await bench.send(path, body))["uid"]
    except BadRequest as refused:
        return refused.status
    return 200


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _spots(node: Any, path: tuple[Any, ...] = ()) -> Any:
    """Yields the path of every part."""
    parts = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in parts:
        yield (*path, key)
        yield from _spots(value, (*path, key))


async def test_one_line_a_decision() -> None:
    """Who, what, decision, reason and trigger, in the log and in the metrics."""
    bench = Bench(agent_runtime())
    await bench.ask("/mutate/pods", review(pod()))
    (line,) = bench.logged
    kept = ("object", "resource", "operation", "user", "uid", "entry", "decision", "reason", "trigger")
    assert [line[key] for key in kept] == [
        "Pod team1/weather-5d8f-",
        "pods",
        "CREATE",
        "system:serviceaccount:kube-system:replicaset-controller",
        "u-1",
        "pods",
        "injected",
        "AgentRuntime",
        "AgentRuntime",
    ]
    counted = 'kagenti_webhook_decisions_total{allowed="true",entry="pods",reason="AgentRuntime"} 1.0'
    assert counted in bench.metrics.render().decode()
