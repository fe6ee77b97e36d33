"""What is served without a token: probes, scrapes, agent cards and the bypass paths of the settings (spec 04, 05)."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from kagenti.core.envoy import layout
from kagenti.core.envoy.layout import JSON
from kagenti.core.envoy.proxy import Proxy

_PROMETHEUS: Final = "trace.integration.prometheus"
_SEGMENT: Final = "[A-Za-z0-9_~-][A-Za-z0-9._~-]*"
"""One plain path segment: nothing in it that an app could decode a second time (facts §11)."""
_CARDS: Final = ("/.well-known/agent-card.json", "/.well-known/agent.json")  # A2A 0.3, and its name before
_OVERRIDES: Final = (
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-envoy-original-path",
)
"""Headers by which some frameworks take another path or method than the one that was let through."""


def _odd_spellings(header: str) -> Iterator[str]:
    """Yields a header's name with underscores in place of dashes: CGI and WSGI take them for one (RFC 3875, PEP 3333)."""
    first, *rest = header.split("-")
    for joints in itertools.product("-_", repeat=len(rest)):
        if "_" in joints:
            yield first + "".join(f"{joint}{word}" for joint, word in zip(joints, rest, strict=True))


ODD_OVERRIDES: Final = tuple(odd for name in _OVERRIDES for odd in _odd_spellings(name))
"""The same headers spelt as no client spells them: taken off every request, so that no route need list them."""


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests a route takes: a path matcher, and where they are not None the dialled port; or reading only."""

    name: str
    path: JSON
    port: int | None = None
    reading: bool = False

    def on(self, port: int) -> "Match":
        """Returns the same match on one dialled port."""
        return replace(self, port=port)

    def body(self) -> JSON:
        """Returns the RouteMatch message."""
        headers = []
        if self.reading:
            pattern = {"safe_regex": {"regex": "GET|HEAD"}}
            headers.append({"name": ":method", "string_match": pattern})
        if self.port is not None:
            headers.append({"name": layout.PORT_HEADER, "string_match": {"exact": str(self.port)}})
        return {**self.path, **({"headers": headers} if headers else {})}


def matches(proxy: Proxy) -> Iterator[Match]:
    """Yields the bypasses in the order of their routes."""
    settings = proxy.settings
    for path, port in proxy.bypasses:
        yield Match(f"probe {path}", {"path": _plain(path)}, port, reading=True)
    for path in settings.items(f"{layout.VALIDATION}.bypassPaths"):
        pattern = _pattern(path)
        if pattern is not None:
            yield Match(f"bypass {path}", pattern)
    for path in _CARDS:
        yield Match(f"card {path}", {"path": path}, reading=True)
    if settings.flag(f"{_PROMETHEUS}.enabled"):
        path, port = settings.text(f"{_PROMETHEUS}.path"), settings.number(f"{_PROMETHEUS}.port")
        yield Match("prometheus", {"path": path}, port, reading=True)


def without_overrides() -> JSON:
    """Returns the route fields that take override headers off."""
    return {"request_headers_to_remove": list(_OVERRIDES)}


def _plain(path: str) -> str:
    """Returns a probe's path as Envoy sees it: the kubelet adds a missing slash; the query is no part of the path."""
    bare = path.partition("?")[0]
    return bare if bare.startswith("/") else f"/{bare}"


def _pattern(path: str) -> JSON | None:
    """Returns the matcher of a bypass path; None for one that would open everything, which no schema lets through."""
    folder = path.removesuffix("/*")
    if not folder.strip("/"):
        return None
    if folder == path:
        return {"path": path}
    return {"safe_regex": {"regex": f"{re.escape(folder)}/{_SEGMENT}"}}
