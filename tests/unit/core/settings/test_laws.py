"""The laws of the merge, over random layers made from every leaf of the layered block."""

import copy
from collections.abc import Mapping
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti.core.settings import (
    BUILT_IN_LAYER,
    Layer,
    canonical,
    effective_class,
    live_part,
    parse_layer,
    resolve,
    restart_part,
)
from kagenti.core.settings.merge import combine
from kagenti_api.v1alpha1.built_in import DERIVED
from kagenti_api.v1alpha1.fields import LAYERED_FIELDS
from tests.unit.core.settings.given import (
    SAMPLES,
    TEMPLATE,
    cluster,
    manifest,
    namespace,
    one_setting,
    value_maps,
    workload,
)

JSON = Any  # a value of the layered block

OPEN: Final = ["injection", "components", "identity"]  # every cluster-only leaf lies under one of these


def overlay(above: Mapping[str, JSON], below: Mapping[str, JSON]) -> dict[str, JSON]:
    """Returns two layers' value maps as one, by the engine's own strategy for each leaf."""
    return {**above, **{path: combine(path, above.get(path), value) for path, value in below.items()}}


def layers(first: Mapping[str, JSON], second: Mapping[str, JSON], third: Mapping[str, JSON]) -> tuple[Layer, ...]:
    """Returns the three layers, with every cluster-only leaf opened to all."""
    return cluster(first, delegated=OPEN), namespace(second), workload(third)


def test_every_leaf_is_parsed_and_wins_over_the_built_in_layer() -> None:
    """Each sample of each leaf stands in the result as it was written, with its object as origin."""
    for path, value in ((leaf, sample) for leaf in LAYERED_FIELDS for sample in SAMPLES[leaf]):
        resolved = resolve(cluster({path: value}), None, None)
        expected = combine(path, BUILT_IN_LAYER.values.get(path), value)
        assert (path, resolved[path]) == (path, expected)
        assert (path, str(resolved.origins[path].source)) == (path, "AgentRuntimeClusterConfig default")


@given(value_maps, value_maps, value_maps)
def test_an_empty_layer_changes_nothing(first: JSON, second: JSON, third: JSON) -> None:
    """Identity: a layer that sets nothing is as good as none."""
    given_layers = layers(first, second, third)
    full = resolve(*given_layers)
    for index, made in enumerate((lambda: cluster(delegated=OPEN), namespace, workload)):
        with_empty, without = list(given_layers), list(given_layers)
        with_empty[index] = made()
        without[index] = None  # type: ignore[call-overload]  # absent
        if index == 0:
            without[index] = cluster(delegated=OPEN)  # else nothing would be open to the layers below
        assert resolve(*with_empty).values == resolve(*without).values
    assert resolve(*given_layers) == full


def test_no_layers_are_as_good_as_empty_ones() -> None:
    """No cluster config, no namespace config, no AgentRuntime: the built-in layer, complete and consistent."""
    bare, empty = resolve(None, None, None), resolve(cluster(), namespace(), workload())
    assert (bare.values, bare.origins) == (empty.values, empty.origins)
    assert (bare.live_revision, bare.restart_revision) == (empty.live_revision, empty.restart_revision)
    assert (bare.errors, bare.findings) == ((), ())
    assert set(BUILT_IN_LAYER.values) | set(DERIVED) == set(bare.values)


@given(value_maps)
def test_the_same_layer_again_changes_nothing(values: JSON) -> None:
    """Idempotence, up to the namespace prefix that only names from below the cluster layer get."""
    values = {path: value for path, value in values.items() if path != TEMPLATE}
    assert overlay(overlay({}, values), values) == overlay({}, values)
    assert resolve(*layers(values, values, values)).values == resolve(*layers(values, {}, {})).values


@given(value_maps, value_maps, value_maps)
def test_adjacent_layers_can_be_joined_in_either_order(first: JSON, second: JSON, third: JSON) -> None:
    """Associativity on value maps; and the result is that join over the built-in layer."""
    left, right = overlay(overlay(first, second), third), overlay(first, overlay(second, third))
    assert left == right
    resolved = resolve(*layers(first, second, third))
    joined = overlay(BUILT_IN_LAYER.values, left)
    changed_after = {"components." + name + ".image" for name in ("proxyInit", "spiffeHelper", "clientRegistration")}
    for path in set(joined) - changed_after - {TEMPLATE}:
        assert resolved[path] == joined[path], path
    assert set(resolved.values) - set(joined) <= set(DERIVED)


@given(value_maps, value_maps, value_maps)
def test_inputs_are_never_changed(first: JSON, second: JSON, third: JSON) -> None:
    """Neither the manifests, nor the layers, nor the built-in layer."""
    built_in = canonical(dict(BUILT_IN_LAYER.values))
    manifests = [manifest("cluster", first, {"delegated": OPEN}), manifest("namespace", second)]
    manifests.append(manifest("workload", third))
    before = copy.deepcopy(manifests)
    names = ("cluster", "namespace", "workload")
    parsed = [parse_layer(name, raw) for name, raw in zip(names, manifests, strict=True)]
    values = [canonical(dict(layer.values)) for layer in parsed]
    resolve(*parsed)
    assert manifests == before
    assert [canonical(dict(layer.values)) for layer in parsed] == values
    assert canonical(dict(BUILT_IN_LAYER.values)) == built_in


