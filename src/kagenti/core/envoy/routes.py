"""Destinations → virtual hosts of the outbound route table, and the clusters that they name.

A virtual host stands for each pattern that a rule names; its routes are all destinations that answer for the pattern, by
the port in the request's host. Patterns are domains of Envoy, never regular expressions, so every name matches as it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from kagenti.core.envoy import authbridge, exchange, layout, tracing, upstreams
from kagenti.core.envoy.destinations import Destination, Destinations, within
from kagenti.core.envoy.layout import JSON
from kagenti.core.envoy.proto import direct_response, typed, virtual_host
from kagenti.core.envoy.proxy import Proxy

_HTTP, _HTTPS = 80, 443
_MALFORMED: Final[JSON] = {
    "name": "malformed",
    "match": {"prefix": "/"},
    "direct_response": direct_response(400, "kagenti: the request's host is not a host with or without a port\n"),
}
_OFF: Final = typed("envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute", disabled=True)
_EVERYTHING: Final = "*"
_NAMESPACES: Final = "(namespaces)"  # parentheses: no host is called so


def _authority(**matcher: JSON) -> JSON:
    return {"name": ":authority", "string_match": matcher}


def _like(regex: str) -> JSON:
    return _authority(safe_regex={"regex": regex})  # RE2, whole string


# Envoy finds the virtual host without looking at what follows the last colon, a second Host included; but who resolves
# the host of a request must not be given more than a host and a port.
_HOST: Final = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
_ANY: Final = _like(_HOST + r"(:[0-9]+)?")
# A host without a port is http's 80; http://host that leaves by TLS is the host's 443.
_AT_HTTP: Final = _like(_HOST + r"(:80)?")
_AT_HTTPS: Final = _like(_HOST + r"(:443)?")
_AT_EITHER: Final = _like(_HOST + r"(:80|:443)?")
_ONE_LABEL: Final = _like(r"[A-Za-z0-9_-]+(:[0-9]+)?")
_TWO_LABELS: Final = _like(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(:[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Way:
    """One way out: which authorities it is for, the cluster, its body unless both directions share it, and TLS."""

    authority: tuple[JSON, ...]
    cluster: str
    body: JSON = None
    tls: bool = False


def virtual_hosts(found: Destinations, proxy: Proxy) -> list[JSON]:
    """Returns the virtual hosts, those of rules and passes first; a domain stands in one of them only."""
    patterns = found.patterns()
    inner = () if found.default.action != "Exchange" else _inside(patterns, proxy)
    made = [
        virtual_host(pattern, [_domain(pattern)], _routes(found, pattern, proxy)) for pattern in (*patterns, *inner)
    ]
    namespaces = [f"*.{name}" for name in sorted(proxy.namespaces) if f"*.{name}" not in patterns] if inner else []
    if namespaces:
        made.append(virtual_host(_NAMESPACES, namespaces, _routes(found, namespaces[0], proxy)))
    return [*made, virtual_host(_EVERYTHING, [_EVERYTHING], _routes(found, _EVERYTHING, proxy))]


def clusters(found: Destinations, proxy: Proxy) -> list[JSON]:
    """Returns the clusters that the virtual hosts name, in a stable order, without those of both directions."""
    patterns = (*found.patterns(), "x.svc", _EVERYTHING)
    bodies = [
        way.body
        for pattern in patterns
        for destination in found.answering(pattern)
        if destination.action != "Deny"
        for way in _ways(destination, pattern, proxy)
        if way.body is not None
    ]
    if not authbridge.bridged(proxy.settings):
        bodies += [upstreams.token(one.token_url) for one in (*found.rules, found.default) if one.action == "Exchange"]
    by_name = {body["name"]: body for body in bodies}
    return [by_name[name] for name in sorted(by_name)]


def _inside(patterns: Sequence[str], proxy: Proxy) -> list[str]:
    """Returns the patterns of hosts inside the cluster that no rule names (spec 01, upstream.tls Auto)."""
    inner = ("*.svc", f"*.svc.{proxy.installation.cluster_domain}")
    return [pattern for pattern in inner if pattern not in patterns]


def _domain(pattern: str) -> str:
    return f"[{pattern}]" if ":" in pattern else pattern


def _routes(found: Destinations, pattern: str, proxy: Proxy) -> list[JSON]:
    routes = [route for destination in found.answering(pattern) for route in _answers(destination, pattern, proxy)]
    return [*routes, _MALFORMED] if "headers" in routes[-1]["match"] else routes


def _answers(destination: Destination, pattern: str, proxy: Proxy) -> Iterator[JSON]:
    """Yields the routes of one destination within the virtual host of a pattern."""
    if destination.action == "Deny":
        yield _route(
            destination, _authority_of(destination), proxy, direct_response=direct_response(403, _refusal(destination))
        )
        return
    for way in _ways(destination, pattern, proxy):
        forwarded: dict[str, JSON] = {"route": {"cluster": way.cluster, "timeout": "0s"}}
        if way.tls:
            scheme = {"key": "x-forwarded-proto", "value": "https"}  # Envoy says http, as the app called it
            forwarded["request_headers_to_add"] = [{"header": scheme, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]
        yield _route(destination, way.authority, proxy, **forwarded, **_policy(destination, proxy))


def _refusal(destination: Destination) -> str:
    if destination.host == _EVERYTHING:
        return "kagenti: no destination rule names this host, and the default policy is Deny\n"
    return f"kagenti: destination rule {destination.name} denies this\n"


def _route(destination: Destination, authority: tuple[JSON, ...], proxy: Proxy, **fields: JSON) -> JSON:
    match = {"prefix": "/", **({"headers": list(authority)} if authority else {})}
    return {"name": destination.name, "match": match, "tracing": tracing.sampling(proxy.settings), **fields}


def _policy(destination: Destination, proxy: Proxy) -> dict[str, JSON]:
    """Returns what makes a route exchange, or what keeps the processor off one that does not."""
    if authbridge.bridged(proxy.settings):
        exchanging = destination.action == "Exchange"
        return {} if exchanging else {"typed_per_filter_config": {layout.EXT_PROC: _OFF}}
    if destination.action != "Exchange":
        return {}
    rule = exchange.rule(destination, proxy.settings, client_id=proxy.values.client_id)
    return {"metadata": {"filter_metadata": {layout.LUA: rule}}}


def _authority_of(destination: Destination) -> tuple[JSON, ...]:
    """Returns the matchers of a destination's port; none for any."""
    if destination.port is None:
        return ()
    if destination.port == _HTTP:
        return (_AT_HTTP,)
    if destination.port == _HTTPS and destination.tls:
        return (_AT_HTTPS,)
    return (_authority(suffix=f":{destination.port}"), _ANY)


