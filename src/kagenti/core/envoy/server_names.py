"""TLS that passes through: which server names may leave, and to which address.

Envoy cannot look inside, so it decides by the server name (SNI) that the client sends. Where the default policy is Deny
the connection goes to the real address of that name, for the dialled one could be anybody's (facts section 11).
"""

from collections.abc import Iterable
from typing import Final

from kagenti.core.envoy import layout, upstreams
from kagenti.core.envoy.destinations import Destination, Destinations, covers
from kagenti.core.envoy.layout import JSON
from kagenti.core.envoy.proto import extension, slot, typed
from kagenti.core.envoy.proxy import Resource

_RBAC: Final = "envoy.extensions.filters.network.rbac.v3.RBAC"
_SNI: Final = "envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig"
_STATE: Final = "envoy.extensions.filters.network.set_filter_state.v3.Config"
_TCP: Final = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_CEL: Final = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
_STDOUT: Final = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
_EARLY_BYTES: Final = 65536
_HTTPS: Final = 443


def chain() -> JSON:
    """Returns the static filter chain of TLS; two slots of it are filled by ECDS, its cluster by CDS."""
    filters = [
        _dialled_port(),
        slot(layout.TLS_RBAC, _RBAC),
        slot(layout.TLS_SNI, _RBAC, _SNI),
        # The RBAC decides at the first byte: until then nothing is dialled.
        tcp_proxy(layout.TLS_OUT, upstream_connect_mode="ON_DOWNSTREAM_DATA", max_early_data_bytes=_EARLY_BYTES),
    ]
    return {"filter_chain_match": {"transport_protocol": "tls"}, "filters": filters}


def tcp_proxy(cluster: str, **fields: JSON) -> JSON:
    """Returns the filter that forwards bytes to a cluster; refused connections leave a line in the access log."""
    return extension("tcp", _TCP, stat_prefix=cluster, cluster=cluster, access_log=[_refusals(cluster)], **fields)


def resources(found: Destinations) -> list[Resource]:
    """Returns the clusters and extensions of TLS and of other TCP, which Deny closes altogether: it names no host."""
    closed = found.default.action == "Deny"
    sni = typed(_SNI, dns_cache_config=upstreams.dns_cache(), port_value=_HTTPS)
    return [
        Resource("cluster", layout.TLS_OUT, upstreams.tls_out(by_name=closed)),
        Resource("cluster", layout.TCP_OUT, upstreams.tcp_out(closed=closed)),
        _extension(layout.TLS_RBAC, typed(_RBAC, stat_prefix=layout.TLS_RBAC, rules=rules(found))),
        _extension(layout.TLS_SNI, sni if closed else typed(_RBAC, stat_prefix=layout.TLS_SNI)),
    ]


def rules(found: Destinations) -> JSON:
    """Returns the RBAC over server names: under Deny what may pass, otherwise what may not.

    A rule speaks for its hosts except those for which a more specific rule says the opposite.
    """
    closed = found.default.action == "Deny"
    if closed:
        speaking = [one for one in (*found.rules, *found.passes) if one.action != "Deny"]
    else:
        speaking = [one for one in found.rules if one.action == "Deny"]
    opposed = [one for one in found.rules if (one.action == "Deny") == closed]
    policies = {one.name: _policy(one, _exceptions(one, opposed, passes=found.passes)) for one in speaking}
    return {"action": "ALLOW" if closed else "DENY", "policies": policies}


def _exceptions(
    destination: Destination, opposed: Iterable[Destination], *, passes: tuple[Destination, ...]
) -> list[Destination]:
    if destination in passes:  # behind every rule
        return [one for one in opposed if covers(one.host, destination.host) and _meet(one, destination)]
    return [one for one in opposed if _narrower(one, destination)]


def _narrower(one: Destination, other: Destination) -> bool:
    """Whether ``one`` answers before ``other`` for some host and port of both."""
    if one.host == other.host:
        return one.port is not None and other.port is None
    return covers(other.host, one.host) and _meet(one, other)


def _meet(one: Destination, other: Destination) -> bool:
    return one.port is None or other.port is None or one.port == other.port


def _policy(destination: Destination, exceptions: list[Destination]) -> JSON:
    allowed = _permission(destination)
    if exceptions:
        others = {"or_rules": {"rules": [_permission(one) for one in exceptions]}}
        allowed = {"and_rules": {"rules": [allowed, {"not_rule": others}]}}
    return {"permissions": [allowed], "principals": [{"any": True}]}


def _permission(destination: Destination) -> JSON:
    kind, text = ("suffix", destination.suffix) if destination.suffix else ("exact", destination.host)
    # No name of RFC 6066 section 3 ends with the dot of the root, but some clients send it, and it is the same name.
    spelt = [{"requested_server_name": {kind: found, "ignore_case": True}} for found in (text, f"{text}.")]
    name = {"or_rules": {"rules": spelt}}
    if destination.port is None:
        return name
    return {"and_rules": {"rules": [name, {"destination_port": destination.port}]}}


def _extension(name: str, config: JSON) -> Resource:
    return Resource("extension", name, {"name": name, "typed_config": config})


def _dialled_port() -> JSON:
    """Returns the filter that makes the port that the app dialled that of the upstream, where the name is resolved."""
    text = {"text_format_source": {"inline_string": "%DOWNSTREAM_LOCAL_PORT%"}}
    state = {"object_key": "envoy.upstream.dynamic_port", "format_string": text}
    return extension("port", _STATE, on_new_connection=[state])


def _refusals(name: str) -> JSON:
    operators = {
        "time": "%START_TIME%",
        "listener": layout.OUTBOUND,
        "chain": name,
        "server_name": "%REQUESTED_SERVER_NAME%",
        "destination": "%DOWNSTREAM_LOCAL_ADDRESS%",
        "reason": "%CONNECTION_TERMINATION_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
    }
    log = extension(
        "envoy.access_loggers.stdout", _STDOUT, log_format={"json_format": operators, "omit_empty_values": True}
    )
    # Refused by the RBAC, no such address (UF, DF), or no endpoint because the policy has none (UH)
    refused = "connection.termination_details.startsWith('rbac_access_denied') || response.flags != 0"
    return {**log, "filter": {"extension_filter": extension("cel", _CEL, expression=refused)}}
