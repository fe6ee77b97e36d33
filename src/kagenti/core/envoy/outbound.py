"""Outbound traffic: the static listener, and the route table, clusters and extensions that give it its policy."""

from collections.abc import Iterable

from kagenti.core.envoy import layout
from kagenti.core.envoy.layout import JSON
from kagenti.core.envoy.proto import direct_response, every_address, virtual_host
from kagenti.core.envoy.proxy import Proxy, Resource
from kagenti.core.settings import WorkloadValues
from kagenti.core.settings.model import ResolvedSettings


def listener(settings: ResolvedSettings, values: WorkloadValues) -> JSON:
    """Returns the static outbound listener of the bootstrap."""
    # Stub of the seam; ENVOY-B fills it in. Its HTTP chain comes from manager.connection_manager.
    return {
        "name": layout.OUTBOUND,
        "address": every_address(settings.number(f"{layout.INTERCEPTION}.proxyPort")),
        "filter_chains": [],
    }


def resources(proxy: Proxy) -> Iterable[Resource]:
    """Yields the route table ``outbound``, its clusters, and the extensions of the TLS and TCP chains.

    The clusters ``orig_dst`` and ``otel`` are given by ``clusters`` for both directions.
    """
    # Stub of the seam; ENVOY-B fills it in.
    closed = {"match": {"prefix": "/"}, "direct_response": direct_response(503, "kagenti: no outbound policy\n")}
    body = {"name": layout.OUTBOUND, "virtual_hosts": [virtual_host("default", ["*"], [closed])]}
    yield Resource("route", layout.OUTBOUND, body)
