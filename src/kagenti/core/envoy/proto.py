"""The shapes that Envoy's messages are put together from: typed extensions, config sources, addresses, clusters."""

from collections.abc import Sequence
from typing import Final

from kagenti.core.envoy.layout import JSON

_PREFIX: Final = "type.googleapis.com/"
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

ADS: Final[JSON] = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
"""A source that is waited for without end: a proxy without policy serves nothing (facts §1, §11)."""


def typed(message: str, **fields: JSON) -> JSON:
    """Returns an Any of that message, for example ``envoy.config.route.v3.Route``."""
    return {"@type": _PREFIX + message, **fields}


def extension(name: str, message: str, **fields: JSON) -> JSON:
    """Returns a named extension with its configuration."""
    return {"name": name, "typed_config": typed(message, **fields)}


def slot(name: str, *messages: str) -> JSON:
    """Returns a filter whose configuration ECDS gives, of one of these messages; until then nothing is served."""
    urls = [_PREFIX + message for message in messages]
    return {"name": name, "config_discovery": {"config_source": ADS, "type_urls": urls}}


def socket(address: str, port: int) -> JSON:
    """Returns a TCP address."""
    return {"socket_address": {"address": address, "port_value": port}}


def every_address(port: int) -> JSON:
    """Returns that port on every address, IPv4 and IPv6 alike."""
    return {"socket_address": {"address": "::", "ipv4_compat": True, "port_value": port}}


def assignment(name: str, *addresses: JSON) -> JSON:
    """Returns the endpoints of a cluster."""
    endpoints = [{"endpoint": {"address": address}} for address in addresses]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}


def http_options(**fields: JSON) -> JSON:
    """Returns a cluster's ``typed_extension_protocol_options`` with these HttpProtocolOptions."""
    return {_HTTP_OPTIONS: typed(_HTTP_OPTIONS, **fields)}


def direct_response(status: int, text: str) -> JSON:
    """Returns the action of a route that answers by itself."""
    return {"status": status, "body": {"inline_string": text}}


def exact(value: str) -> JSON:
    """Returns a value matcher for exactly this text."""
    return {"string_match": {"exact": value}}


def virtual_host(name: str, domains: Sequence[str], routes: Sequence[JSON], **fields: JSON) -> JSON:
    """Returns a virtual host."""
    return {"name": name, "domains": list(domains), "routes": list(routes), **fields}
