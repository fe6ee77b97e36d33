"""Outbound traffic: the static listener, and the route table, clusters and extensions that give it its policy.

Plain HTTP is routed by the host that the request names, to clusters that Envoy resolves itself; TLS and other TCP pass
through or are closed. The listener never changes in a pod's life: what is live is RDS, ECDS and CDS (facts section 11).
"""

from collections.abc import Iterator
from typing import Final

from kagenti.core.envoy import authbridge, exchange, layout, manager, routes, server_names, upstreams
from kagenti.core.envoy.destinations import destinations
from kagenti.core.envoy.layout import JSON
from kagenti.core.envoy.proto import direct_response, extension
from kagenti.core.envoy.proxy import Proxy, Resource
from kagenti.core.settings import WorkloadValues
from kagenti.core.settings.model import ResolvedSettings

_FILTERS: Final = "envoy.extensions.filters"
_LOG: Final = {
    "aud": f"%DYNAMIC_METADATA({exchange.LOG_NAMESPACE}:audience)%",
    "exchange": f"%DYNAMIC_METADATA({exchange.LOG_NAMESPACE}:reason)%",
    "sub": f"%DYNAMIC_METADATA({exchange.LOG_NAMESPACE}:sub)%",
}
# Who speaks first is only known after a while: server-first protocols pay this, and then pass as raw TCP (facts §3).
_INSPECTION: Final = "0.5s"
_HTTP_PROTOCOLS: Final = ("http/1.0", "http/1.1", "h2c")


def listener(settings: ResolvedSettings, values: WorkloadValues) -> JSON:
    """Returns the static outbound listener of the bootstrap."""
    plaintext = {"transport_protocol": "raw_buffer", "application_protocols": list(_HTTP_PROTOCOLS)}
    http = {"filter_chain_match": plaintext, "filters": [http_filter(settings, values)]}
    return manager.listener(
        layout.OUTBOUND,
        settings.number(f"{layout.INTERCEPTION}.proxyPort"),
        [*_loops(settings), server_names.chain(), http],
        listener_filters=[
            extension(f"envoy.filters.listener.{name}", f"{_FILTERS}.listener.{name}.v3.{message}")
            for name, message in (
                ("original_dst", "OriginalDst"),
                ("tls_inspector", "TlsInspector"),
                ("http_inspector", "HttpInspector"),
            )
        ],
        listener_filters_timeout=_INSPECTION,
        continue_on_listener_filters_timeout=True,
        default_filter_chain={"filters": [server_names.tcp_proxy(layout.TCP_OUT)]},
    )


def http_filter(settings: ResolvedSettings, values: WorkloadValues) -> JSON:
    """Returns the network filter of plain HTTP: exchange by Lua or by the AuthBridge image, then the route's cluster."""
    bridged = authbridge.bridged(settings)
    dynamic = extension(
        "envoy.filters.http.dynamic_forward_proxy",
        f"{_FILTERS}.http.dynamic_forward_proxy.v3.FilterConfig",
        dns_cache_config=upstreams.dns_cache(),
    )
    early = manager.early_headers({}, removed=[layout.DIRECTION_HEADER])
    return manager.connection_manager(
        layout.OUTBOUND,
        [authbridge.ext_proc() if bridged else exchange.lua_filter(), dynamic],
        settings=settings,
        values=values,
        log=_LOG,
        http_protocol_options={"accept_http_10": True},  # else such a client would get 426, or pass as raw TCP
        strip_trailing_host_dot=True,  # the name from the root is the same name, and rules hold for it
        scheme_header_transformation={"match_upstream": True},  # :scheme https where we originate TLS
        **({"early_header_mutation_extensions": early} if bridged else {}),
    )


def resources(proxy: Proxy) -> Iterator[Resource]:
    """Yields the route table ``outbound``, its clusters, and the extensions of the TLS and TCP chains.

    The clusters ``orig_dst`` and ``otel`` are given by ``clusters`` for both directions.
    """
    found = destinations(proxy.settings, cluster_domain=proxy.installation.cluster_domain, namespaces=proxy.namespaces)
    table = routes.RouteTable(found, proxy)
    for name, body in sorted(table.clusters.items()):
        yield Resource("cluster", name, body)
    yield from server_names.resources(found)
    body = {
        "name": layout.OUTBOUND,
        "virtual_hosts": table.virtual_hosts,
        "ignore_port_in_host_matching": True,  # *.example.com is also x.example.com:8443 (facts section 11)
        "validate_clusters": True,
    }
    yield Resource("route", layout.OUTBOUND, body)


def _loops(settings: ResolvedSettings) -> list[JSON]:
    """Returns chains for connections to the interception ports themselves, which would come back here for ever."""
    answer = direct_response(508, "kagenti: a port of the proxy itself\n")
    own = manager.answering("loop", [{"match": {"prefix": "/"}, "direct_response": answer}])
    ports = [settings.number(f"{layout.INTERCEPTION}.{key}") for key in ("proxyPort", "inboundProxyPort")]
    return [{"filter_chain_match": {"destination_port": port}, "filters": [own]} for port in ports]
