"""Dicts become the messages that ParseDict makes of them, and a fault says where it is."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from kagenti.core.ads import CLUSTER, EXTENSION, ROUTE
from kagenti.core.envoy import layout
from kagenti.xds import messages

JSON = Any  # a part of Envoy's configuration
GOLDEN = sorted((Path(__file__).parents[1] / "data" / "envoy").glob("*bound-*.json"))
PREFIX = "type.googleapis.com/"
TLS = PREFIX + "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
RBAC = PREFIX + "envoy.extensions.filters.http.rbac.v3.RBACPerRoute"
JWT = PREFIX + "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"

SAMPLES: dict[str, tuple[str, JSON]] = {
    "durations, enums, nested": (
        CLUSTER,
        {
            "name": "a",
            "type": "STRICT_DNS",
            "dns_lookup_family": "V4_PREFERRED",
            "connect_timeout": "0.25s",
            "dns_refresh_rate": "3600s",
            "cleanup_interval": "-1.000000001s",
            "load_assignment": {"cluster_name": "a", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
                "socket_address": {"address": "a.example", "port_value": 443}}}}]}]},
        },
    ),
    "wrappers, false and zero among them": (
        CLUSTER,
        {
            "name": "a",
            "wait_for_warm_on_init": False,
            "per_connection_buffer_limit_bytes": 0,
            "circuit_breakers": {"thresholds": [{"max_connections": 1, "retry_budget": {"budget_percent": {"value": 2.5}}}]},
        },
    ),
    "any inside a map": (
        CLUSTER,
        {
            "name": "a",
            "typed_extension_protocol_options": {
                HTTP: {"@type": PREFIX + HTTP, "explicit_http_config": {"http2_protocol_options": {}}}
            },
            "transport_socket": {
                "name": "tls",
                "typed_config": {
                    "@type": TLS,
                    "sni": "a.example",
                    "common_tls_context": {"validation_context": {
                        "trusted_ca": {"inline_bytes": "AAEC/w=="},
                        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "a.example"}}],
                    }},
                },
            },
        },
    ),
    "struct metadata of every kind": (
        ROUTE,
        {
            "name": "outbound",
            "metadata": {"filter_metadata": {"envoy.filters.http.lua": {
                "audience": "https://tool.example",
                "scopes": ["a", "b", 1, 2.5, True, None, {"deep": []}, {}],
                "none": None,
                "nothing": {},
                "flag": False,
                "zero": 0,
            }}},
        },
    ),
    "oneofs and typed_per_filter_config": (
        ROUTE,
        {
            "name": "inbound",
            "validate_clusters": True,
            "virtual_hosts": [{
                "name": "v",
                "domains": ["*"],
                "routes": [{
                    "match": {"path_separated_prefix": "/x", "headers": [{"name": ":method", "string_match": {
                        "safe_regex": {"regex": "GET|HEAD"}}}]},
                    "route": {"cluster": "app", "timeout": "0s", "idle_timeout": "3600s"},
                    "tracing": {"random_sampling": {"numerator": 2500, "denominator": "TEN_THOUSAND"}},
                    "typed_per_filter_config": {"rbac": {"@type": RBAC, "rbac": {"rules": {"action": "ALLOW", "policies": {
                        "scopes": {
                            "permissions": [{"and_rules": {"rules": [{"sourced_metadata": {
                                "metadata_source": "DYNAMIC",
                                "metadata_matcher": {
                                    "filter": "envoy.filters.http.jwt_authn",
                                    "path": [{"key": "jwt"}, {"key": "scope"}],
                                    "value": {"list_match": {"one_of": {"string_match": {"exact": "agent:invoke"}}}},
                                },
                            }}]}}],
                            "principals": [{"any": True}],
                        }}}}}},
                }],
            }],
        },
    ),
    "jwt_authn": (
        EXTENSION,
        {"name": "jwt", "typed_config": {
            "@type": JWT,
            "providers": {"p": {
                "issuer": "https://idp.example/realms/a",
                "audiences": ["https://weather.example"],
                "local_jwks": {"inline_string": '{"keys":[]}'},
                "payload_in_metadata": "jwt",
                "normalize_payload_in_metadata": {"space_delimited_claims": ["scope"]},
                "require_expiration": True,
                "clock_skew_seconds": 5,
            }},
            "requirement_map": {"r1": {"provider_name": "p"}, "r2": {"allow_missing": {}}},
        }},
    ),
    "lua, a type that no table names": (
        EXTENSION,
        {"name": "lua", "typed_config": {
            "@type": PREFIX + "envoy.extensions.filters.http.lua.v3.Lua",
            "source_codes": {"a.lua": {"inline_string": "-- ☂"}},
        }},
    ),
    "xds matcher with a wide number, an any with a duration": (
        EXTENSION,
        {"name": "a", "typed_config": {"@type": PREFIX + "google.protobuf.Duration", "value": "1.5s"}},
    ),
    "null is absent": (CLUSTER, {"name": "a", "connect_timeout": None, "load_assignment": None, "health_checks": None}),
    "timestamps, masks, 64 bits": (
        PREFIX + "envoy.service.status.v3.ClientConfig",
        {"generic_xds_configs": [{"last_updated": "2026-11-24T18:00:00.5Z", "name": "x"}]},
    ),
    "64 bits as text": (CLUSTER, {"name": "a", "ring_hash_lb_config": {"minimum_ring_size": "1099511627776"}}),
}  # fmt: skip


def parsed(type_url: str, body: JSON) -> Message:
    """The same by protobuf's own parser."""
    return json_format.ParseDict(body, type(messages.build(type_url, body))())


