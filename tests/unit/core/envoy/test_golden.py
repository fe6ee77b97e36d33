"""Golden files per feature; tests/component/envoy/test_validation.py has the real Envoy load each of them."""

import orjson
import pytest

from kagenti.core import envoy
from kagenti.core.envoy import LAYOUT, Proxy, layout
from tests.unit.core.envoy import features, golden

FOR_BOTH = (layout.APP_CLUSTER, layout.ORIGINAL_DESTINATION, layout.COLLECTOR_CLUSTER, layout.JWT, layout.INBOUND)
MOST_BYTES = 30_000
"""Of a bootstrap in an annotation: half of it is the exchange's script; 64 KiB is the limit of all files."""


def _bootstrap(proxy: Proxy) -> envoy.layout.JSON:
    return envoy.bootstrap(proxy.settings, proxy.values, installation=proxy.installation)


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.mark.parametrize("feature", features.NAMES)
def test_resources_are_as_last_seen(feature: str, update: bool) -> None:
    """Inbound, and what both directions share; the outbound features have files of their own."""
    found = envoy.resources(features.proxy(feature))
    shown = {f"{each.type} {each.name}": each.body for each in found if each.name in FOR_BOTH}
    golden.check(f"inbound-{feature}", shown, update=update)


@pytest.mark.parametrize("feature", features.BOOTSTRAPS)
def test_bootstrap_is_as_last_seen(feature: str, update: bool) -> None:
    golden.check(f"bootstrap-{feature}", _bootstrap(features.proxy(feature)), update=update)


@pytest.mark.parametrize("feature", features.NAMES)
def test_bootstrap_does_not_depend_on_what_is_live(feature: str) -> None:
    """A pod carries its bootstrap for life, so only restart settings may show in it."""
    expected = feature if feature in features.BOOTSTRAPS else "default"
    assert _bootstrap(features.proxy(feature)) == _bootstrap(features.proxy(expected))


@pytest.mark.parametrize("feature", features.NAMES)
def test_bootstrap_fits_an_annotation(feature: str) -> None:
    assert len(orjson.dumps(_bootstrap(features.proxy(feature)))) < MOST_BYTES


def test_layout_is_what_its_number_stands_for(update: bool) -> None:
    """A name that running pods rely on changes together with LAYOUT only; the file of an older number stays."""
    start = _bootstrap(features.proxy("default"))
    static = start["static_resources"]
    needed = sorted(map(list, envoy.needed(start)))
    content = {
        "layout": LAYOUT,
        "needed": needed,
        "listeners": [_shape(listener) for listener in static["listeners"]],
        "clusters": [cluster["name"] for cluster in static["clusters"]],
    }
    golden.check(f"layout-{LAYOUT}", content, update=update)


def _shape(listener: envoy.layout.JSON) -> envoy.layout.JSON:
    chains = [*listener["filter_chains"], *filter(None, [listener.get("default_filter_chain")])]
    return {
        "name": listener["name"],
        "listener_filters": [each["name"] for each in listener.get("listener_filters", ())],
        "chains": [[chain.get("filter_chain_match", {}), _filters(chain["filters"])] for chain in chains],
    }


def _filters(filters: envoy.layout.JSON) -> list[envoy.layout.JSON]:
    """Names of network filters; of HTTP filters too, since routes configure them by name."""
    named = []
    for each in filters:
        inner = each.get("typed_config", {}).get("http_filters")
        named.append([each["name"], [found["name"] for found in inner]] if inner else each["name"])
    return named
