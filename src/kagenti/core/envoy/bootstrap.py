"""Resolved settings → Envoy's bootstrap (JSON, which is YAML): everything that stays as it is for the life of the pod.

Listeners stand here and never come over ADS, so nothing drains open streams; they serve nothing, not even the status
port, until every route table and extension that they name has arrived once (facts §11).
"""

from typing import Final

from kagenti.core.envoy import authbridge, inbound, layout, manager, outbound
from kagenti.core.envoy.layout import JSON
from kagenti.core.envoy.proto import ADS, assignment, extension, http_options, socket, typed
from kagenti.core.installation import Installation
from kagenti.core.settings import WorkloadValues
from kagenti.core.settings.model import ResolvedSettings
from kagenti_api.v1alpha1 import wellknown

_TLS: Final = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_CONNECTIONS: Final = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
_MOST_CONNECTIONS: Final = 5_000  # some 30 KiB each, of the 256 MiB that the container may use
_SECRET: Final = "xds-token"  # noqa: S105  # a name, not a password


def bootstrap(settings: ResolvedSettings, values: WorkloadValues, *, installation: Installation) -> JSON:
    """Returns the bootstrap; the node id comes by ``--service-node``, since the pod has no name yet at admission."""
    listeners = [_status(), inbound.listener(settings, values), outbound.listener(settings, values)]
    clusters = [_xds(installation), _admin()]
    if authbridge.bridged(settings):
        clusters.append(authbridge.cluster())
    return {
        "node": {"cluster": "kagenti", "metadata": {"kagenti.io/layout": layout.LAYOUT}},
        "admin": {"address": {"pipe": {"path": layout.ADMIN_SOCKET, "mode": 0o600}}},
        "dynamic_resources": {"ads_config": _ads(), "cds_config": ADS},
        "static_resources": {"listeners": listeners, "clusters": clusters},
        "overload_manager": _overload(),
    }


def sds_token() -> JSON:
    """Returns the SDS file that points Envoy to the projected token, which it reads again as it is rotated."""
    secret = typed(
        "envoy.extensions.transport_sockets.tls.v3.Secret",
        name=_SECRET,
        generic_secret={"secret": {"filename": layout.TOKEN_FILE}},
    )
    return {"resources": [secret]}


def _ads() -> JSON:
    back_off = {"base_interval": "0.2s", "max_interval": "5s"}
    service = {"cluster_name": layout.XDS_CLUSTER, "retry_policy": {"retry_back_off": back_off}}
    return {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [{"envoy_grpc": service}],
    }


def _status() -> JSON:
    """Readiness and metrics out of the admin pipe; nothing else of it."""
    metrics = {"cluster": layout.ADMIN_CLUSTER, "prefix_rewrite": "/stats/prometheus"}
    routes = [
        {"match": {"path": "/ready"}, "route": {"cluster": layout.ADMIN_CLUSTER}},
        {"match": {"path": "/metrics"}, "route": metrics},
        {"match": {"prefix": "/"}, "direct_response": {"status": 404}},
    ]
    chain = {"filters": [manager.answering(layout.STATUS, routes)]}
    # A pod that is at its limit is still alive: the probe gets its answer.
    return manager.listener(layout.STATUS, layout.STATUS_PORT, [chain], ignore_global_conn_limit=True)


def _admin() -> JSON:
    name = layout.ADMIN_CLUSTER
    address = {"pipe": {"path": layout.ADMIN_SOCKET}}
    return {"name": name, "type": "STATIC", "load_assignment": assignment(name, address)}


def _overload() -> JSON:
    limit = extension(
        "envoy.resource_monitors.global_downstream_max_connections",
        _CONNECTIONS,
        max_active_downstream_connections=_MOST_CONNECTIONS,
    )
    return {"resource_monitors": [limit]}


def _xds(installation: Installation) -> JSON:
    """Our server: TLS by our own authority, its name checked, and the pod's token on every stream (facts §7)."""
    host = installation.xds_host
    validation: dict[str, JSON] = {
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": host}}],
    }
    if installation.xds_authority:
        validation["trusted_ca"] = {"inline_string": installation.xds_authority}
    common = {"alpn_protocols": ["h2"], "validation_context": validation}
    return {
        "name": layout.XDS_CLUSTER,
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_PREFERRED",
        "wait_for_warm_on_init": False,
        "load_assignment": assignment(layout.XDS_CLUSTER, socket(host, wellknown.XDS_PORT)),
        "transport_socket": extension("envoy.transport_sockets.tls", _TLS, sni=host, common_tls_context=common),
        "typed_extension_protocol_options": http_options(
            explicit_http_config={
                "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "5s"}}
            },
            http_filters=[_injector(), _codec()],
        ),
    }


def _injector() -> JSON:
    credential = extension(
        "envoy.http.injected_credentials.generic",
        "envoy.extensions.http.injected_credentials.generic.v3.Generic",
        credential={"name": _SECRET, "sds_config": {"path_config_source": {"path": layout.SDS_FILE}}},
        header="authorization",
        header_value_prefix="Bearer ",
    )
    message = "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector"
    return extension("envoy.filters.http.credential_injector", message, overwrite=True, credential=credential)


def _codec() -> JSON:
    message = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
    return extension("envoy.filters.http.upstream_codec", message)
