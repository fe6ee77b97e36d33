"""What the app's containers declare, as far as ports go: the mapping, the probes, the excluded ports."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw container

PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")
_INTERCEPTION: Final = "identity.outbound.trafficInterception"
_LAST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Bypass:
    """A path and port that Envoy serves without a token, for GET and HEAD, and whose probe asks for it."""

    path: str
    port: int
    container: str
    probe: str


def app_containers(subject: Subject) -> tuple[Mapping[str, JSON], ...]:
    """Returns the containers that are not ours."""
    containers: Sequence[Mapping[str, JSON]] = subject.spec.get("containers") or ()
    return tuple(found for found in containers if found.get("name") not in wellknown.RESERVED_CONTAINERS)


def declared(subject: Subject) -> dict[int, str]:
    """Returns port → container for every containerPort and hostPort of the app."""
    found = {}
    for container in app_containers(subject):
        for port in container.get("ports") or ():
            for key in ("containerPort", "hostPort"):
                if port.get(key):
                    found[int(port[key])] = container["name"]
    return found


def mapping(settings: ResolvedSettings, subject: Subject) -> dict[int, int]:
    """Returns dialled port → app port; empty when an app container declares the port itself (spec 04)."""
    port, target = settings.number("identity.inbound.port"), settings.number("identity.inbound.targetPort")
    return {} if port == target or port in declared(subject) else {port: target}


def probe_bypasses(subject: Subject) -> Iterator[Bypass]:
    """Yields the path and port of every httpGet probe of the app's containers."""
    for container in app_containers(subject):
        for probe in PROBES:
            http = (container.get(probe) or {}).get("httpGet")
            if not http:
                continue
            port = _number(http.get("port"), container)
            if port:
                yield Bypass(http.get("path") or "/", port, container["name"], probe)


def opaque_probes(subject: Subject) -> Iterator[tuple[str, str, str]]:
    """Yields (container, probe, kind) for tcp and grpc probes, which prove less through Envoy."""
    for container in app_containers(subject):
        for probe in PROBES:
            for kind in ("tcpSocket", "grpc"):
                if kind in (container.get(probe) or {}):
                    yield container["name"], probe, "tcp" if kind == "tcpSocket" else "grpc"


def _number(port: JSON, container: Mapping[str, JSON]) -> int | None:
    if isinstance(port, int):
        return port
    for declared_port in container.get("ports") or ():
        if declared_port.get("name") == port:
            return int(declared_port.get("containerPort") or 0) or None
    return None


def excluded(settings: ResolvedSettings, subject: Subject, *, inbound: bool, locked: Sequence[str]) -> tuple[int, ...]:
    """Returns the excluded ports: the setting's, and the annotation's unless a lock binds it."""
    path = "identity.inbound.excludePorts" if inbound else f"{_INTERCEPTION}.excludePorts"
    key = wellknown.INBOUND_PORTS_EXCLUDE_ANNOTATION if inbound else wellknown.OUTBOUND_PORTS_EXCLUDE_ANNOTATION
    ports = list(settings.items(path))
    if path not in locked:
        ports += parse_ports(subject.annotations.get(key, ""))
    return tuple(dict.fromkeys(ports))


def parse_ports(text: str) -> list[int]:
    """Returns the ports of a comma list; what is no port is dropped (reference: authbridge-contract section 2.3)."""
    tokens = (token.strip() for token in text.split(","))
    return [int(token) for token in tokens if token.isascii() and token.isdigit() and 1 <= int(token) <= _LAST_PORT]
