"""Tracing: the provider in the static listeners, its collector's cluster, and the sampling of the route tables.

Sampling and collector are live; the transport (gRPC or HTTP) is part of the listeners and follows the pod (facts §4).
"""

from typing import Final, NamedTuple
from urllib.parse import urlsplit

from kagenti.core.envoy import layout
from kagenti.core.envoy.layout import JSON
from kagenti.core.envoy.proto import extension
from kagenti.core.settings import WorkloadValues, exporter
from kagenti.core.settings.exporter import EXPORTERS, GRPC
from kagenti.core.settings.model import ResolvedSettings

_CONFIG: Final = "envoy.config.trace.v3.OpenTelemetryConfig"
_STATIC_RESOURCE: Final = (
    "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.StaticConfigResourceDetectorConfig"
)
_PHOENIX: Final = "trace.integration.phoenix"
_TIMEOUT: Final = "5s"
_PORTS: Final = {GRPC: 4317, "http/protobuf": 4318}  # OTLP specification, default ports
_WHOLE: Final = 10_000  # TEN_THOUSAND: a bare number would be out of 100 (facts §4)


class Collector(NamedTuple):
    """Where spans go: host, port, whether by TLS, and the path of OTLP over HTTP."""

    host: str
    port: int
    tls: bool
    path: str


def transport(settings: ResolvedSettings) -> str:
    """Returns how spans are sent: ``grpc`` or ``http/protobuf``."""
    return exporter.transport(settings.items(EXPORTERS))


def collector(settings: ResolvedSettings) -> Collector | None:
    """Returns the address of the exporter in effect."""
    found = exporter.in_effect(settings.items(EXPORTERS))
    if found is None:
        return None
    endpoint = found["endpoint"]
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    port = parts.port or _PORTS[transport(settings)]
    # OTLP exporter specification: a base endpoint gets /v1/traces appended.
    return Collector(parts.hostname or "", port, parts.scheme == "https", f"{parts.path.rstrip('/')}/v1/traces")


def provider(settings: ResolvedSettings, values: WorkloadValues) -> JSON:
    """Returns the ``tracing`` of a connection manager; it samples nothing until the route table says so."""
    none = {"value": 0}
    attributes = resource(settings)
    detector = extension("envoy.tracers.opentelemetry.resource_detectors.static_config", _STATIC_RESOURCE)
    detector["typed_config"]["attributes"] = attributes
    found = extension(
        "envoy.tracers.opentelemetry",
        _CONFIG,
        service_name=values.service_name,
        **_service(settings),
        **({"resource_detectors": [detector]} if attributes else {}),
    )
    return {"provider": found, "random_sampling": none, "client_sampling": none, "spawn_upstream_span": True}


def resource(settings: ResolvedSettings) -> dict[str, str]:
    """Returns the resource attributes besides ``service.name``."""
    given = settings.get("trace.resourceAttributes") or {}
    attributes = {key: value for key, value in given.items() if key != "service.name"}
    if settings.flag(f"{_PHOENIX}.enabled") and settings.text(f"{_PHOENIX}.projectName"):
        attributes["openinference.project.name"] = settings.text(f"{_PHOENIX}.projectName")
    return dict(sorted(attributes.items()))


def _service(settings: ResolvedSettings) -> JSON:
    if transport(settings) == GRPC:
        service = {"envoy_grpc": {"cluster_name": layout.COLLECTOR_CLUSTER}, "timeout": _TIMEOUT}
        return {"grpc_service": service}
    found = collector(settings)
    host, path = (f"{found.host}:{found.port}", found.path) if found else (layout.COLLECTOR_CLUSTER, "/v1/traces")
    uri = {"uri": f"http://{host}{path}", "cluster": layout.COLLECTOR_CLUSTER, "timeout": _TIMEOUT}
    return {"http_service": {"http_uri": uri}}


def sampling(settings: ResolvedSettings) -> JSON:
    """Returns the ``tracing`` of a route; nothing is sampled without an exporter. Acts on the next request (facts §4)."""
    rate = float(settings["trace.sampling.rate"]) if settings.items(EXPORTERS) else 0.0
    share = {"numerator": round(rate * _WHOLE), "denominator": "TEN_THOUSAND"}
    whole = {"numerator": _WHOLE if rate else 0, "denominator": "TEN_THOUSAND"}
    none = {"numerator": 0}  # x-client-trace-id would let any caller have its requests traced
    return {"random_sampling": share, "client_sampling": none, "overall_sampling": whole}
