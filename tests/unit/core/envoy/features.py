"""The features that golden files show: what is set, and what of the pod differs from the ordinary one."""

from collections.abc import Mapping
from typing import Any, Final

from kagenti.core.envoy import Proxy
from tests.unit.core.envoy import proxies
from tests.unit.core.settings.given import AUDIENCE, ISSUER, KEYCLOAK, VALIDATION

JSON = Any  # a value of the layered block

_COLLECTOR: Final = {"type": "otlp", "endpoint": "https://otel.example/base", "protocol": "http/protobuf"}
_FEATURES: Final[Mapping[str, tuple[Mapping[str, JSON], Mapping[str, JSON]]]] = {
    "default": ({}, {}),
    "scopes": ({f"{VALIDATION}.requiredScopes": ["agent:invoke", "agent:stream"]}, {}),
    "validation": ({ISSUER: "https://idp.example/realms/a", AUDIENCE: "https://weather.example"}, {}),
    "bypass": ({f"{VALIDATION}.bypassPaths": ["/a.b/*", "/health+z", "/deep/er/*"]}, {}),
    "probes": ({}, {"bypasses": (("/livez", 8080), ("/ready?full=1", 9000), ("startup", 8081))}),
    "unmapped": ({}, {"port_mapping": {}}),
    "prometheus": ({"trace.integration.prometheus.enabled": True}, {}),
    "no-keys": ({}, {"keys": None}),
    "no-inbound": ({"identity.inbound.enabled": False}, {"keys": None}),
    "tracing-only": ({"identity.enabled": False}, {"keys": None}),
    "no-tracing": ({"trace.exporters": []}, {}),
    "sampling": ({"trace.sampling.rate": 0.25}, {}),
    "http-collector": (
        {"trace.exporters": [_COLLECTOR], "trace.resourceAttributes": {"team": "a", "service.name": "forecast"}},
        {},
    ),
    "jaeger": ({"trace.exporters": [{"type": "jaeger", "endpoint": "10.0.0.7:4317"}]}, {}),
    "spiffe-off": ({"identity.spiffe.enabled": False, f"{KEYCLOAK}.realm": "agents"}, {}),
    "authbridge": ({"injection.tokenExchange": "AuthBridge"}, {}),
    "ports": (
        {
            "identity.outbound.trafficInterception.proxyPort": 16001,
            "identity.outbound.trafficInterception.inboundProxyPort": 16002,
        },
        {},
    ),
}
NAMES: Final = tuple(_FEATURES)
BOOTSTRAPS: Final = ("default", "no-tracing", "http-collector", "jaeger", "authbridge", "ports")
"""Features whose bootstrap differs from the ordinary one."""


def proxy(feature: str) -> Proxy:
    """Returns the Envoy of a feature."""
    overrides, fields = _FEATURES[feature]
    return proxies.proxy(overrides, **fields)
