"""Tracing: the provider in the static listeners, its collector's cluster, and the sampling of the route tables.

Sampling and collector are live; the transport (gRPC or HTTP) is part of the listeners and follows the pod (facts §4).
"""

from typing import Final, NamedTuple

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
_PORTS: Final = {"http": 80, "https": 443}  # a URL without a port, as the OpenTelemetry SDKs read it
_WHOLE: Final = 10_000  # TEN_THOUSAND: a bare number would be out of 100 (facts §4)


class Collector(NamedTuple):
    """Where spans go: host, port, and whether by TLS."""

    host: str
    port: int
    tls: bool


def transport(settings: ResolvedSettings) -> str:
    """Returns how spans are sent: ``grpc`` or ``http/protobuf``."""
    return exporter.transport(settings.items(EXPORTERS))


def collector(settings: ResolvedSettings) -> Collector | None:
    """Returns the address of the exporter in effect."""
    found = exporter.address(settings.items(EXPORTERS))
    if found is None:
        return None
    return Collector(found.hostname or "", found.port or _PORTS[found.scheme], found.scheme == "https")


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
    """Spans go to the collector's cluster, wherever that is; the name in the requests is the one of the pod's start."""
    exporters, cluster = settings.items(EXPORTERS), layout.COLLECTOR_CLUSTER
    found = exporter.address(exporters)
    name = found.netloc if found else cluster
    if exporter.transport(exporters) == GRPC:
        return {"grpc_service": {"envoy_grpc": {"cluster_name": cluster, "authority": name}, "timeout": _TIMEOUT}}
    uri = f"http://{name}{exporter.traces_path(exporters)}"
    return {"http_service": {"http_uri": {"uri": uri, "cluster": cluster, "timeout": _TIMEOUT}}}


def sampling(settings: ResolvedSettings) -> JSON:
    """Returns the ``tracing`` of a route; nothing is sampled without an exporter. Acts on the next request (facts §4)."""
    rate = float(settings["trace.sampling.rate"]) if settings.items(EXPORTERS) else 0.0
    share = {"numerator": round(rate * _WHOLE), "denominator": "TEN_THOUSAND"}
    whole = {"numerator": _WHOLE if rate else 0, "denominator": "TEN_THOUSAND"}
    none = {"numerator": 0}  # x-client-trace-id would let any caller have its requests traced
    return {"random_sampling": share, "client_sampling": none, "overall_sampling": whole}
