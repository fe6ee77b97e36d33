"""What a pod's bootstrap must be, whatever the golden files say."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from kagenti.core import envoy
from kagenti.core.envoy import layout
from kagenti.core.installation import Installation
from tests.unit.core.envoy import features, proxies

JSON = Any  # a part of Envoy's configuration

FEATURES: Final = features.BOOTSTRAPS


def _bootstrap(feature: str = "default") -> JSON:
    proxy = features.proxy(feature)
    return envoy.bootstrap(proxy.settings, proxy.values, installation=proxy.installation)


def _objects(node: JSON) -> Iterator[dict[str, JSON]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _objects(value)
    elif isinstance(node, list):
        for item in node:
            yield from _objects(item)


def _listener(feature: str, name: str) -> JSON:
    return next(each for each in _bootstrap(feature)["static_resources"]["listeners"] if each["name"] == name)


@pytest.mark.parametrize("feature", FEATURES)
def test_no_listener_comes_over_ads_and_every_wait_is_endless(feature: str) -> None:
    """A finite wait would open the ports without policy."""
    found = _bootstrap(feature)
    assert set(found["dynamic_resources"]) == {"ads_config", "cds_config"}
    sources = [each for each in _objects(found) if "ads" in each]
    assert len(sources) >= 5
    assert {each["initial_fetch_timeout"] for each in sources} == {"0s"}


def test_stream_is_delta_with_short_back_off() -> None:
    ads = _bootstrap()["dynamic_resources"]["ads_config"]
    assert (ads["api_type"], ads["set_node_on_first_message_only"]) == ("DELTA_GRPC", True)
    retry = ads["grpc_services"][0]["envoy_grpc"]["retry_policy"]["retry_back_off"]
    assert retry == {"base_interval": "0.2s", "max_interval": "5s"}


def test_server_is_known_by_our_authority_and_its_name() -> None:
    start = envoy.bootstrap(
        proxies.settings(),
        proxies.values(proxies.settings()),
        installation=Installation(xds_host="kagenti-xds.here.svc", xds_authority="PEM"),
    )
    cluster = next(each for each in start["static_resources"]["clusters"] if each["name"] == "xds")
    tls = cluster["transport_socket"]["typed_config"]
    validation = tls["common_tls_context"]["validation_context"]
    assert tls["sni"] == "kagenti-xds.here.svc"
    assert validation["trusted_ca"] == {"inline_string": "PEM"}
    assert validation["match_typed_subject_alt_names"][0]["matcher"] == {"exact": "kagenti-xds.here.svc"}
    assert cluster["wait_for_warm_on_init"] is False


@pytest.mark.parametrize("feature", FEATURES)
def test_no_cluster_of_a_name_holds_up_the_start(feature: str) -> None:
    """Silent DNS would otherwise withhold the first snapshot (facts section 11)."""
    proxy = features.proxy(feature)
    given = [each.body for each in envoy.resources(proxy) if each.type == "cluster"]
    clusters = (*given, *_bootstrap(feature)["static_resources"]["clusters"])
    named = [each for each in clusters if each.get("type") == "STRICT_DNS"]
    assert named
    assert all(each["wait_for_warm_on_init"] is False for each in named)
    assert all(each["dns_lookup_family"] == "V4_PREFERRED" for each in named)


def test_token_is_a_file_and_never_in_the_bootstrap() -> None:
    assert layout.TOKEN_FILE in json.dumps(envoy.sds_token())
    injected = [each for each in _objects(_bootstrap()) if "sds_config" in each]
    assert injected == [{"name": "xds-token", "sds_config": {"path_config_source": {"path": layout.SDS_FILE}}}]


@pytest.mark.parametrize(
    ("feature", "refused"),
    [
        ("default", {15123, 15124, 15021}),
        ("ports", {16001, 16002, 15021}),
        ("authbridge", {15123, 15124, 15021, 9090}),
    ],
)
def test_own_ports_are_refused_from_outside(feature: str, refused: set[int]) -> None:
    chains = _listener(feature, "inbound")["filter_chains"]
    ports = {each["filter_chain_match"]["destination_port"] for each in chains if "filter_chain_match" in each}
    assert ports == refused
    assert [each for each in chains if "filter_chain_match" not in each] == chains[-1:]


@pytest.mark.parametrize("name", ["inbound", "outbound"])
def test_listens_on_both_families(name: str) -> None:
    address = _listener("default", name)["address"]["socket_address"]
    assert (address["address"], address["ipv4_compat"]) == ("::", True)


def test_authbridge_is_told_the_direction_by_us_alone() -> None:
    """The processor believes the header's first value, so a caller's is overwritten and an app's taken off."""
    inbound, outbound = (json.dumps(_listener("authbridge", name)) for name in ("inbound", "outbound"))
    setting = {"header": {"key": "x-authbridge-direction", "value": "inbound"}}
    assert json.dumps({"append": {**setting, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}) in inbound
    assert json.dumps({"remove": "x-authbridge-direction"}) in outbound
    assert "x-authbridge-direction" not in json.dumps(_bootstrap("default"))
    names = {each["name"] for each in _bootstrap("authbridge")["static_resources"]["clusters"]}
    assert layout.EXT_PROC_CLUSTER in names


def test_service_is_named_in_its_spans() -> None:
    tracers = [each for each in _objects(_bootstrap("http-collector")) if "service_name" in each]
    assert {each["service_name"] for each in tracers} == {"forecast"}
    assert all(each["resource_detectors"][0]["typed_config"]["attributes"] == {"team": "a"} for each in tracers)
    assert {each["http_service"]["http_uri"]["uri"] for each in tracers} == {"http://otel.example/base/v1/traces"}
