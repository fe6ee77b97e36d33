"""The built-in layer: every default of the layered block, and the only place where one stands.

A value left out here is derived after the merge (``DERIVED`` says from what) or simply absent.
"""

from collections.abc import Mapping
from typing import Any, Final

JSON = Any  # JSON values: nested dict, list and scalars


def _resources(cpu: str, memory: str, cpu_limit: str, memory_limit: str) -> dict[str, JSON]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu_limit, "memory": memory_limit}}


BUILT_IN: Final[Mapping[str, JSON]] = {
    "injection": {"enabled": True, "types": ["agent", "tool"], "tokenExchange": "Envoy"},
    "components": {
        "proxyInit": {
            "enabled": True,
            "image": "ghcr.io/kagenti/kagenti-extensions/proxy-init:v0.4.0-alpha.13",
            "imagePullPolicy": "IfNotPresent",
            "resources": _resources("10m", "16Mi", "100m", "64Mi"),
        },
        "spiffeHelper": {
            "enabled": True,
            "image": "ghcr.io/spiffe/spiffe-helper:0.11.0",
            "imagePullPolicy": "IfNotPresent",
            "resources": _resources("10m", "32Mi", "100m", "64Mi"),
        },
        "clientRegistration": {
            "enabled": True,
            "image": "ghcr.io/kagenti/kagenti-extensions/client-registration:v0.4.0-alpha.13",
            "imagePullPolicy": "IfNotPresent",
            "resources": _resources("10m", "64Mi", "200m", "128Mi"),
        },
        "envoyProxy": {
            "enabled": True,
            "imagePullPolicy": "IfNotPresent",
            "resources": _resources("50m", "96Mi", "1", "256Mi"),
        },
    },
    "identity": {
        "enabled": True,
        "spiffe": {
            "enabled": True,
            "trustDomain": "cluster.local",
            "source": "CSI",
            "socketPath": "unix:///run/spire/agent-sockets/agent.sock",
        },
        "clientRegistration": {
            "provider": "keycloak",
            "authType": "client-secret",
            "keycloak": {
                "url": "http://keycloak.kagenti-system.svc:8080",
                "realm": "default",
                "adminCredentialsSecret": "keycloak-admin-secret",
                "clientNameTemplate": "{{.Namespace}}/{{.WorkloadName}}",
                "tokenExchangeEnabled": True,
                "platformClientIds": [],
            },
        },
        "inbound": {
            "enabled": True,
            "port": 8080,
            "targetPort": 8081,
            "excludePorts": [],
            "validation": {
                "audience": "self",
                "requiredScopes": [],
                "bypassPaths": ["/.well-known/*", "/healthz", "/readyz", "/livez"],
            },
        },
        "outbound": {
            "trafficInterception": {
                "proxyPort": 15123,
                "inboundProxyPort": 15124,
                "proxyUid": 1337,
                "excludePorts": [],
            },
            "defaultPolicy": "Passthrough",
            "tokenExchange": {
                "enabled": True,
                "defaultTarget": {"audience": "downstream-service", "scopes": []},
                "destinationRules": [],
            },
        },
    },
    "trace": {
        "exporters": [{"type": "otlp", "endpoint": "otel-collector.observability:4317", "protocol": "grpc"}],
        "sampling": {"type": "probabilistic", "rate": 0.1},
        "genai": {
            "enabled": False,
            "capturePrompts": False,
            "captureCompletions": False,
            "captureModelParameters": False,
        },
        "resourceAttributes": {},
        "integration": {
            "mlflow": {"enabled": False},
            "phoenix": {"enabled": False},
            "prometheus": {"enabled": False, "port": 9090, "path": "/metrics"},
        },
    },
}

ENVOY_IMAGES: Final[Mapping[str, str]] = {
    "Envoy": "docker.io/envoyproxy/envoy:distroless-v1.40.0",
    "AuthBridge": "ghcr.io/kagenti/kagenti-extensions/envoy-with-processor:v0.4.0-alpha.13",
}
"""Default image of envoy-proxy by ``injection.tokenExchange``."""

DERIVED: Final[Mapping[str, str]] = {
    "components.envoyProxy.image": "injection.tokenExchange",
    "identity.spiffe.jwtAudience": "the issuer",
    "identity.inbound.validation.issuer": "<keycloak.url>/realms/<keycloak.realm>",
    "identity.inbound.validation.jwksUrl": "<keycloak.url>/realms/<keycloak.realm>/protocol/openid-connect/certs",
    "identity.outbound.tokenExchange.tokenUrl": "<keycloak.url>/realms/<keycloak.realm>/protocol/openid-connect/token",
}
"""Paths without a built-in value that are computed after the merge, and from what."""
