"""What the app's containers declare, as far as ports go: the mapping, the probes, the excluded ports.

The app is every container that is not ours; what runs beside ours are its containers and its own native sidecars.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw container

Placed = tuple[str, Mapping[str, JSON]]
"""A container and where it stands: ``spec.containers[0]``."""

PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")
HOOKS: Final = ("postStart", "preStop")
_INTERCEPTION: Final = "identity.outbound.trafficInterception"
_LAST_PORT: Final = 65535
_DIGITS: Final = len(str(_LAST_PORT))
_SHOWN: Final = 3  # tokens that a warning quotes


class Bypass(msgspec.Struct, frozen=True):
    """A path and port that Envoy serves without a token, for GET and HEAD, and whose probe (``field``) asks for it."""

    path: str
    port: int
    container: str
    field: str


class OpaqueProbe(msgspec.Struct, frozen=True):
    """A probe that Envoy cannot follow: tcp, grpc or https; ``port`` is None where its name is declared nowhere."""

    kind: str
    port: int | None
    container: str
    probe: str


def app_containers(subject: Subject, reserved: Collection[str]) -> Iterator[Placed]:
    """Yields every container that is not ours, init containers first."""
    for key in ("initContainers", "containers"):
        for index, container in enumerate(subject.spec.get(key) or ()):
            if container.get("name") not in reserved:
                yield f"spec.{key}[{index}]", container


def running(containers: Iterable[Placed]) -> tuple[Placed, ...]:
    """Returns those that run beside ours: containers, and init containers that are native sidecars."""
    return tuple(
        (place, found)
        for place, found in containers
        if place.startswith("spec.containers") or found.get("restartPolicy") == "Always"
    )


def declared(containers: Iterable[Placed]) -> dict[int, tuple[str, str]]:
    """Returns port → (container, field) for every TCP containerPort: UDP is not intercepted, a hostPort is the node's."""
    found = {}
    for place, container in containers:
        for index, port in enumerate(container.get("ports") or ()):
            if port.get("containerPort") and (port.get("protocol") or "TCP") == "TCP":
                field = f"{place}.ports[{index}].containerPort"
                found[int(port["containerPort"])] = (container.get("name", ""), field)
    return found


def mapping(settings: ResolvedSettings, taken: Collection[int]) -> dict[int, int]:
    """Returns dialled port → app port; empty when an app container declares the port itself (spec 04)."""
    port, target = settings.number("identity.inbound.port"), settings.number("identity.inbound.targetPort")
    return {} if port == target or port in taken else {port: target}


def probe_bypasses(containers: Iterable[Placed]) -> Iterator[Bypass]:
    """Yields path (without its query, which no route matches) and port of every httpGet probe in plain HTTP."""
    for place, container in containers:
        for probe in PROBES:
            http = (container.get(probe) or {}).get("httpGet")
            if not http or http.get("scheme") == "HTTPS":
                continue
            port = _number(http.get("port"), container)
            if port:
                path = (http.get("path") or "/").partition("?")[0].partition("#")[0]
                yield Bypass(path or "/", port, container.get("name", ""), f"{place}.{probe}.httpGet.path")


def opaque_probes(containers: Iterable[Placed]) -> Iterator[OpaqueProbe]:
    """Yields the probes that prove less, or fail, through Envoy."""
    for _, container in containers:
        for probe in PROBES:
            found = container.get(probe) or {}
            for key, kind in (("tcpSocket", "tcp"), ("grpc", "grpc"), ("httpGet", "https")):
                action = found.get(key)
                if action and (kind != "https" or action.get("scheme") == "HTTPS"):
                    port = _number(action.get("port"), container)
                    yield OpaqueProbe(kind, port, container.get("name", ""), probe)


def http_hooks(containers: Iterable[Placed]) -> Iterator[Bypass]:
    """Yields path and port of every lifecycle hook by httpGet that asks the pod itself; ``field`` is the hook's."""
    for place, container in containers:
        for hook in HOOKS:
            http = ((container.get("lifecycle") or {}).get(hook) or {}).get("httpGet")
            if not http or http.get("host"):
                continue
            port = _number(http.get("port"), container)
            if port:
                path = (http.get("path") or "/").partition("?")[0]
                yield Bypass(path, port, container.get("name", ""), f"{place}.lifecycle.{hook}")


def _number(port: JSON, container: Mapping[str, JSON]) -> int | None:
    if isinstance(port, int):
        return port
    for declared_port in container.get("ports") or ():
        if declared_port.get("name") == port:
            return int(declared_port.get("containerPort") or 0) or None
    return None


def excluded(settings: ResolvedSettings, subject: Subject, *, inbound: bool, locked: Sequence[str]) -> tuple[int, ...]:
    """Returns the excluded ports: the setting's, and the annotation's unless a lock binds it."""
    path, key = _exclusion(inbound=inbound)
    ports = list(settings.items(path))
    if path not in locked:
        ports += parse_ports(subject.annotations.get(key, ""))
    return tuple(dict.fromkeys(ports))


def exclusion_notes(subject: Subject, *, locked: Sequence[str]) -> Iterator[str]:
    """Yields what of the two annotations has no effect, and why."""
    for inbound in (True, False):
        path, key = _exclusion(inbound=inbound)
        text = subject.annotations.get(key, "")
        if text.strip() and path in locked:
            yield f"annotation {key} has no effect: {path} is locked, or Mandatory binds it; ask the platform team"
            continue
        dropped = [token for token in _tokens(text) if not _is_port(token)]
        if dropped:
            shown = ", ".join(repr(token[:12]) for token in dropped[:_SHOWN]) + (", …" if dropped[_SHOWN:] else "")
            yield f"annotation {key} names {shown}, which is no port: want numbers from 1 to {_LAST_PORT} with commas"


def _exclusion(*, inbound: bool) -> tuple[str, str]:
    if inbound:
        return "identity.inbound.excludePorts", wellknown.INBOUND_PORTS_EXCLUDE_ANNOTATION
    return f"{_INTERCEPTION}.excludePorts", wellknown.OUTBOUND_PORTS_EXCLUDE_ANNOTATION


def parse_ports(text: str) -> list[int]:
    """Returns the ports of a comma list; what is no port is dropped (reference: authbridge-contract section 2.3)."""
    return [int(token) for token in _tokens(text) if _is_port(token)]


def _tokens(text: str) -> list[str]:
    return [token for token in (part.strip() for part in text.split(",")) if token]


def _is_port(token: str) -> bool:
    # The length first: int() refuses texts of more than 4,300 digits (Python: sys.set_int_max_str_digits).
    return len(token) <= _DIGITS and token.isascii() and token.isdigit() and 1 <= int(token) <= _LAST_PORT
