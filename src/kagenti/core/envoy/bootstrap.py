"""Resolved settings → Envoy's bootstrap, as nested dicts in proto field names (JSON, which is YAML).

First stage: admin on a private pipe, the status listener, ADS towards our xDS server with the projected token, and the
two interception ports, which answer 503 until the xDS stage gives them their filter chains. The layout has a number.
"""

from typing import Final

from kagenti.core.envoy.layout import JSON, LAYOUT, SDS_FILE, TOKEN_FILE
from kagenti.core.installation import Installation
from kagenti.core.settings import WorkloadValues
from kagenti.core.settings.model import ResolvedSettings
from kagenti_api.v1alpha1 import wellknown

_HCM: Final = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER: Final = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_INJECTOR: Final = "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector"
_GENERIC: Final = "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic"
_UPSTREAM_CODEC: Final = "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
_HTTP: Final = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TLS: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


def bootstrap(settings: ResolvedSettings, values: WorkloadValues, *, installation: Installation) -> JSON:
    """Returns the bootstrap; the node id comes by ``--service-node``, since the pod has no name yet at admission."""
    interception = "identity.outbound.trafficInterception"
    ports = (
        ("outbound", settings.number(f"{interception}.proxyPort")),
        ("inbound", settings.number(f"{interception}.inboundProxyPort")),
    )
    return {
        "admin": {"address": {"pipe": {"path": "/tmp/envoy-admin.sock"}}},  # noqa: S108  # in Envoy's own container
        "node": {"cluster": "kagenti", "metadata": {"kagenti.io/layout": LAYOUT}},
        "static_resources": {
            "listeners": [_status_listener(), *(_closed_listener(name, port) for name, port in ports)],
            "clusters": [_xds_cluster(installation)],
        },
    }


def sds_token() -> JSON:
    """Returns the SDS file that points Envoy to the projected token, which it reads again as it is rotated."""
    secret = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": "xds-token",
        "generic_secret": {"secret": {"filename": TOKEN_FILE}},
    }
    return {"resources": [secret]}


def _listener(name: str, port: int, routes: JSON) -> JSON:
    manager = {
        "@type": _HCM,
        "stat_prefix": name,
        "route_config": {"name": name, "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    address = {"socket_address": {"address": "::", "ipv4_compat": True, "port_value": port}}
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"name": name, "address": address, "filter_chains": [{"filters": filters}]}


def _answer(prefix: str, status: int, text: str) -> JSON:
    return {"match": {"prefix": prefix}, "direct_response": {"status": status, "body": {"inline_string": text}}}


def _status_listener() -> JSON:
    return _listener("status", wellknown.STATUS_PORT, [_answer("/ready", 200, "ready\n")])


def _closed_listener(name: str, port: int) -> JSON:
    return _listener(name, port, [_answer("/", 503, "kagenti: no policy has arrived yet\n")])


def _xds_cluster(installation: Installation) -> JSON:
    host = installation.xds_host
    address = {"socket_address": {"address": host, "port_value": wellknown.XDS_PORT}}
    endpoint = {"endpoint": {"address": address}}
    validation = {"match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": host}}]}
    if installation.xds_authority:
        validation["trusted_ca"] = {"inline_string": installation.xds_authority}  # type: ignore[assignment]  # one JSON object
    return {
        "name": "xds",
        "type": "STRICT_DNS",
        "wait_for_warm_on_init": False,
        "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {"@type": _TLS, "sni": host, "common_tls_context": {"validation_context": validation}},
        },
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _http_options()},
    }


def _http_options() -> JSON:
    source = {"path_config_source": {"path": SDS_FILE}}
    credential = {
        "name": "envoy.http.injected_credentials.generic",
        "typed_config": {
            "@type": _GENERIC,
            "credential": {"name": "xds-token", "sds_config": source},
            "header": "authorization",
            "header_value_prefix": "Bearer ",
        },
    }
    filters = [
        {
            "name": "envoy.filters.http.credential_injector",
            "typed_config": {"@type": _INJECTOR, "overwrite": True, "credential": credential},
        },
        {"name": "envoy.filters.http.upstream_codec", "typed_config": {"@type": _UPSTREAM_CODEC}},
    ]
    return {"@type": _HTTP, "explicit_http_config": {"http2_protocol_options": {}}, "http_filters": filters}
