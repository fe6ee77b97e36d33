"""authproxy-routes: what the old processor did for a host, and which destination rules do the same.

Old: a list, the first match wins, globs in which ``*`` is one label and ``**`` several. New: exact host first, then the longest
``*.suffix`` of any depth. Source: reference authbridge-contract sections 3.4 and 3.5.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kagenti.core.migration import keys, reasons, texts
from kagenti.core.migration.eras import Era
from kagenti.core.migration.report import Report, quoted

JSON = Any  # a value of routes.yaml

_EXACT: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SPECIAL: Final = re.compile(r"[*?\[\]{}!\\]")
_FIELDS: Final = {
    "host": str,
    "target_audience": str,
    "token_scopes": str,
    "token_url": str,
    "passthrough": bool,
    "action": str,
}


@dataclass(frozen=True, slots=True)
class Route:
    """One entry as written; ``passthrough`` is what the era's binary made of its two fields. ``place`` names it for people."""

    host: str
    audience: str = ""
    scopes: str = ""
    token_url: str = ""
    passthrough: bool = False
    place: str = ""

    def matches(self, host: str) -> bool:
        """Whether the old processor took this route for a host (lower case, without port)."""
        return _matches(self.host.lower(), host)


def parse(place: str, text: str, *, era: Era, report: Report) -> tuple[Route, ...]:
    """Returns the routes of routes.yaml; a fault makes the whole file unreadable, as it ended the old processor."""
    if not text.strip():
        return ()
    try:
        found = texts.read_yaml(text)
    except texts.Unreadable as problem:
        report.fault(reasons.MALFORMED, place, f"routes.yaml: {problem}; mend it", "routes.yaml")
        return ()
    if found is None:
        return ()
    reads = ("action",) if era.consolidated else ("passthrough",)
    return _entries(place, found, "routes.yaml", _Reads(reads, era), report)


def inline(place: str, found: JSON, *, era: Era, report: Report) -> tuple[Route, ...]:
    """Returns the rules inside the consolidated binary's own file, which accept both ways to pass a call on (section 3.6)."""
    return _entries(place, found, "token-exchange.routes.rules", _Reads(("action", "passthrough"), era), report)


@dataclass(frozen=True, slots=True)
class _Reads:
    """Which of the two fields that pass a call on somebody read, and in which era."""

    fields: tuple[str, ...]
    era: Era


def _entries(place: str, found: JSON, name: str, reads: _Reads, report: Report) -> tuple[Route, ...]:
    if not isinstance(found, list):
        report.fault(reasons.WRONG_TYPE, place, f"{name} is {quoted(found)}, want a list; mend it", name)
        return ()
    routes = []
    for number, entry in enumerate(found):
        fault = _fault(entry, number)
        if fault:
            report.fault(reasons.WRONG_TYPE, place, f"{name}: {fault}; mend it", name)
            return ()
        routes.append(_route(entry, f"{place} routes[{number}]", reads, report))
    return tuple(route for route in routes if route is not None)


def _fault(entry: JSON, number: int) -> str:
    if not isinstance(entry, Mapping):
        return f"entry {number} is {quoted(entry)}, want keys and values"
    for name, kind in _FIELDS.items():
        if name in entry and not isinstance(entry[name], kind):
            return (
                f"entry {number}: {name} is {quoted(entry[name])}, want {'true or false' if kind is bool else 'a text'}"
            )
    return ""


def _route(entry: Mapping[str, JSON], place: str, reads: _Reads, report: Report) -> Route | None:
    for name in entry:
        if name not in _FIELDS:
            report.take(place, str(name), keys.UNKNOWN)
    if not entry.get("host"):
        report.impossible(place, "host", "a route without a host matched nothing")
        return None
    for unread in {"passthrough", "action"}.difference(reads.fields).intersection(entry):
        report.take(place, unread, keys.Key("ignored", why=f"the binaries of {reads.era.name} did not read it"))
    passes = any(entry.get(name) in (True, "passthrough") for name in reads.fields)
    return Route(
        entry["host"],
        entry.get("target_audience", ""),
        entry.get("token_scopes", ""),
        entry.get("token_url", ""),
        bool(passes),
        place,
    )


_WILD: Final = re.compile(r"\*\*|[*?]|[^*?]")


