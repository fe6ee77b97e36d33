"""Clusters of both directions: where requests go, and how connections to them are made."""

import functools
import ipaddress
from collections.abc import Iterator
from typing import Final

from kagenti.core.envoy import layout, tracing
from kagenti.core.envoy.layout import JSON
from kagenti.core.envoy.proto import assignment, extension, http_options, socket
from kagenti.core.envoy.proxy import Proxy, Resource

_TLS: Final = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_CONNECT: Final = "5s"
_MANY: Final = 65536
_REMEMBERED: Final = 1024  # hosts
SYSTEM_ROOTS: Final = "/etc/ssl/certs/ca-certificates.crt"
"""Authorities of the image: distroless and Debian alike."""


def resources(proxy: Proxy) -> Iterator[Resource]:
    """Yields the clusters that both directions name: the app, the dialled address, the collector."""
    target = next(iter(proxy.port_mapping.values()), None)
    if target is not None:
        yield _cluster(app(target))
    yield _cluster(original_destination(layout.ORIGINAL_DESTINATION))
    yield _cluster(_collector(tracing.collector(proxy.settings), http2=tracing.transport(proxy.settings) == "grpc"))


def _cluster(body: JSON) -> Resource:
    return Resource("cluster", body["name"], body)


def app(port: int) -> JSON:
    """Returns the app's cluster: its port on loopback, IPv4 and IPv6."""
    endpoint = {"address": socket("127.0.0.1", port), "additional_addresses": [{"address": socket("::1", port)}]}
    return {
        "name": layout.APP_CLUSTER,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": layout.APP_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
        **connections(),
        "typed_extension_protocol_options": as_called(),
    }


def original_destination(name: str) -> JSON:
    """Returns a cluster that goes where the caller dialled; never for a request that we gave a token (facts §3)."""
    return {
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        **connections(),
        "typed_extension_protocol_options": as_called(),
    }


def named(name: str, host: str, port: int, **fields: JSON) -> JSON:
    """Returns a cluster of one host: an address as it is, a name as DNS gives it, IPv4 first (facts §10, §11).

    Envoy does not wait for the first answer: silent DNS would hold up its start and every update of clusters.
    """
    by_name = {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED", "wait_for_warm_on_init": False}
    how = {"type": "STATIC"} if _is_address(host) else by_name
    return {"name": name, **how, "load_assignment": assignment(name, socket(host, port)), **connections(), **fields}


def connections() -> JSON:
    """Returns the limits of a cluster: the app's own, not Envoy's 1,024 requests, which long streams use up."""
    limits = {"max_connections": _MANY, "max_pending_requests": _MANY, "max_requests": _MANY, "max_retries": 3}
    return {"connect_timeout": _CONNECT, "circuit_breakers": {"thresholds": [limits]}}


def as_called() -> JSON:
    """Returns the protocol options of an upstream that is spoken to as the caller spoke to us (HTTP/1.1, h2c)."""
    return http_options(use_downstream_protocol_config={"http2_protocol_options": {}})


def tls(host: str, *, alpn: tuple[str, ...] = ()) -> JSON:
    """Returns a transport socket that originates TLS to one host: system roots, server name and certificate checked."""
    numeric = _is_address(host)
    validation = {
        "trusted_ca": {"filename": SYSTEM_ROOTS},
        "match_typed_subject_alt_names": [
            {"san_type": "IP_ADDRESS" if numeric else "DNS", "matcher": {"exact": host}},
        ],
    }
    common = {"validation_context": validation, **({"alpn_protocols": list(alpn)} if alpn else {})}
    name = {} if numeric else {"sni": host}  # RFC 6066 section 3: no addresses in server names
    return extension("envoy.transport_sockets.tls", _TLS, common_tls_context=common, **name)


@functools.lru_cache(_REMEMBERED)
def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _collector(found: tracing.Collector | None, *, http2: bool) -> JSON:
    """Without an exporter the cluster is empty: the tracer of the static listeners names it all the same."""
    if found is None:
        return {"name": layout.COLLECTOR_CLUSTER, "type": "STATIC", "connect_timeout": _CONNECT}
    fields: dict[str, JSON] = {}
    if http2:
        fields["typed_extension_protocol_options"] = http_options(explicit_http_config={"http2_protocol_options": {}})
    if found.tls:
        fields["transport_socket"] = tls(found.host, alpn=("h2",) if http2 else ())
    return named(layout.COLLECTOR_CLUSTER, found.host, found.port, **fields)
