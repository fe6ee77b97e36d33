"""Requests that no API server would send: every one gets an answer with its uid, whichever entry it knocks at."""

# ruff: noqa: E501  # a table reads by line
import copy
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti.core.admission import advise, pods, respond, validate, workloads
from kagenti.core.admission.respond import Answer
from kagenti.core.admission.review import BadReview, Request, parse_review
from tests.unit.core.admission.cluster import (
    CONTAINER,
    DEPLOYMENT,
    ENABLED,
    NOW,
    Cluster,
    context,
    layers,
    ours,
    pod,
    reference,
    stored,
    workload,
)

JSON = Any  # anything that JSON can hold

RICH = {
    "containers": [
        {
            **CONTAINER,
            "env": [{"name": "A", "value": "b"}],
            "envFrom": [{"configMapRef": {"name": "c"}}],
            "readinessProbe": {"httpGet": {"path": "/", "port": "http", "scheme": "HTTPS"}},
            "livenessProbe": {"tcpSocket": {"port": 8081}},
            "startupProbe": {"grpc": {"port": 8081}},
            "securityContext": {"runAsUser": 1000, "capabilities": {"add": ["SETUID"], "drop": ["ALL"]}},
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        }
    ],
    "initContainers": [
        {"name": "envoy-proxy", "image": "e", "restartPolicy": "Always", "resources": {"limits": {"cpu": "1"}}},
        {"name": "setup", "image": "busybox", "args": ["x"], "restartPolicy": "Always"},
    ],
    "volumes": [{"name": "v", "emptyDir": {}}],
    "imagePullSecrets": [{"name": "s"}],
    "securityContext": {"runAsUser": 1000},
    "nodeSelector": {"a": "b"},
}
RECEIPT = '{"containers":["envoy-proxy"],"environment":{"agent":["A"]},"empty":["volumes"]}'
POD = pod(
    labels=ENABLED, annotations={"kagenti.io/injected": RECEIPT, "kagenti.io/outbound-ports-exclude": "1,x"}, **RICH
)
DEPLOY = workload("Deployment", labels=ENABLED)
RUNTIME = ours("AgentRuntime", "weather", targetRef=reference(), policy={"locked": ["trace"]}, trace={"exporters": []})
CONFIG = ours("AgentRuntimeConfig", "default", policy={"injection": "Mandatory", "locked": ["trace"]})
CLUSTER = Cluster(agent_runtimes=[stored("team1", "other", targetRef=reference(name="other"))])

ENTRIES: dict[str, tuple[JSON, Callable[[Request], Answer]]] = {
    "pods": (POD, lambda asked: pods.mutate_pod(asked, CLUSTER.facts(DEPLOYMENT), context=context(), layers=layers(), now=NOW)),
    "workloads": (DEPLOY, lambda asked: workloads.mutate_workload(asked, CLUSTER.facts(workloads.needs(asked).owner), context=context(), layers=layers(), now=NOW)),
    "validate": (RUNTIME, lambda asked: validate.validate(asked, validate.Desk(CLUSTER, layers(), context()))),
    "validate config": (CONFIG, lambda asked: validate.validate(asked, validate.Desk(CLUSTER, layers(), context()))),
    "advise": (DEPLOY, lambda asked: advise.advise(asked, view=CLUSTER, layers=layers(), context=context(), target="pods", now=NOW)),
}  # fmt: skip


def _paths(node: JSON, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _paths(value, (*path, key))
    if isinstance(node, list):
        for index, value in enumerate(node):
            yield from _paths(value, (*path, index))


def _with(manifest: JSON, path: tuple[Any, ...], value: JSON) -> JSON:
    if not path:
        return value
    made = copy.deepcopy(manifest)
    node = made
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return made


def _answer(entry: str, new: JSON, old: JSON) -> Answer:
    manifest, decide = ENTRIES[entry]
    kind = {"group": manifest["apiVersion"].rpartition("/")[0], "version": "v1", "kind": manifest["kind"]}
    sent = {
        "uid": "u1",
        "operation": "UPDATE" if old else "CREATE",
        "kind": kind,
        "namespace": "team1",
        "name": "weather",
    }
    body = orjson.dumps({"request": {**sent, "object": new, "oldObject": old}})
    try:
        asked = parse_review(body)
    except BadReview as bad:
        return respond.refused(bad.uid, str(bad))
    return respond.guarded(asked, lambda: decide(asked))


ODD = st.sampled_from([None, True, 0, -1, 1.5, "", "x", "\n", [], [None], [1], {}, {"a": None}, [[]], [{}], {"": {}}])


@pytest.mark.parametrize("entry", sorted(ENTRIES))
@given(data=st.data())
def test_every_request_gets_an_answer_with_its_uid(entry: str, data: st.DataObject) -> None:
    """One or two odd values anywhere in the object, on creation and on update; the answer is an AdmissionReview."""
    manifest = ENTRIES[entry][0]
    paths = list(_paths(manifest))
    made = _with(manifest, data.draw(st.sampled_from(paths)), data.draw(ODD))
    old = data.draw(st.sampled_from([None, manifest, made])) if entry != "pods" else None
    found = _answer(entry, made, old)
    assert orjson.loads(found.body())["response"]["uid"] == "u1"
    assert found.allowed or found.message


def test_what_the_fuzzing_starts_from_is_decided() -> None:
    """The fuzzed objects themselves are answered without a crash, so that the test above tests something."""
    reasons = {entry: _answer(entry, manifest, None) for entry, (manifest, _) in ENTRIES.items()}
    assert {entry: found.code for entry, found in reasons.items()} == dict.fromkeys(ENTRIES, 200)
