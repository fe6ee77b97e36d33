"""Clusters that outbound requests leave by: pinned to one host, or resolved from the host that the request names.

A request that carries an exchanged token only goes to a cluster that Envoy resolves itself, from the host that the route
matched. ORIGINAL_DST, which trusts the dialled address, is for requests without one (facts section 3, "Host-spoof leak").
"""

import functools
from typing import Final

from kagenti.core.envoy import clusters
from kagenti.core.envoy.layout import JSON, TCP_OUT, TLS_OUT
from kagenti.core.envoy.proto import extension, http_options
from kagenti.core.settings import digest, short
from kagenti.core.settings.identity_provider import origin_of

DYNAMIC: Final = "dynamic"
DYNAMIC_TLS: Final = "dynamic_tls"
"""The clusters of ``*.suffix`` rules, of odd ports, and of unlisted hosts under Exchange; without and with TLS."""

_TLS_CONTEXT: Final = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_CLUSTER: Final = "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig"
_PROTOCOLS: Final[JSON] = {"http2_protocol_options": {}}  # as the app speaks: gRPC stays HTTP/2
_REMEMBERED: Final = 1024  # hosts and URLs: rules of the upper layers name the same ones for every workload
# Where a URL leads that is none (RFC 6761 section 6.4: never resolves); the merge has refused it before it comes here.
_NOWHERE: Final = ("http", "invalid.", 80)


def dns_cache() -> JSON:
    """Returns the one DNS cache: filters and clusters must show it identically, else Envoy refuses (facts section 11)."""
    return {"name": "kagenti", "dns_lookup_family": "V4_PREFERRED"}


def pinned_name(host: str, port: int, *, tls: bool) -> str:
    """Returns the name of the cluster of exactly that host and port."""
    return f"dst-{short(digest([host, port, tls]))}"


@functools.lru_cache(_REMEMBERED)
def pinned(host: str, port: int, *, tls: bool) -> JSON:
    """Returns the cluster of exactly that host and port, resolved by Envoy."""
    return clusters.named(pinned_name(host, port, tls=tls), host, port, **_spoken(tls=tls))


@functools.cache
def dynamic(*, tls: bool) -> JSON:
    """Returns the cluster that resolves the host of each request; port as the request says, else 80, or 443 with TLS."""
    return _dynamic(DYNAMIC_TLS if tls else DYNAMIC) | _spoken(tls=tls)


@functools.cache
def tls_out(*, by_name: bool) -> JSON:
    """Returns the cluster of TLS connections: to the real address of the server name, or where the app dialled."""
    return _dynamic(TLS_OUT) if by_name else clusters.original_destination(TLS_OUT)


@functools.cache
def tcp_out(*, closed: bool) -> JSON:
    """Returns the cluster of other TCP: where the app dialled, or nowhere (no endpoint, so nothing is even dialled)."""
    if closed:
        return {"name": TCP_OUT, "type": "STATIC", "connect_timeout": "1s"}
    return clusters.original_destination(TCP_OUT)


@functools.lru_cache(_REMEMBERED)
def token_name(url: str) -> str:
    """Returns the name of the cluster of a token endpoint: one for each origin."""
    return f"token-{short(digest(list(origin_of(url) or _NOWHERE)))}"


@functools.lru_cache(_REMEMBERED)
def token(url: str) -> JSON:
    """Returns the cluster of a token endpoint; name and certificate are the URL's, whatever a request says."""
    scheme, host, port = origin_of(url) or _NOWHERE
    fields = {"transport_socket": clusters.tls(host)} if scheme == "https" else {}
    return clusters.named(token_name(url), host, port, **fields)


def _dynamic(name: str) -> JSON:
    config = extension("envoy.clusters.dynamic_forward_proxy", _CLUSTER, dns_cache_config=dns_cache())
    return {"name": name, "lb_policy": "CLUSTER_PROVIDED", "cluster_type": config, **clusters.connections()}


def _spoken(*, tls: bool) -> JSON:
    """With TLS, the certificate must be that of the request's host, which the route has matched (facts section 3)."""
    # Without TLS the checks mean nothing, but Envoy takes no dynamic cluster that lacks them.
    checked = {"auto_sni": True, "auto_san_validation": True}
    options = http_options(use_downstream_protocol_config=_PROTOCOLS, upstream_http_protocol_options=checked)
    spoken: dict[str, JSON] = {"typed_extension_protocol_options": options}
    if tls:
        roots = {"validation_context": {"trusted_ca": {"filename": clusters.SYSTEM_ROOTS}}}
        spoken["transport_socket"] = extension("envoy.transport_sockets.tls", _TLS_CONTEXT, common_tls_context=roots)
    return spoken
