"""Which of the trace exporters is in effect, and how it is spoken to (spec 04): one row of the table for all readers."""

from collections.abc import Mapping, Sequence
from typing import Final

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
