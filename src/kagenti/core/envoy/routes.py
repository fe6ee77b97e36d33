"""Destinations → virtual hosts of the outbound route table, and the clusters that they name.

A virtual host stands for each pattern that a rule names; its routes are all destinations that answer for the pattern, by
the port in the request's host. Patterns are domains of Envoy, never regular expressions, so every name matches as it is.
"""

from collections.abc import Sequence
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
_SCHEME: Final = {"key": "x-forwarded-proto", "value": "https"}  # Envoy says http, as the app called it
_SECURED: Final[JSON] = {"request_headers_to_add": [{"header": _SCHEME, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]}
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
    """One way out: the authorities it is for (none: any), and the name of the cluster."""

    authority: tuple[JSON, ...]
    cluster: str
    tls: bool = False


class RouteTable:
    """The virtual hosts of one Envoy, and in ``clusters`` what they name, by name; without those of both directions."""

    def __init__(self, found: Destinations, proxy: Proxy) -> None:
        self.clusters: dict[str, JSON] = {}
        self._found, self._proxy = found, proxy
        self._sampling = tracing.sampling(proxy.settings)
        self._bridged = authbridge.bridged(proxy.settings)
        self.virtual_hosts = self._virtual_hosts()

    def _virtual_hosts(self) -> list[JSON]:
        """Those of rules and passes first; a domain stands in one of them only."""
        patterns = self._found.patterns()
        inner = self._inside(patterns) if self._found.default.action == "Exchange" else ()
        made = [virtual_host(pattern, [_domain(pattern)], self._routes(pattern)) for pattern in (*patterns, *inner)]
        namespaces = [f"*.{name}" for name in sorted(self._proxy.namespaces) if f"*.{name}" not in patterns]
        if inner and namespaces:
            made.append(virtual_host(_NAMESPACES, namespaces, self._routes(namespaces[0])))
        return [*made, virtual_host(_EVERYTHING, [_EVERYTHING], self._routes(_EVERYTHING))]

    def _inside(self, patterns: Sequence[str]) -> list[str]:
        """Returns the patterns of hosts inside the cluster that no rule names (spec 01, upstream.tls Auto)."""
        inner = ("*.svc", f"*.svc.{self._proxy.installation.cluster_domain}")
        return [pattern for pattern in inner if pattern not in patterns]

    def _routes(self, pattern: str) -> list[JSON]:
        routes = [route for one in self._found.answering(pattern) for route in self._answers(one, pattern)]
        return [*routes, _MALFORMED] if "headers" in routes[-1]["match"] else routes

    def _answers(self, destination: Destination, pattern: str) -> list[JSON]:
        """Returns the routes of one destination within the virtual host of a pattern."""
        if destination.action == "Deny":
            refusal = direct_response(403, _refusal(destination))
            return [self._route(destination, _authority_of(destination), direct_response=refusal)]
        policy = self._policy(destination)
        return [
            self._route(destination, way.authority, route={"cluster": way.cluster, "timeout": "0s"}, **policy)
            | (_SECURED if way.tls else {})
            for way in self._ways(destination, pattern)
        ]

    def _route(self, destination: Destination, authority: tuple[JSON, ...], **fields: JSON) -> JSON:
        match = {"prefix": "/", **({"headers": list(authority)} if authority else {})}
        return {"name": destination.name, "match": match, "tracing": self._sampling, **fields}

    def _policy(self, destination: Destination) -> dict[str, JSON]:
        """Returns what makes a route exchange, or what keeps the processor off one that does not."""
        exchanging = destination.action == "Exchange"
        if self._bridged:
            return {} if exchanging else {"typed_per_filter_config": {layout.EXT_PROC: _OFF}}
        if not exchanging:
            return {}
        self._named(upstreams.token(destination.token_url))
        rule = exchange.rule(destination, self._proxy.settings, client_id=self._proxy.values.client_id)
        return {"metadata": {"filter_metadata": {layout.LUA: rule}}}

    def _ways(self, destination: Destination, pattern: str) -> list[Way]:
        """Returns the ways out of a destination that does not deny."""
        if destination.host == _EVERYTHING:
            return self._default_ways(destination, pattern)
        tls, port = destination.tls, destination.port
        authority = _authority_of(destination)
        if destination.suffix:
            return [self._dynamic(*authority or (_ANY,), tls=tls)]
        if port in (None, _HTTP):
            port = _HTTPS if tls else _HTTP
        name = self._named(upstreams.pinned(destination.host, port or 0, tls=tls))
        if authority:
            return [Way(authority, name, tls)]
        # Any port: the usual one is pinned to an address of the host, others are resolved from the host just matched.
        usual = _AT_EITHER if tls else _AT_HTTP
        return [Way((usual,), name, tls), self._dynamic(_ANY, tls=tls)]

    def _default_ways(self, default: Destination, pattern: str) -> list[Way]:
        """Returns the ways of hosts that nothing names: where the app dialled, or with a token to the host it names."""
        if default.action == "Passthrough":
            return [Way((), layout.ORIGINAL_DESTINATION)]
        if pattern == _EVERYTHING:
            return [self._dynamic(_ONE_LABEL, tls=False), self._dynamic(_ANY, tls=True)]
        if pattern.startswith("*.") and pattern.removeprefix("*.") in self._proxy.namespaces:
            return [self._dynamic(_TWO_LABELS, tls=False), self._dynamic(_ANY, tls=True)]
        domain, namespaces = self._proxy.installation.cluster_domain, self._proxy.namespaces
        return [self._dynamic(_ANY, tls=not within(pattern, cluster_domain=domain, namespaces=namespaces))]

    def _dynamic(self, *authority: JSON, tls: bool) -> Way:
        name = upstreams.DYNAMIC_TLS if tls else upstreams.DYNAMIC
        if name not in self.clusters:
            self._named(upstreams.dynamic(tls=tls))
        return Way(authority, name, tls)

    def _named(self, cluster: JSON) -> str:
        name: str = cluster["name"]
        self.clusters[name] = cluster
        return name


def _domain(pattern: str) -> str:
    return f"[{pattern}]" if ":" in pattern else pattern


def _refusal(destination: Destination) -> str:
    if destination.host == _EVERYTHING:
        return "kagenti: no destination rule names this host, and the default policy is Deny\n"
    return f"kagenti: destination rule {destination.name} denies this\n"


def _authority_of(destination: Destination) -> tuple[JSON, ...]:
    """Returns the matchers of a destination's port; none for any."""
    if destination.port is None:
        return ()
    if destination.port == _HTTP:
        return (_AT_HTTP,)
    if destination.port == _HTTPS and destination.tls:
        return (_AT_HTTPS,)
    return (_authority(suffix=f":{destination.port}"), _ANY)
