"""The HTTP connection manager of both directions: what inbound and outbound have in common."""

from collections.abc import Mapping, Sequence
from typing import Final

from kagenti.core.envoy import authbridge, layout, tracing
from kagenti.core.envoy.layout import JSON
from kagenti.core.envoy.proto import ADS, direct_response, every_address, extension, virtual_host
from kagenti.core.settings import WorkloadValues
from kagenti.core.settings.model import ResolvedSettings

_MANAGER: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_IDLE: Final = "3600s"  # streams of agents think long; the five minutes that Envoy takes otherwise cut them
_FIRST_ERROR: Final = 400

ROUTER: Final[JSON] = extension(
    "envoy.filters.http.router",
    "envoy.extensions.filters.http.router.v3.Router",
    suppress_envoy_headers=True,  # x-envoy-* would go to external upstreams (facts §3)
)
_EARLY_MUTATION: Final = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"


def connection_manager(
    name: str,
    filters: Sequence[JSON],
    *,
    settings: ResolvedSettings,
    values: WorkloadValues,
    log: Mapping[str, str],
    **fields: JSON,
) -> JSON:
    """Returns the network filter that serves the route table of that name.

    ``filters`` come before the router. ``log`` adds fields to the access log of denials: name → command operators.
    ``fields`` are further fields of the HttpConnectionManager message.
    """
    return extension(
        "hcm",
        _MANAGER,
        stat_prefix=name,
        rds={"config_source": ADS, "route_config_name": name},
        http_filters=[*filters, ROUTER],
        access_log=[_access_log(name, log)],
        tracing=tracing.provider(settings, values),
        stream_idle_timeout=_IDLE,
        server_header_transformation="PASS_THROUGH",
        upgrade_configs=[{"upgrade_type": "websocket"}],
        **fields,
    )


def early_headers(headers: Mapping[str, str], *, removed: Sequence[str] = (), prefixes: Sequence[str] = ()) -> JSON:
    """Returns early header mutations, before any filter: set, never added beside what the caller sent, or removed.

    ``removed`` are names of headers, ``prefixes`` beginnings of names.
    """
    mutations: list[JSON] = [{"remove": name} for name in removed]
    mutations += [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in prefixes]
    for key, value in headers.items():
        header = {"key": key, "value": value}
        mutations.append({"append": {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}})
    return [extension("envoy.http.early_header_mutation.header_mutation", _EARLY_MUTATION, mutations=mutations)]


def answering(name: str, routes: Sequence[JSON]) -> JSON:
    """Returns a network filter that serves these routes and nothing else, independent of xDS."""
    return extension(
        "hcm",
        _MANAGER,
        stat_prefix=name,
        route_config={"virtual_hosts": [virtual_host(name, ["*"], routes)]},
        http_filters=[ROUTER],
    )


def own_ports(settings: ResolvedSettings) -> tuple[int, ...]:
    """Returns the ports that Envoy itself, and its processor, listen on: dialling them through Envoy would loop."""
    interception = [settings.number(f"{layout.INTERCEPTION}.{key}") for key in ("proxyPort", "inboundProxyPort")]
    processor = (layout.PROCESSOR_PORT,) if authbridge.bridged(settings) else ()
    return (*interception, layout.STATUS_PORT, *processor)


def refusing_chains(settings: ResolvedSettings) -> list[JSON]:
    """Returns filter chains that refuse connections to our own ports (facts §11: they recurse otherwise)."""
    route = {"match": {"prefix": "/"}, "direct_response": direct_response(403, "kagenti: a port of the proxy itself\n")}
    return [
        {"filter_chain_match": {"destination_port": port}, "filters": [answering("own", [route])]}
        for port in own_ports(settings)
    ]


def listener(name: str, port: int, chains: Sequence[JSON], **fields: JSON) -> JSON:
    """Returns a listener on every address."""
    return {"name": name, "address": every_address(port), "filter_chains": list(chains), **fields}


def _access_log(name: str, fields: Mapping[str, str]) -> JSON:
    """Denials and errors, one JSON line each on stdout; no token, no query string."""
    operators = {
        "time": "%START_TIME%",
        "listener": name,
        "status": "%RESPONSE_CODE%",
        "reason": "%RESPONSE_CODE_DETAILS%",
        "rule": "%ROUTE_NAME%",
        "method": "%REQ(:METHOD)%",
        "host": "%REQ(:AUTHORITY)%",
        "path": "%PATH(NQ)%",
        "peer": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
        **fields,
    }
    log = extension(
        "envoy.access_loggers.stdout",
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        log_format={"json_format": operators, "omit_empty_values": True},
    )
    value = {"default_value": _FIRST_ERROR, "runtime_key": "kagenti.access_log"}
    return {**log, "filter": {"status_code_filter": {"comparison": {"op": "GE", "value": value}}}}