def readable(message: Message) -> JSON:
    """A message with every Any taken apart: ParseDict does not sort the maps inside."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


@pytest.mark.parametrize("name", SAMPLES)
def test_equals_what_protobuf_parses(name: str) -> None:
    type_url, body = SAMPLES[name]
    ours, theirs = messages.build(type_url, body), parsed(type_url, body)
    assert readable(ours) == readable(theirs)
    assert len(ours.SerializeToString()) == len(theirs.SerializeToString())


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_equals_what_protobuf_parses_of_every_golden_file(file: Path) -> None:
    for key, body in json.loads(file.read_text()).items():
        type_url = layout.TYPE_URLS[key.split()[0]]
        assert readable(messages.build(type_url, body)) == readable(parsed(type_url, body)), key


def test_there_are_golden_files() -> None:
    assert len(GOLDEN) > 20


STRUCTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), STRUCTS, max_size=4))
def test_any_json_is_a_struct(value: JSON) -> None:
    body = {"metadata": {"filter_metadata": {"a": value}}}
    assert readable(messages.build(ROUTE, body)) == readable(parsed(ROUTE, body))


@given(st.integers(-(10**11), 10**11), st.integers(0, 999_999_999), st.integers(1, 9))
def test_durations_equal_what_protobuf_parses(seconds: int, nanos: int, digits: int) -> None:
    text = f"{seconds}.{nanos:09d}"[: len(str(seconds)) + 1 + digits] + "s"
    body = {"connect_timeout": text}
    assert messages.build(CLUSTER, body) == parsed(CLUSTER, body)


@pytest.mark.parametrize(
    ("type_url", "body", "message"),
    [
        (
            CLUSTER,
            {"load_assignment": {"endpoints": [{}, {"lb_endpoints": [{"endpoint": {"adress": {}}}]}]}},
            'field "load_assignment.endpoints[1].lb_endpoints[0].endpoint.adress": envoy.config.endpoint.v3.Endpoint has '
            "no such field in xds-protos, which may be older than Envoy's",
        ),
        (CLUSTER, {"type": "STRICT_DSN"}, "field \"type\": 'STRICT_DSN' is none of ["),
        (CLUSTER, {"connect_timeout": "250ms"}, 'field "connect_timeout": want a duration like "0.25s", not \'250ms\''),
        (CLUSTER, {"name": 3}, 'field "name": '),
        (CLUSTER, {"health_checks": {}}, 'field "health_checks": want a list, not {}'),
        (ROUTE, {"metadata": {"filter_metadata": [1]}}, 'field "metadata.filter_metadata": want an object, not [1]'),
        (CLUSTER, {"health_checks": [3]}, 'field "health_checks[0]": want an object of '),
        (CLUSTER, {"per_connection_buffer_limit_bytes": 2**40}, 'field "per_connection_buffer_limit_bytes": '),
        (CLUSTER, {"type": "STATIC", "cluster_type": {"name": "x"}}, 'field "cluster_type": excludes "type" in '),
        (EXTENSION, {"typed_config": {"name": "x"}}, 'field "typed_config": want an object with "@type", not '),
        (
            EXTENSION,
            {"typed_config": {"@type": PREFIX + "os.path.Nope"}},
            'field "typed_config.@type": no message type',
        ),
        (
            EXTENSION,
            {"typed_config": {"@type": JWT, "providers": {"p": {"issuer": "x", "nope": 1}}}},
            'field "typed_config.providers[p].nope": envoy.extensions.filters.http.jwt_authn.v3.JwtProvider has no such',
        ),
        (ROUTE, {"metadata": {"filter_metadata": {"a": {"b": [object()]}}}}, 'field "metadata.filter_metadata[a]'),
        (ROUTE, [], ": want an object of envoy.config.route.v3.RouteConfiguration, not []"),
    ],
)
def test_a_fault_names_its_place(type_url: str, body: JSON, message: str) -> None:
    with pytest.raises(messages.Unbuildable) as caught:
        messages.encode(type_url, "x", body)
    text = str(caught.value)
    assert text.startswith(f'cannot build "x": {type_url.removeprefix(PREFIX)}')
    assert message in text


def test_the_version_is_the_content_whatever_the_order_of_keys() -> None:
    body = {"metadata": {"filter_metadata": {"a": {str(n): n for n in range(20)}, "b": {}}}, "name": "x"}
    other = {"name": "x", "metadata": {"filter_metadata": {"b": {}, "a": {str(n): n for n in reversed(range(20))}}}}
    one, same = messages.encode(ROUTE, "x", body), messages.encode(ROUTE, "x", other)
    assert (one.version, one.payload) == (same.version, same.payload)
    assert messages.encode(ROUTE, "x", {**body, "name": "y"}).version != one.version
