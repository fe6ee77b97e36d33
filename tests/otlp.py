"""A small OTLP collector over gRPC, which keeps what it is sent; for tests."""

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import grpc

EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
"""The method that takes spans (OpenTelemetry protocol, "OTLP/gRPC")."""


class Export(NamedTuple):
    """One export: method or path, authority where it is known, and the body, an ExportTraceServiceRequest."""

    path: str
    authority: str
    body: bytes


@contextmanager
def collecting(address: str = "127.0.0.1") -> Iterator[tuple[int, list[Export]]]:
    """Gives the port that is listened on, and the exports as they come."""
    seen: list[Export] = []

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
        def service(self, details: Any) -> Any:  # Any: grpcio has no types
            def export(body: bytes, _: object) -> bytes:
                seen.append(Export(details.method, "", body))
                return b""  # an ExportTraceServiceResponse: everything was taken

            return grpc.unary_unary_rpc_method_handler(export)

    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[Handler()])
    port = server.add_insecure_port(f"{address}:0")
    server.start()
    try:
        yield port, seen
    finally:
        server.stop(None).wait()