def _ways(destination: Destination, pattern: str, proxy: Proxy) -> list[Way]:
    """Returns the ways out of a destination that does not deny."""
    if destination.host == _EVERYTHING:
        return _default_ways(destination, pattern, proxy)
    tls = destination.tls
    authority, port = _authority_of(destination), destination.port
    if destination.suffix:
        return [_dynamic(*authority or (_ANY,), tls=tls)]
    if port in (None, _HTTP):
        port = _HTTPS if tls else _HTTP
    pinned = upstreams.pinned(destination.host, port or 0, tls=tls)
    if authority:
        return [Way(authority, pinned["name"], pinned, tls)]
    # Any port: the usual one is pinned to an address of the host, others are resolved from the host just matched.
    usual = _AT_EITHER if tls else _AT_HTTP
    return [Way((usual,), pinned["name"], pinned, tls), _dynamic(_ANY, tls=tls)]


def _default_ways(default: Destination, pattern: str, proxy: Proxy) -> list[Way]:
    """Returns the ways of hosts that nothing names: where the app dialled, or with a token to the host it names."""
    if default.action == "Passthrough":
        return [Way((), layout.ORIGINAL_DESTINATION)]
    if pattern == _EVERYTHING:
        return [_dynamic(_ONE_LABEL, tls=False), _dynamic(_ANY, tls=True)]
    if pattern.startswith("*.") and pattern.removeprefix("*.") in proxy.namespaces:
        return [_dynamic(_TWO_LABELS, tls=False), _dynamic(_ANY, tls=True)]
    domain, namespaces = proxy.installation.cluster_domain, proxy.namespaces
    return [_dynamic(_ANY, tls=not within(pattern, cluster_domain=domain, namespaces=namespaces))]


def _dynamic(*authority: JSON, tls: bool) -> Way:
    name = upstreams.DYNAMIC_TLS if tls else upstreams.DYNAMIC
    return Way(authority, name, upstreams.dynamic(tls=tls), tls)
