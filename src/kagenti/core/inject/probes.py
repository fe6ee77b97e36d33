"""Probes of the app: those that a locked list of bypass paths forbids, and those that prove less through Envoy."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from kagenti.core.inject.refusal import Refusal
from kagenti.core.settings import CONFIG_INVALID, under
from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.sidecars import Placed, Sidecars, http_hooks, opaque_probes, probe_bypasses

_BYPASS: Final = "identity.inbound.validation.bypassPaths"
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")
"""What ``*`` stands for at the end of a bypass path: one segment that no server reads as another path (spec 05)."""

_OPAQUE: Final = {
    "tcp": "through Envoy it proves less; use httpGet, or",
    "grpc": "it brings no token, and Envoy lets nobody in without, so it will fail; use httpGet, or",
    "https": "Envoy refuses TLS that it cannot read, so it will fail;",
}
"""What becomes of each kind of probe, and the beginning of what to do."""


def locked_out(
    running: Sequence[Placed], sidecars: Sidecars, settings: ResolvedSettings, locked: Sequence[str]
) -> Iterator[Refusal]:
    """Yields a refusal for each probe that would open a path of its own where bypassPaths is locked."""
    if sidecars.bypasses is None or not any(under(_BYPASS, lock) for lock in locked):
        return
    allowed = settings.items(_BYPASS)
    for found in probe_bypasses(running):
        if found.port in sidecars.inbound_excluded:
            continue
        if not any(allows(pattern, found.path) for pattern in allowed):
            message = (
                f"a probe of container {found.container!r} asks for {found.path!r}, which the locked {_BYPASS} does not "
                f"list; use a listed path: {', '.join(allowed)}"
            )
            yield Refusal(CONFIG_INVALID, message, found.field)


def allows(pattern: str, path: str) -> bool:
    """Whether a bypass path covers a request's path: exactly, or by one segment in the place of a final ``*``."""
    path = path.partition("?")[0]
    if not pattern.endswith("/*"):
        return path == pattern
    head = pattern[:-1]
    return path.startswith(head) and _SEGMENT.fullmatch(path.removeprefix(head)) is not None


def notes(running: Sequence[Placed], sidecars: Sidecars) -> Iterator[str]:
    """Yields a warning for each probe on an intercepted port that Envoy cannot follow."""
    if sidecars.bypasses is None:
        return
    for found in opaque_probes(running):
        if found.port is not None and found.port in sidecars.inbound_excluded:
            continue
        what = f"{found.probe} of container {found.container!r} is {'an' if found.kind == 'https' else 'a'} {found.kind} probe"
        port = f"port {found.port}" if found.port else "its port"
        how = f"exclude {port} (identity.inbound.excludePorts, or the annotation kagenti.io/inbound-ports-exclude)"
        yield f"{what}: {_OPAQUE[found.kind]} {how}"


def hook_notes(running: Sequence[Placed], sidecars: Sidecars, settings: ResolvedSettings) -> Iterator[str]:
    """Yields a warning for each httpGet hook that Envoy refuses: the kubelet takes any answer for success.

    Source: kubelet, pkg/kubelet/lifecycle/handlers.go (runHTTPHandler reads no status).
    """
    if sidecars.bypasses is None:
        return
    for found in http_hooks(running):
        open_ = any(allows(pattern, found.path) for pattern in settings.items(_BYPASS))
        if open_ or (found.path, found.port) in sidecars.bypasses or found.port in sidecars.inbound_excluded:
            continue
        hook = found.field.rpartition(".")[2]
        what = f"{hook} of container {found.container!r} is an httpGet hook"
        yield (
            f"{what}: Envoy refuses it for want of a token, and nobody notices; use exec, or exclude port {found.port} "
            "(identity.inbound.excludePorts, or the annotation kagenti.io/inbound-ports-exclude)"
        )
