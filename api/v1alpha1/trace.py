"""Observability of a workload: exporters, sampling, and other systems."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .marks import BOTH, RESTART, Mark
from .model import Cel, Model
from .scalars import Endpoint, HttpPath, LongText, Port, Rate, Text, Url


class Exporter(Model):
    """Where traces go."""

    type: Literal["otlp", "jaeger"]
    """Protocol family; jaeger is sent as OTLP."""
    endpoint: Endpoint
    """host:port or URL of the collector."""
    protocol: Literal["grpc", "http/protobuf"] | None = None
    """OTLP transport; absent means grpc."""
    compression: Literal["gzip", "none"] | None = None
    """Compression; absent means none."""


class Sampling(Model):
    """Which traces are kept."""

    type: Annotated[Literal["probabilistic"] | None, BOTH] = None
    """How traces are chosen."""
    rate: Annotated[Rate | None, BOTH] = None
    """Share of traces kept, 0 to 1, parent-based. Example: 0.1."""


class GenAi(Model):
    """What instrumentation of generative AI records."""

    enabled: Annotated[bool | None, RESTART] = None
    """Whether the GenAI semantic conventions are asked for."""
    capture_prompts: Annotated[bool | None, RESTART] = None
    """Whether prompts are recorded."""
    capture_completions: Annotated[bool | None, RESTART] = None
    """Whether completions are recorded."""
    capture_model_parameters: Annotated[bool | None, RESTART] = None
    """Whether model parameters are recorded."""


class MlFlow(Model):
    """MLflow tracking."""

    enabled: Annotated[bool | None, RESTART] = None
    """Whether the app is pointed to MLflow."""
    tracking_uri: Annotated[Url | None, RESTART] = None
    """MLFLOW_TRACKING_URI. Example: http://mlflow.observability:5000."""
    experiment_name: Annotated[Text | None, RESTART] = None
    """MLFLOW_EXPERIMENT_NAME. Example: weather."""


class Phoenix(Model):
    """Arize Phoenix."""

    enabled: Annotated[bool | None, RESTART] = None
    """Whether the app is pointed to Phoenix."""
    endpoint: Annotated[Url | None, RESTART] = None
    """PHOENIX_COLLECTOR_ENDPOINT. Example: http://phoenix.observability:6006."""
    project_name: Annotated[Text | None, RESTART] = None
    """PHOENIX_PROJECT_NAME. Example: weather."""


class Prometheus(Model):
    """Prometheus scraping of the app."""

    enabled: Annotated[bool | None, RESTART] = None
    """Whether scrape annotations are put on the pod."""
    port: Annotated[Port | None, BOTH] = None
    """Port of the app's metrics; bypasses inbound validation together with the path. Example: 9090."""
    path: Annotated[HttpPath | None, BOTH] = None
    """Path of the app's metrics. Example: /metrics."""


class Integration(Model):
    """Other observability systems."""

    mlflow: MlFlow | None = None
    """MLflow."""
    phoenix: Phoenix | None = None
    """Phoenix."""
    prometheus: Prometheus | None = None
    """Prometheus."""


class Trace(Model):
    """Observability of the workload."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "!has(self.resourceAttributes) || self.resourceAttributes.all(key, size(key) > 0 && size(key) <= 253)",
            "keys of resourceAttributes have 1 to 253 characters",
            ".resourceAttributes",
        ),
    )

    exporters: Annotated[Annotated[list[Exporter], Field(max_length=8)] | None, BOTH] = None
    """Collectors; absent inherits, an empty list means none. The first otlp exporter is in effect.
    Example: [{type: otlp, endpoint: "otel-collector.observability:4317"}]."""
    sampling: Sampling | None = None
    """Sampling."""
    genai: GenAi | None = None
    """Generative AI instrumentation."""
    resource_attributes: Annotated[
        Annotated[dict[str, LongText], Field(max_length=64)] | None, Mark("restart", merge="mapByKey")
    ] = None
    """OpenTelemetry resource attributes; layers merge by key. Example: {deployment.environment: prod}."""
    integration: Integration | None = None
    """Other systems."""
