"""Stored objects become layers: parsed once per version, the last valid one kept, the oldest AgentRuntime in force."""

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import orjson
import pytest

from kagenti.core.layers import NO_SOURCES, LayerCache, for_target, pick_runtime
from kagenti.core.workload import WorkloadRef

JSON = Any  # a spec as received

TARGET = WorkloadRef("apps", "Deployment", "team1", "weather")


@dataclass(frozen=True)
class Object:
    """A stored object as a cache holds it."""

    name: str = "default"
    namespace: str = "team1"
    uid: str = "u1"
    resource_version: str = "1"
    creation_timestamp: str = "2026-11-01T00:00:00Z"
    target: WorkloadRef | None = None
    spec: bytes = b"{}"


def config(spec: JSON, **fields: str) -> Object:
    """A namespace's config."""
    return replace(Object(spec=orjson.dumps(spec)), **fields)


def runtime(name: str, created: str = "2026-11-01T00:00:00Z", **spec: JSON) -> Object:
    """An AgentRuntime of TARGET."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather"}
    raw = orjson.dumps({"targetRef": reference, **spec})
    return Object(name=name, creation_timestamp=created, target=TARGET, spec=raw)


GOOD = {"trace": {"sampling": {"rate": 0.5}}}
BAD = {"trace": []}
NOT_JSON = replace(config({}), spec=b"{")


def test_nothing_there_is_the_built_in_layer_alone() -> None:
    """Absent layers are normal."""
    assert LayerCache().gather(cluster=None, namespace=None) == NO_SOURCES


def test_a_version_is_parsed_once() -> None:
    """The same object and version give the identical layer."""
    cache = LayerCache()
    first = cache.read("namespace", config(GOOD))
    assert cache.read("namespace", config(GOOD)) is first
    assert first.layer is not None
    assert first.layer.values["trace.sampling.rate"] == 0.5
    assert cache.read("namespace", config(GOOD, resource_version="2")) is not first


@pytest.mark.parametrize("broken", [config(BAD, resource_version="2"), replace(NOT_JSON, resource_version="2")])
def test_the_last_valid_version_stays_in_force(broken: Object) -> None:
    """An object that no longer parses keeps its last valid version, and the note names both."""
    cache = LayerCache()
    valid = cache.read("namespace", config(GOOD)).layer
    sources = cache.gather(cluster=None, namespace=broken)
    assert sources.namespace is valid
    assert sources.policy_readable
    assert sources.unreadable == ()
    assert "AgentRuntimeConfig team1/default" in sources.notes[0].message
    assert "last valid version 1 is in force" in sources.notes[0].message


def test_a_process_without_a_valid_version_has_none() -> None:
    """Just started, and the object does not parse: unreadable, and the policy with it."""
    sources = LayerCache().gather(cluster=None, namespace=config(BAD))
    assert sources.namespace is None
    assert not sources.policy_readable
    assert [finding.reason for finding in sources.unreadable] == ["ConfigInvalid"]
    assert sources.unreadable[0].objects == ("AgentRuntimeConfig team1/default",)


def test_another_object_of_the_same_name_inherits_nothing() -> None:
    """Deleted and created anew: the old version was another object's."""
    cache = LayerCache()
    cache.read("namespace", config(GOOD))
    read = cache.read("namespace", config(BAD, uid="u2", resource_version="7"))
    assert read.layer is None


def test_an_unreadable_agentruntime_leaves_the_policy_readable() -> None:
    """An AgentRuntime states no policy, so pods of others are not denied for it."""
    sources = LayerCache().gather(cluster=None, namespace=None, runtimes=[runtime("weather", trace=[])])
    assert sources.policy_readable
    assert sources.runtime is None
    assert str(sources.runtime_source) == "AgentRuntime team1/weather"
    assert len(sources.unreadable) == 1


def test_a_mended_object_is_read_again() -> None:
    """A fault is remembered for its version only."""
    cache = LayerCache()
    assert cache.read("namespace", config(BAD)).layer is None
    assert cache.read("namespace", config(GOOD, resource_version="2")).layer is not None


def test_the_type_of_the_agentruntime_is_read() -> None:
    """It classifies workloads without a type label."""
    assert (
        LayerCache().gather(cluster=None, namespace=None, runtimes=[runtime("w", type="tool")]).runtime_type == "tool"
    )


@pytest.mark.parametrize(
    ("candidates", "winner"),
    [
        ([runtime("b", "2026-11-01T00:00:00Z"), runtime("a", "2026-11-02T00:00:00Z")], "b"),
        ([runtime("b"), runtime("a")], "a"),
        ([runtime("a"), runtime("b")], "a"),
    ],
)
def test_the_oldest_agentruntime_wins_then_the_name(candidates: list[Object], winner: str) -> None:
    """Two AgentRuntimes on one target: the same winner everywhere, whatever the order."""
    found = pick_runtime(candidates)
    assert found is not None
    assert found.name == winner
    sources = LayerCache().gather(cluster=None, namespace=None, runtimes=candidates)
    assert str(sources.runtime_source) == f"AgentRuntime team1/{winner}"
    assert [finding.reason for finding in sources.notes] == ["Conflict"]
    assert sources.notes[0].objects[1] == f"AgentRuntime team1/{winner}"


def test_no_agentruntime_is_no_winner() -> None:
    """Nothing to choose from."""
    assert pick_runtime([]) is None


def test_a_strict_read_is_narrowed_to_the_owners_group() -> None:
    """The field selector has no group: another group's Deployment is not ours; an unreadable target stays."""
    other = replace(runtime("other"), target=msgspec.structs.replace(TARGET, group="example.com"))
    unreadable = replace(runtime("odd"), target=None)
    assert for_target([runtime("mine"), other, unreadable], TARGET) == (runtime("mine"), unreadable)


def test_the_cache_is_bounded() -> None:
    """Objects that are gone do not stay for ever."""
    cache = LayerCache(limit=3)
    for number in range(10):
        cache.read("workload", runtime(f"a{number}"))
    assert len(cache) == 3


@pytest.mark.parametrize(
    ("reason", "policy"),
    [
        ("misspelt", {"injection": "mandatory"}),
        ("not an object", []),
        ("locks are text", {"locked": "trace"}),
        ("a lock is a number", {"locked": [1]}),
        ("an unknown path", {"locked": ["no.such.path"]}),
    ],
)
def test_a_policy_that_cannot_be_read_fails_closed(reason: str, policy: JSON) -> None:
    """What might have been Mandatory is not taken for Optional."""
    read = LayerCache().read("namespace", config({"policy": policy}))
    assert read.layer is None, reason
    assert read.fault is not None
    assert "spec.policy" in read.fault.message


@pytest.mark.parametrize(
    "rule",
    [{"names": "team1"}, {"selector": {"matchLabels": []}}, {"names": ["team1"], "exempt": [{"kind": 1}]}, 5],
)
def test_a_namespace_rule_that_cannot_be_read_fails_closed(rule: JSON) -> None:
    """The same for the cluster's rules."""
    read = LayerCache().read("cluster", config({"policy": {"namespaces": [rule]}}, namespace=""))
    assert read.layer is None


def test_an_agentruntime_rules_nothing() -> None:
    """A policy in an AgentRuntime is dropped, as the API server prunes it."""
    read = LayerCache().read("workload", runtime("weather", policy={"locked": ["trace"], "injection": "Mandatory"}))
    assert read.layer is not None
    assert (read.layer.locked, read.layer.mandatory) == ((), False)
