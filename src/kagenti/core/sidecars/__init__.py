"""Resolved settings → the containers, volumes, files and environment that a pod gets. Decides nothing about the pod."""

from kagenti.core.sidecars.build import LAYOUT, Row, Sidecars, build
from kagenti.core.sidecars.ports import Bypass, declared, opaque_probes, parse_ports, probe_bypasses

__all__ = ["LAYOUT", "Bypass", "Row", "Sidecars", "build", "declared", "opaque_probes", "parse_ports", "probe_bypasses"]
