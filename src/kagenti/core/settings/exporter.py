"""Which of the trace exporters is in effect, and how it is spoken to (spec 04): one row of the table for all readers."""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from kagenti.core.settings.model import JSON

EXPORTERS: Final = "trace.exporters"
GRPC: Final = "grpc"


def in_effect(exporters: Sequence[Mapping[str, JSON]]) -> Mapping[str, JSON] | None:
    """Returns the first otlp exporter, else the first jaeger one, which is sent as OTLP."""
    for kind in ("otlp", "jaeger"):
        for found in exporters:
            if found["type"] == kind:
                return found
    return None


def transport(exporters: Sequence[Mapping[str, JSON]]) -> str:
    """Returns how spans are sent, ``grpc`` or ``http/protobuf``; gRPC too where there is no exporter yet."""
    return str((in_effect(exporters) or {}).get("protocol") or GRPC)


def address(exporters: Sequence[Mapping[str, JSON]]) -> SplitResult | None:
    """Returns scheme, host, port and path of the exporter in effect; ``host:port`` is plain, a URL as URLs are."""
    found = in_effect(exporters)
    if found is None:
        return None
    endpoint = found["endpoint"]
    return urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")


def traces_path(exporters: Sequence[Mapping[str, JSON]]) -> str:
    """Returns the path of OTLP over HTTP: the endpoint's with /v1/traces appended (OTLP exporter specification)."""
    found = address(exporters)
    return f"{found.path.rstrip('/') if found else ''}/v1/traces"


def same_tracer(built: Sequence[Mapping[str, JSON]], today: Sequence[Mapping[str, JSON]]) -> bool:
    """Whether a tracer built for one list of exporters can speak to the collector of another.

    Transport and path are part of Envoy's static listeners; address and TLS are the collector's cluster, and live.
    """
    if transport(built) != transport(today):
        return False
    return transport(built) == GRPC or traces_path(built) == traces_path(today)
