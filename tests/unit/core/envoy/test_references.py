"""Nothing dangles: what the bootstrap and each resource name is given, for whatever settings."""

import pytest
from hypothesis import given as examples
from hypothesis import settings as profile

from kagenti.core import envoy
from kagenti.core.envoy import Proxy, Resource
from kagenti.core.installation import Installation
from kagenti.core.settings import resolve
from tests.unit.core.envoy import features, proxies
from tests.unit.core.settings import given


def _check(proxy: Proxy) -> None:
    found = envoy.resources(proxy)
    known = {(each.type, each.name) for each in found}
    withheld = envoy.withheld(proxy)
    assert len(known) == len(found), "two resources of one name"
    assert known.isdisjoint(withheld)
    start = envoy.bootstrap(proxy.settings, proxy.values, installation=proxy.installation)
    static = {("cluster", cluster["name"]) for cluster in start["static_resources"]["clusters"]}
    wanted = envoy.needed(start).union(*(envoy.references(each) for each in found))
    assert wanted <= known | withheld | static


@pytest.mark.parametrize("feature", features.NAMES)
def test_everything_named_is_given(feature: str) -> None:
    _check(features.proxy(feature))


@profile(max_examples=4 * profile.default.max_examples)  # most values change no name
@examples(given.value_maps)
def test_everything_named_is_given_whatever_is_set(values: dict[str, given.JSON]) -> None:
    resolved = resolve(given.cluster(values), None, None)
    if not resolved.errors:
        _check(Proxy(resolved, proxies.values(resolved), Installation(), keys=proxies.KEYS, port_mapping={8080: 8081}))


def test_without_keys_only_jwt_is_kept_back() -> None:
    with_keys, without = (envoy.resources(features.proxy(name)) for name in ("default", "no-keys"))
    assert [each for each in with_keys if each.name != "jwt"] == list(without)
    assert envoy.withheld(features.proxy("no-keys")) == {("extension", "jwt")}
    assert envoy.withheld(features.proxy("default")) == frozenset()


def test_a_proxy_that_validates_nothing_waits_for_no_keys() -> None:
    for feature in ("no-inbound", "tracing-only"):
        proxy = features.proxy(feature)
        assert proxy.keys is None
        assert envoy.withheld(proxy) == frozenset()
        assert "jwt" in [each.name for each in envoy.resources(proxy)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"route": {"cluster": "a"}}, {("cluster", "a")}),
        ({"weighted_clusters": {"clusters": [{"name": "a", "weight": 1}]}}, {("cluster", "a")}),
        ({"grpc_service": {"envoy_grpc": {"cluster_name": "a"}}}, {("cluster", "a")}),
        ({"metadata": {"filter_metadata": {"f": {"cluster": "token-1"}}}}, {("cluster", "token-1")}),
        ({"typed_per_filter_config": {"jwt": {}, "rbac": {}}}, {("extension", "jwt")}),
        ({"name": "slot", "config_discovery": {}}, {("extension", "slot")}),
        ({"rds": {"route_config_name": "outbound"}}, {("route", "outbound")}),
        ({"cluster_type": {"typed_config": {"dns_cache_config": {"name": "a"}}}}, set()),
    ],
)
def test_reference_is_found_wherever_it_stands(body: given.JSON, expected: set[envoy.Reference]) -> None:
    assert envoy.references(Resource("route", "r", {"deep": [body]})) == expected


def test_cluster_does_not_need_itself() -> None:
    body = {"name": "a", "load_assignment": {"cluster_name": "a"}}
    assert envoy.references(Resource("cluster", "a", body)) == frozenset()
