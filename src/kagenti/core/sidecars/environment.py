"""Settings → environment of the app's containers and annotations of the pod (spec 04, "Setting → effect").

Names are those of their projects' documentation: OpenTelemetry SDK configuration and GenAI semantic conventions, MLflow,
Arize Phoenix and OpenInference.
"""

from decimal import Decimal
from typing import Final
from urllib.parse import quote, urlsplit

from kagenti.core.envoy import tracing
from kagenti.core.settings import WorkloadValues, exporter
from kagenti.core.settings.exporter import EXPORTERS
from kagenti.core.settings.model import ResolvedSettings

_PHOENIX: Final = "trace.integration.phoenix"
_MLFLOW: Final = "trace.integration.mlflow"
_PROMETHEUS: Final = "trace.integration.prometheus"
_OLD_JAEGER_PORT: Final = 14250


def environment(settings: ResolvedSettings, values: WorkloadValues) -> dict[str, str]:
    """Returns name → env value for the app's containers; a container's own setting of a name always wins."""
    found = {
        **_exporting(settings),
        **_sampling(settings),
        **_resource(settings, values),
        **_genai(settings),
        **_integrations(settings),
    }
    return {name: env_literal(value) for name, value in found.items()}


def env_literal(value: str) -> str:
    """Returns text as the value of an env entry, where ``$(NAME)`` would be another variable of the container.

    A setting may not read the app's environment, credentials included (Kubernetes: ``$$`` is a literal ``$``).
    """
    return value.replace("$", "$$")


def annotations(settings: ResolvedSettings) -> dict[str, str]:
    """Returns the usual scrape annotations, where the prometheus integration is on."""
    if not settings.flag(f"{_PROMETHEUS}.enabled"):
        return {}
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(settings.number(f"{_PROMETHEUS}.port")),
        "prometheus.io/path": settings.text(f"{_PROMETHEUS}.path"),
    }


def warnings(settings: ResolvedSettings) -> list[str]:
    """Returns what people should know of the exporters."""
    exporters = settings.items("trace.exporters")
    told = [
        f"trace.exporters: jaeger at {found['endpoint']!r} is sent as OTLP, which port 14250 does not speak: use 4317"
        for found in exporters
        if found["type"] == "jaeger" and _port(found["endpoint"]) == _OLD_JAEGER_PORT
    ]
    if len(exporters) > 1:
        told.append(f"trace.exporters: 1 of {len(exporters)} is in effect, the first otlp one")
    return told


def _port(endpoint: str) -> int | None:
    try:
        return urlsplit(endpoint if "://" in endpoint else f"//{endpoint}").port
    except ValueError:  # a port that is none; the schema refuses it
        return None


def _exporting(settings: ResolvedSettings) -> dict[str, str]:
    found = exporter.in_effect(settings.items(EXPORTERS))
    if found is None:
        return {}
    endpoint = found["endpoint"] if "://" in found["endpoint"] else f"http://{found['endpoint']}"
    result = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": found.get("protocol") or "grpc"}
    if found.get("compression"):
        result["OTEL_EXPORTER_OTLP_COMPRESSION"] = found["compression"]
    return result


def _sampling(settings: ResolvedSettings) -> dict[str, str]:
    if exporter.in_effect(settings.items(EXPORTERS)) is None:
        return {}
    rate = Decimal(str(float(settings["trace.sampling.rate"])))  # every digit, and never an exponent
    exact = f"{rate.to_integral_value() if rate == rate.to_integral_value() else rate:f}"
    return {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": exact}


def _resource(settings: ResolvedSettings, values: WorkloadValues) -> dict[str, str]:
    """Returns service name and attributes; values are percent-encoded (OpenTelemetry resource SDK specification)."""
    attributes = tracing.resource(settings)
    result = {"OTEL_SERVICE_NAME": values.service_name}
    if attributes:
        pairs = (f"{quote(key, safe='/')}={quote(value, safe=' ')}" for key, value in attributes.items())
        result["OTEL_RESOURCE_ATTRIBUTES"] = ",".join(pairs)
    return result


def _genai(settings: ResolvedSettings) -> dict[str, str]:
    if not settings.flag("trace.genai.enabled"):
        return {}
    prompts, completions = settings.flag("trace.genai.capturePrompts"), settings.flag("trace.genai.captureCompletions")
    return {
        "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": _said(prompts and completions),
        "OPENINFERENCE_HIDE_INPUTS": _said(not prompts),
        "OPENINFERENCE_HIDE_OUTPUTS": _said(not completions),
        "OPENINFERENCE_HIDE_LLM_INVOCATION_PARAMETERS": _said(not settings.flag("trace.genai.captureModelParameters")),
    }


def _integrations(settings: ResolvedSettings) -> dict[str, str]:
    names = {
        "MLFLOW_TRACKING_URI": (_MLFLOW, "trackingUri"),
        "MLFLOW_EXPERIMENT_NAME": (_MLFLOW, "experimentName"),
        "PHOENIX_COLLECTOR_ENDPOINT": (_PHOENIX, "endpoint"),
        "PHOENIX_PROJECT_NAME": (_PHOENIX, "projectName"),
    }
    return {
        name: settings.text(f"{block}.{key}")
        for name, (block, key) in names.items()
        if settings.flag(f"{block}.enabled") and settings.text(f"{block}.{key}")
    }


def _said(value: object) -> str:
    return "true" if value else "false"
