"""Resolved settings → the containers, volumes, files and environment that a pod gets. Decides nothing about the pod."""

from kagenti.core.sidecars.build import LAYOUT, LAYOUTS, RESERVED_CONTAINERS, Layout, Row, Sidecars, build
from kagenti.core.sidecars.ports import (
    Bypass,
    OpaqueProbe,
    Placed,
    app_containers,
    declared,
    http_hooks,
    opaque_probes,
    probe_bypasses,
    running,
)
from kagenti.core.sidecars.volumes import RESERVED as RESERVED_VOLUMES

__all__ = [
    "LAYOUT",
    "LAYOUTS",
    "RESERVED_CONTAINERS",
    "RESERVED_VOLUMES",
    "Bypass",
    "Layout",
    "OpaqueProbe",
    "Placed",
    "Row",
    "Sidecars",
    "app_containers",
    "build",
    "declared",
    "http_hooks",
    "opaque_probes",
    "probe_bypasses",
    "running",
]
