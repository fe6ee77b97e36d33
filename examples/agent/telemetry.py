"""The design's telemetry example, made to run: the OTLP endpoint comes from the environment that kagenti sets.

Needs: opentelemetry-sdk, opentelemetry-exporter-otlp-proto-grpc.
"""

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def setup_telemetry() -> trace.Tracer:
    """Returns a tracer that exports where the platform says."""
    endpoint = os.getenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel-collector.observability:4317")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=True)))
    trace.set_tracer_provider(provider)
    return trace.get_tracer(__name__)


if __name__ == "__main__":
    with setup_telemetry().start_as_current_span("tool_execution"):
        print("one span")
