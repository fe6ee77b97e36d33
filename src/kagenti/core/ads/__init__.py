"""Aggregated discovery: what an Envoy should have, and one stream to it as a state machine without I/O."""

from kagenti.core.ads.discovery import (
    DeltaRequest,
    Kind,
    Rejection,
    Reply,
    Request,
    SotwRequest,
    StreamState,
    TypeState,
    Verdict,
    Violation,
)
from kagenti.core.ads.snapshot import (
    CLUSTER,
    EXTENSION,
    ROUTE,
    TYPES,
    DanglingReference,
    Encoded,
    Reference,
    Snapshot,
    fingerprint,
)
from kagenti.core.ads.stream import Stream

__all__ = [
    "CLUSTER",
    "EXTENSION",
    "ROUTE",
    "TYPES",
    "DanglingReference",
    "DeltaRequest",
    "Encoded",
    "Kind",
    "Reference",
    "Rejection",
    "Reply",
    "Request",
    "Snapshot",
    "SotwRequest",
    "Stream",
    "StreamState",
    "TypeState",
    "Verdict",
    "Violation",
    "fingerprint",
]
