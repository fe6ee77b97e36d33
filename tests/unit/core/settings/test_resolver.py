"""The memo of resolve: the same answer as without it, whatever has changed since."""

import gc
import tracemalloc
from collections.abc import Mapping
from typing import Any, Final

import orjson
import pytest

from kagenti.core.settings import NamespacePolicy, Resolver, resolve, well_formed
from tests.unit.core.settings.given import RULES, cluster, rule, workload

OFF: Final = {"target": {"audience": "a"}, "upstream": {"tls": "Off"}}


def test_the_same_layers_are_merged_once() -> None:
    """The hot path is a dictionary lookup."""
    resolver, top, lower = Resolver(), cluster(), workload()
    assert resolver.resolve(top, None, lower) is resolver.resolve(top, None, lower)


def test_another_content_of_the_same_object_is_merged_anew() -> None:
    """Files and tests have no resource versions to tell two contents apart."""
    resolver = Resolver()
    for rate in (0.25, 0.5):
        assert resolver.resolve(None, None, workload({"trace.sampling.rate": rate}))["trace.sampling.rate"] == rate


def test_a_policy_is_part_of_the_question() -> None:
    """Mandatory locks; Optional does not."""
    resolver, top = Resolver(), cluster()
    policy = NamespacePolicy(mandatory=True, declared_by=top.source)
    lower = workload({"injection.enabled": False})
    assert resolver.resolve(top, None, lower)["injection.enabled"] is False
    assert resolver.resolve(top, None, lower, policy=policy)["injection.enabled"] is True


def test_the_one_unused_for_longest_goes_first() -> None:
    """The memo is bounded, and what is in use stays."""
    resolver, one, two, three = Resolver(room=2), workload(name="one"), workload(name="two"), workload(name="three")
    kept, other = resolver.resolve(None, None, one), resolver.resolve(None, None, two)
    assert resolver.resolve(None, None, one) is kept
    resolver.resolve(None, None, three)
    assert resolver.resolve(None, None, one) is kept
    assert resolver.resolve(None, None, two) is not other


def test_a_new_version_takes_the_place_of_the_old_one() -> None:
    """Whoever edits one object for ever fills no memory."""
    resolver, other = Resolver(room=2), workload(name="other")
    kept = resolver.resolve(None, None, other)
    for number in range(10):
        resolver.resolve(None, None, workload({"trace.resourceAttributes": {"k": str(number)}}))
    assert resolver.resolve(None, None, other) is kept


@pytest.mark.parametrize(("known", "faults"), [({"team2"}, 0), (set(), 1)])
def test_name_dot_namespace_is_inside_where_the_namespace_exists(known: set[str], faults: int) -> None:
    """A token may travel in clear inside the cluster only."""
    lower = workload({RULES: [rule("tool.team2", **OFF)]})
    assert len(Resolver(is_namespace=known.__contains__).resolve(None, None, lower).errors) == faults
    assert len(resolve(None, None, lower, namespaces=known).errors) == faults


def test_a_namespace_that_comes_or_goes_changes_the_answer() -> None:
    """The memo holds for the answers that it was made with, and only those that were asked for."""
    known: set[str] = set()
    resolver, lower = Resolver(is_namespace=lambda name: name in known), workload({RULES: [rule("tool.team2", **OFF)]})
    assert resolver.resolve(None, None, lower).errors
    known.add("team2")
    right = resolver.resolve(None, None, lower)
    assert not right.errors
    known.add("elsewhere")
    assert resolver.resolve(None, None, lower) is right
    known.clear()
    assert resolver.resolve(None, None, lower).errors


def test_a_result_keeps_no_more_memory_than_it_has_content() -> None:
    """Thousands are remembered: what an encoder leaves empty at the end of its buffer must not be among it."""
    resolve(None, None, None)  # whatever is remembered for good
    tracemalloc.start()
    try:
        kept = resolve(None, None, None).restart_json
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept) < held < 3 * len(kept)


@pytest.mark.parametrize(
    "layer", [{}, {RULES: [rule("a.example", target={"audience": "a"})]}], ids=["built-in", "rules"]
)
def test_what_is_resolved_is_well_formed_and_other_forms_are_not(layer: Mapping[str, Any]) -> None:
    """What a receipt records can be told from what somebody wrote over it."""
    recorded = orjson.loads(resolve(cluster(layer), None, None).restart_json)
    assert well_formed(recorded)
    assert well_formed({**recorded, "setting.of.another.version": 1})
    for path, value in (("identity.inbound.port", "x"), ("trace.exporters", 7), ("components.envoyProxy.enabled", [])):
        assert not well_formed({**recorded, path: value})