@given(value_maps, value_maps)
def test_an_absent_key_erases_nothing(above: JSON, below: JSON) -> None:
    """What a layer does not set stays as the layers above gave it, entry by entry where entries merge."""
    resolved = resolve(*layers(above, below, {}))
    for path, value in above.items():
        if path in below and LAYERED_FIELDS[path].mark.merge == "mapByKey":
            assert resolved[path].keys() >= value.keys()
        elif path in below and LAYERED_FIELDS[path].mark.merge == "listByKey":
            hosts = [rule["match"] for rule in resolved[path]]
            assert all(rule["match"] in hosts for rule in value)
        elif path not in below:
            kept = combine(path, BUILT_IN_LAYER.values.get(path), value)
            assert resolved[path] == kept, path


@given(value_maps, value_maps, st.integers())
def test_key_order_means_nothing(above: JSON, below: JSON, seed: int) -> None:
    """Values, origins, findings and revisions are the same for the same objects written in another order."""
    shuffled = [shuffle(manifest("namespace", above), seed), shuffle(manifest("workload", below), seed)]
    straight = [manifest("namespace", above), manifest("workload", below)]
    results = [
        resolve(cluster(locked=["trace"]), parse_layer("namespace", one), parse_layer("workload", other))
        for one, other in (straight, shuffled)
    ]
    assert results[0] == results[1]


def shuffle(value: JSON, seed: int) -> JSON:
    """Returns JSON with the keys of every object in another order."""
    if isinstance(value, dict):
        keys = list(value)
        Random(seed).shuffle(keys)
        return {key: shuffle(value[key], seed) for key in keys}
    return [shuffle(item, seed) for item in value] if isinstance(value, list) else value


@given(value_maps, st.integers())
def test_equal_content_has_equal_revisions_whoever_gives_it(values: JSON, seed: int) -> None:
    """However the same values are spread over namespace and workload, the revisions are the same."""
    dice = Random(seed)
    mine = {path: value for path, value in values.items() if dice.random() < 0.5}
    others = {path: value for path, value in values.items() if path not in mine}
    one, other = resolve(*layers({}, values, {})), resolve(*layers({}, mine, others))
    assert one.values == other.values
    assert (one.live_revision, one.restart_revision) == (other.live_revision, other.restart_revision)


@given(value_maps, one_setting)
def test_one_change_changes_the_revisions_of_its_parts_and_no_other(values: JSON, change: tuple[str, JSON]) -> None:
    """Each revision is a function of its part of the result, one to one."""
    one, other = resolve(cluster(values), None, None), resolve(cluster({**values, change[0]: change[1]}), None, None)
    assert (one.live_revision == other.live_revision) == (live_part(one) == live_part(other))
    assert (one.restart_revision == other.restart_revision) == (restart_part(one) == restart_part(other))
    assert one.restart_json == canonical(restart_part(one))


@pytest.mark.parametrize(("path", "value", "live", "restart"), [
    ("identity.outbound.defaultPolicy", "Deny", True, False),
    ("identity.inbound.port", 9000, False, True),
    ("trace.sampling.rate", 0.9, True, True),
    ("identity.clientRegistration.keycloak.realm", "other", True, True),
    ("identity.outbound.defaultPolicy", "Passthrough", False, False),
])  # fmt: skip
def test_which_revision_a_change_enters(path: str, value: JSON, live: bool, restart: bool) -> None:
    """By class; a realm enters both, for live values are derived from it; the same value enters none."""
    one, other = resolve(None, None, None), resolve(None, None, workload({path: value}))
    assert (one.live_revision != other.live_revision, one.restart_revision != other.restart_revision) == (live, restart)


@given(value_maps)
def test_every_value_is_in_the_parts_of_its_class(values: JSON) -> None:
    """Live, restart, or both; nothing is in neither; with AuthBridge outbound rules wait for the next pod."""
    resolved = resolve(cluster(values), None, None)
    bridge = resolved["injection.tokenExchange"] == "AuthBridge"
    live, restart = live_part(resolved), restart_part(resolved)
    for path in resolved.values:
        class_ = LAYERED_FIELDS[path].mark.class_
        if bridge and path.startswith(("identity.outbound.defaultPolicy", "identity.outbound.tokenExchange.")):
            class_ = "restart"
        assert effective_class(path, resolved.values) == class_
        assert (path in live, path in restart) == (class_ in ("live", "both"), class_ in ("restart", "both")), path


@given(value_maps, value_maps, value_maps)
def test_every_value_has_an_origin_that_gave_it(first: JSON, second: JSON, third: JSON) -> None:
    """The origin's layer set that leaf, or the value is derived."""
    given_layers = layers(first, second, third)
    resolved = resolve(*given_layers)
    by_name = {layer.source.layer: layer for layer in (BUILT_IN_LAYER, *given_layers)}
    for path in resolved.values:
        origin = resolved.origins[path]
        assert origin.derived_from or path in by_name[origin.source.layer].values, path
