"""The real Envoy loads what we render: bootstraps alone, and each with all that the xDS server would send."""

from pathlib import Path

import pytest

from kagenti.core import envoy
from tests.component.envoy import binary
from tests.unit.core.envoy import features, proxies
from tests.unit.core.envoy.test_outbound import FEATURES


@pytest.mark.parametrize("feature", features.NAMES)
def test_real_envoy_takes_bootstrap_and_resources(feature: str, tmp_path: Path) -> None:
    proxy = features.proxy(feature)
    if proxy.keys is None and envoy.withheld(proxy):
        proxy = features.proxy("default")  # without keys there is no snapshot to load; the bootstrap is the same
    assert binary.validate(binary.static(proxy), tmp_path) == ""


@pytest.mark.parametrize("feature", features.BOOTSTRAPS)
def test_real_envoy_takes_bootstrap_alone(feature: str, tmp_path: Path) -> None:
    proxy = features.proxy(feature)
    start = envoy.bootstrap(proxy.settings, proxy.values, installation=proxy.installation)
    assert binary.validate(start, tmp_path) == ""


@pytest.mark.parametrize("feature", FEATURES)
def test_real_envoy_takes_outbound_resources(feature: str, tmp_path: Path) -> None:
    """With the bootstrap of that pod, as one configuration."""
    assert binary.validate(binary.static(proxies.proxy(FEATURES[feature])), tmp_path) == ""