def _matches(glob: str, host: str) -> bool:
    """Whether a glob with ``.`` as separator takes a host: ``*`` and ``?`` stay in a label, ``**`` crosses (gobwas).

    By the set of places that each character can lead to, in the product of both lengths: as a regular expression a tenant's
    glob of many stars could take for ever.
    """
    parts = _WILD.findall(glob)
    at = _past_stars({0}, parts)
    for character in host:
        moved: set[int] = set()
        for place in (place for place in at if place < len(parts)):
            part = parts[place]
            if part == "**" or (part == "*" and character != "."):
                moved.add(place)
            elif part == character or (part == "?" and character != "."):
                moved.add(place + 1)
        at = _past_stars(moved, parts)
    return len(parts) in at


def _past_stars(places: set[int], parts: Sequence[str]) -> set[int]:
    """Adds the places behind stars, which may stand for nothing."""
    found = set(places)
    for place in places:
        while place < len(parts) and parts[place] in ("*", "**"):
            place += 1  # noqa: PLW2901  # a walk from here
            found.add(place)
    return found


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a request to one host: the action, and with Exchange for what and where."""

    action: str
    audience: str = ""
    scopes: tuple[str, ...] = ()
    token_url: str = ""
    on_missing_token: str = ""

    def __str__(self) -> str:
        if self.action != "Exchange":
            return self.action
        scopes = f" with {' '.join(self.scopes)}" if self.scopes else ""
        return f"Exchange for {self.audience}{scopes} at {self.token_url}, without a token {self.on_missing_token}"


PASS: Final = Decision("Passthrough")


@dataclass(frozen=True, slots=True)
class Outbound:
    """The outbound part of an old pod's environment. ``exchanges``: hosts without a route are exchanged for too."""

    routes: tuple[Route, ...] = ()
    exchanges: bool = False
    audience: str = ""
    scopes: str = ""
    token_url: str = ""
    on_missing_token: str = "ClientCredentials"  # noqa: S105  # a choice, not a password

    def decide(self, host: str) -> Decision:
        """Returns what the old processor did for a host; without audience, scopes or token URL it passed the call on."""
        route = next((found for found in self.routes if found.matches(host)), None)
        if route is None and not self.exchanges:
            return PASS
        return self.of(route)

    def of(self, route: Route | None) -> Decision:
        """Returns what it did for a route, None for a host without one under the policy exchange."""
        if route is not None and route.passthrough:
            return PASS
        audience = (route.audience if route else "") or self.audience
        scopes = (route.scopes if route else "") or self.scopes
        token_url = (route.token_url if route else "") or self.token_url
        if not (audience and scopes.split() and token_url):
            return PASS
        unique = tuple(dict.fromkeys(scopes.split()))
        return Decision("Exchange", audience, unique, token_url, self.on_missing_token)


def suffix_of(glob: str) -> str | None:
    """Returns the host pattern of a destination rule for a glob, or None where there is none with its meaning."""
    host = glob.lower()
    if not _SPECIAL.search(host):
        return host if _EXACT.fullmatch(host) and len(host) <= _LONGEST_HOST else None
    for stars in ("**.", "*."):
        rest = host.removeprefix(stars)
        if rest != host and _EXACT.fullmatch(rest) and len(rest) + 2 <= _LONGEST_HOST:
            return f"*.{rest}"
    return None


_LONGEST_HOST: Final = 253


def covered(route: Route, earlier: Sequence[Route]) -> Route | None:
    """Returns an earlier route that takes every host of this one, so that it was never reached."""
    for other in earlier:
        if _covers(other.host.lower(), route.host.lower()):
            return other
    return None


def _covers(general: str, glob: str) -> bool:
    if general == glob:
        return True
    if not _SPECIAL.search(glob):
        return _matches(general, glob)
    if not general.startswith("**.") or _SPECIAL.search(general.removeprefix("**.")):
        return general == "**"
    rest = glob.lstrip("*")
    return glob.startswith("*") and not _SPECIAL.search(rest) and rest.endswith(general[2:])


def sample_hosts(globs: Sequence[str]) -> Iterator[str]:
    """Yields hosts that show what routes and rules decide: each exact host, one and two labels below each suffix, a stranger."""
    for glob in globs:
        host = glob.lower().lstrip("*").lstrip(".")
        if not _SPECIAL.search(host) and _EXACT.fullmatch(host):
            if host == glob.lower():
                yield host
            else:
                yield from (f"one.{host}", f"one.two.{host}")
    yield "no-route.example.com"
