"""Other injectors on the same pod, known by the marks that they leave: named where one of them may explain what is seen."""

from collections.abc import Mapping
from typing import Final

MARKS: Final = (
    ("Istio", "sidecar.istio.io/status"),
    ("Istio ambient", "ambient.istio.io/redirection"),
    ("Linkerd", "linkerd.io/proxy-version"),
    ("Vault Agent", "vault.hashicorp.com/agent-inject-status"),
    ("Dapr", "dapr.io/enabled"),
    ("OpenTelemetry operator", "instrumentation.opentelemetry.io/inject-"),
    ("OpenTelemetry operator", "sidecar.opentelemetry.io/inject"),
)
"""Annotations that other injectors write or are asked by: (injector, start of the key)."""

AMBIENT_MESH: Final = "AmbientMesh"

HBONE_PORT: Final = 15008
"""Where the ambient mesh delivers calls, inside the pod's own network namespace (Istio: HBONE, in-pod redirection)."""

_DATAPLANE: Final = "istio.io/dataplane-mode"

_REFUSED: Final = (
    f"Istio's ambient mesh brings calls to port {HBONE_PORT}, which inbound validation refuses, since it is not HTTP; callers "
    f"outside the mesh are validated; label the pod {_DATAPLANE}=none, or exclude the port and leave callers to the mesh's policy"
)
_UNVALIDATED: Final = (
    f"port {HBONE_PORT} is excluded: what Istio's ambient mesh brings reaches the app without inbound validation; let the mesh's "
    f"AuthorizationPolicy choose the callers, or label the pod {_DATAPLANE}=none"
)


def named(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the injectors that left their marks on a pod, without repetition."""
    return tuple(dict.fromkeys(name for name, start in MARKS if any(key.startswith(start) for key in annotations)))


def in_ambient_mesh(labels: Mapping[str, str], namespace_labels: Mapping[str, str]) -> bool:
    """Whether Istio's ambient mesh takes a pod's traffic: its own label goes before its namespace's."""
    own = labels.get(_DATAPLANE)
    return (namespace_labels.get(_DATAPLANE) if own is None else own) == "ambient"


def ambient_note(*, excluded: bool) -> str:
    """Returns what an author should know of inbound validation in the ambient mesh: both act in the pod's own network."""
    return f"{AMBIENT_MESH}: {_UNVALIDATED if excluded else _REFUSED}"
