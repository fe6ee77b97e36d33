"""The laws of authority and locks, over random layers, locks and delegations together."""

from collections.abc import Mapping
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from kagenti.core.settings import LOCK_VIOLATION, UNAUTHORISED, Layer, ResolvedSettings, resolve, under
from kagenti_api.v1alpha1.fields import DELEGABLE_PATHS, LAYERED_FIELDS, LOCKABLE_PATHS
from tests.unit.core.settings.given import TEMPLATE, cluster, namespace, value_maps, workload

JSON = Any  # a value of the layered block
Layers = tuple[Layer, Layer, Layer]

locks = st.lists(st.sampled_from(sorted(LOCKABLE_PATHS)), max_size=5, unique=True)
delegations = st.lists(st.sampled_from(sorted(DELEGABLE_PATHS)), max_size=3, unique=True)


@st.composite
def layers(draw: st.DrawFn) -> Layers:
    """Returns three layers with values, locks of the two configs, and what the cluster opens."""
    top = cluster(draw(value_maps), locked=draw(locks), delegated=draw(delegations))
    return top, namespace(draw(value_maps), locked=draw(locks)), workload(draw(value_maps))


def locked_by(layer: Layer) -> list[str]:
    """Every leaf that a layer locks."""
    return [path for path in LAYERED_FIELDS if any(under(path, subtree) for subtree in layer.locked)]


def at(resolved: ResolvedSettings, paths: list[str]) -> dict[str, JSON]:
    """Values and origins at these paths."""
    return {path: (resolved.get(path), resolved.origins.get(path)) for path in paths}


def refused(resolved: ResolvedSettings) -> list[tuple[str, str]]:
    """Layer and path of each value that has no effect; other findings are notes on values that have."""
    found = [found for found in resolved.findings if found.reason in {LOCK_VIOLATION, UNAUTHORISED}]
    return [(found.objects[0], found.path) for found in found]


NOTED = (
    cluster(),
    namespace(),
    workload(
        {"identity.spiffe.enabled": False, "identity.clientRegistration.authType": "federated-jwt", TEMPLATE: "x"}
    ),
)
"""Layers whose workload may set all it sets, and is told what that needs at the identity provider."""


@given(layers())
def test_nothing_below_moves_what_is_locked(given_layers: Layers) -> None:
    """A locked leaf is what the layers down to the lock make of it, values and origin, derived ones included."""
    top, config, lower = given_layers
    full = resolve(top, config, lower)
    assert at(full, locked_by(top)) == at(resolve(top, None, None), locked_by(top))
    assert at(full, locked_by(config)) == at(resolve(top, config, None), locked_by(config))


@given(layers())
def test_what_is_the_clusters_comes_from_the_cluster(given_layers: Layers) -> None:
    """A cluster-only leaf that is not delegated has its value from the cluster layer or above, or is derived."""
    resolved = resolve(*given_layers)
    for path, field in LAYERED_FIELDS.items():
        opened = any(under(path, subtree) for subtree in given_layers[0].delegated)
        if field.mark.authority != "cluster" or opened or path not in resolved.values:
            continue
        origin = resolved.origins[path]
        assert origin.derived_from or origin.source.layer in ("built-in", "cluster"), path


@given(layers())
@example(NOTED)
def test_each_value_has_effect_or_a_finding(given_layers: Layers) -> None:
    """Exactly the refused values are findings, each once, and a refused value is nowhere an origin."""
    resolved = resolve(*given_layers)
    without_effect = set(refused(resolved))
    assert len(without_effect) == len(refused(resolved))
    top, config, lower = given_layers
    for layer, above in ((top, ()), (config, (top,)), (lower, (top, config))):
        bound = {path for one in above for path in locked_by(one)}
        for path in layer.values:
            opened = layer is top or any(under(path, subtree) for subtree in top.delegated)
            forbidden = path in bound or (LAYERED_FIELDS[path].mark.authority == "cluster" and not opened)
            assert ((str(layer.source), path) in without_effect) is forbidden, path
            origin = resolved.origins.get(path)
            assert not (forbidden and origin and origin.source == layer.source and not origin.derived_from), path


@given(layers())
def test_a_lock_binds_only_the_layers_below_it(given_layers: Layers) -> None:
    """Without anybody below, a lock changes no value."""
    top, config, _ = given_layers
    free = Layer(config.source, config.values)
    assert resolve(top, config, None).values == resolve(top, free, None).values
    unlocked = Layer(top.source, top.values, delegated=top.delegated)
    assert resolve(top, None, None).values == resolve(unlocked, None, None).values


@given(layers(), locks)
@example(NOTED, ["identity.spiffe.enabled"])
def test_more_locks_never_give_a_lower_layer_more(given_layers: Layers, more: list[str]) -> None:
    """Whatever a workload could not set under some locks, it cannot set under more of them."""
    top, config, lower = given_layers
    stricter = Layer(top.source, top.values, (*top.locked, *more), top.delegated)
    some, more_of_them = (set(refused(resolve(above, config, lower))) for above in (top, stricter))
    assert some <= more_of_them


@given(value_maps, value_maps, st.permutations(sorted(LOCKABLE_PATHS)))
def test_the_order_of_locks_means_nothing(
    above: Mapping[str, JSON], below: Mapping[str, JSON], paths: list[str]
) -> None:
    """The same locks in another order are the same result."""
    few = paths[:6]
    one, other = (resolve(cluster(above, locked=list(order)), None, workload(below)) for order in (few, few[::-1]))
    assert one == other
