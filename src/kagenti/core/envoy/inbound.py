"""Inbound traffic: the static transparent listener, and the route table that says who may come in where.

Every intercepted connection gets the same validation, then goes to the port that the caller dialled (spec 04). Which port
that was reaches the route table in a header of ours, since routes cannot match it otherwise (facts §11).
"""

from collections.abc import Iterator
from typing import Final

from kagenti.core.envoy import authbridge, bypass, layout, manager, tracing, validation
from kagenti.core.envoy.bypass import Match
from kagenti.core.envoy.layout import JSON
from kagenti.core.envoy.proto import extension, slot, virtual_host
from kagenti.core.envoy.proxy import Proxy, Resource
from kagenti.core.settings import WorkloadValues
from kagenti.core.settings.model import ResolvedSettings

_ORIGINAL_DST: Final = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"
_FOR_ENVOY: Final = "x-envoy-"
"""Headers that steer Envoy (retries, time limits, forced traces): no caller's business."""
_CLAIM: Final = f"%DYNAMIC_METADATA({validation.NAMESPACE}:{validation.PAYLOAD}:{{}})%"


def listener(settings: ResolvedSettings, values: WorkloadValues) -> JSON:
    """Returns the static inbound listener: it takes every port, and speaks HTTP only."""
    headers = {layout.PORT_HEADER: "%DOWNSTREAM_LOCAL_PORT%"}
    if authbridge.bridged(settings):
        headers[layout.DIRECTION_HEADER] = "inbound"
    chain = manager.connection_manager(
        layout.INBOUND,
        [slot(layout.JWT, validation.JWT), extension(layout.RBAC, validation.RBAC, rules={})],
        settings=settings,
        values=values,
        log={"sub": _CLAIM.format("sub"), "aud": _CLAIM.format("aud")},
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action="REJECT_REQUEST",
        early_header_mutation_extensions=manager.early_headers(
            headers, removed=bypass.ODD_OVERRIDES, prefixes=[_FOR_ENVOY]
        ),
        local_reply_config=_replies(),
        request_headers_timeout="10s",
    )
    return manager.listener(
        layout.INBOUND,
        settings.number(f"{layout.INTERCEPTION}.inboundProxyPort"),
        [*manager.refusing_chains(settings), {"filters": [chain]}],
        listener_filters=[extension("envoy.filters.listener.original_dst", _ORIGINAL_DST)],
        traffic_direction="INBOUND",
    )


def _replies() -> JSON:
    """What a caller reads who is turned away: what happened, and by which requirement."""
    body = {"proxy": "kagenti", "error": "%LOCAL_REPLY_BODY%", "reason": "%RESPONSE_CODE_DETAILS%"}
    return {"body_format": {"json_format": body}}


def validated(settings: ResolvedSettings) -> bool:
    """Whether callers need a token; else everything passes, and the interception script leaves inbound alone anyway."""
    return settings.flag("identity.enabled") and settings.flag("identity.inbound.enabled")


def resources(proxy: Proxy) -> Iterator[Resource]:
    """Yields the route table ``inbound``, and the extension ``jwt`` unless its keys are not known yet."""
    if not validated(proxy.settings):
        yield Resource("extension", layout.JWT, validation.nobody_asked())
    elif proxy.keys is not None:
        yield Resource("extension", layout.JWT, validation.provider(proxy.settings, proxy.keys))
    yield Resource("route", layout.INBOUND, _table(proxy))


def _table(proxy: Proxy) -> JSON:
    routes = _secured(proxy) if validated(proxy.settings) else _open(proxy)
    return {
        "name": layout.INBOUND,
        "virtual_hosts": [virtual_host("app", ["*"], list(routes))],
        "request_headers_to_remove": [layout.PORT_HEADER],
        "validate_clusters": True,
    }


def _secured(proxy: Proxy) -> Iterator[JSON]:
    """First what is served without a token, from the narrowest on, and untraced; then everything else, with one."""
    for match in bypass.matches(proxy):
        yield from _routes(proxy, match, {**validation.passing(), **bypass.without_overrides()})
    required = validation.required(proxy.settings, proxy.values.audience)
    yield from _routes(proxy, Match("app", {"prefix": "/"}), {**required, "tracing": tracing.sampling(proxy.settings)})


def _open(proxy: Proxy) -> Iterator[JSON]:
    fields = {**validation.passing(), "tracing": tracing.sampling(proxy.settings)}
    return _routes(proxy, Match("open", {"prefix": "/"}), fields)


def _routes(proxy: Proxy, match: Match, fields: JSON) -> Iterator[JSON]:
    """Yields one route to the app's port where the dialled port is mapped, and one to the dialled address."""
    for port in proxy.port_mapping if match.port is None else ():
        yield _route(match.on(port), layout.APP_CLUSTER, fields)
    mapped = match.port in proxy.port_mapping
    yield _route(match, layout.APP_CLUSTER if mapped else layout.ORIGINAL_DESTINATION, fields)


def _route(match: Match, cluster: str, fields: JSON) -> JSON:
    # No time limit: the app's answer may be a stream; the idle limit of the connection manager applies.
    return {"name": match.name, "match": match.body(), "route": {"cluster": cluster, "timeout": "0s"}, **fields}
