"""Credentials stay with their issuer: which layer may send what to which server (spec 01).

Judges what has effect, never what was merely written: a value that a lock overrules is nobody's own.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from kagenti.core.settings.derive import KEYCLOAK, VALIDATION
from kagenti.core.settings.layer import BUILT_IN_LAYER
from kagenti.core.settings.merge import RULES, rule_path
from kagenti.core.settings.model import JSON, Finding, Layer, Merged, Origin, Source

CONFIG_INVALID: Final = "ConfigInvalid"
_URL: Final = f"{KEYCLOAK}.url"
_SECRETS: Final = (f"{KEYCLOAK}.adminCredentialsSecret", "identity.clientRegistration.credentialsSecret")
_TOKEN_URL: Final = "identity.outbound.tokenExchange.tokenUrl"  # noqa: S105  # a path, not a password
_URLS: Final = (_URL, f"{VALIDATION}.issuer", f"{VALIDATION}.jwksUrl", _TOKEN_URL)
_REMEMBERED: Final = 1024  # URLs: a cluster has a handful, and each is asked about for every workload
_PORTS: Final = {"http": 80, "https": 443}


def findings(merged: Merged, layers: Sequence[Layer]) -> Iterator[Finding]:
    """Yields every way in which a layer would send a credential, or trust, elsewhere than the layers above allow."""
    yield from _redirected(merged, layers)
    providers = next((layer.identity_providers for layer in layers if layer.source.layer == "cluster"), ())
    below = [found for found in _urls(merged) if found[2].source.layer not in ("built-in", "cluster")]
    yield from _unlisted(below, providers) if providers else _off_server(below, merged)


def _redirected(merged: Merged, layers: Sequence[Layer]) -> Iterator[Finding]:
    """A layer that moves keycloak.url must name, itself, every credential that the result would use."""
    url = merged.origins[_URL].source
    mover = next((layer for layer in layers if layer.source == url), None)
    if mover is None or mover.source.layer == "cluster":
        return  # the platform's own choice: no layer above it has a credential of anybody's
    above = (BUILT_IN_LAYER, *layers[: layers.index(mover)])
    foreign = {layer.values[path] for layer in above for path in _SECRETS if path in layer.values}
    own = merged.effective[url]
    unnamed = [path for path in _needed(merged, above) if path not in own]
    for path in unnamed:
        why = "it does not set that itself, or a lock makes its value ineffective"
        yield _fault(path, f"{url} sets {_URL} but not its own {path}: {why}", url)
    for path in _SECRETS:  # also one that need not be named anew: what is named is sent
        if path in unnamed or merged.values.get(path) not in foreign:
            continue
        giver = merged.origins[path].source
        if giver.layer == "workload" and _adds(merged, own, path, giver, url):
            why = f"a layer above {url}, which sets {_URL}, gives a Secret of that name for another server"
            yield _fault(path, f"{giver} has no {path} of its own: {why}", giver)


def _adds(merged: Merged, own: Mapping[str, JSON], path: str, giver: Source, mover: Source) -> bool:
    """Whether an AgentRuntime says more than the namespace's config that moved the server said for itself."""
    return giver == mover or merged.values[path] != own.get(path)


def _needed(merged: Merged, above: Sequence[Layer]) -> tuple[str, ...]:
    """Returns the credential references that must be named anew."""
    static = any(_SECRETS[1] in merged.effective.get(layer.source, {}) for layer in above)
    return _SECRETS if static else _SECRETS[:1]


_Place = tuple[str, str, Origin]


def _urls(merged: Merged) -> Iterator[_Place]:
    """Yields path, URL and origin of every URL of an identity provider, derived ones by the input of the lowest layer."""
    for path in _URLS:
        yield path, merged.values[path], merged.origins[path]
    for rule in merged.values.get(RULES) or ():
        url = (rule.get("target") or {}).get("tokenUrl")
        if url:
            yield f"{rule_path(rule)}.target.tokenUrl", url, merged.origins[rule_path(rule)]


def _unlisted(places: Sequence[_Place], providers: Sequence[str]) -> Iterator[Finding]:
    """Where the cluster lists identity providers, every URL of the layers below lies under one of them."""
    moved = False
    for path, url, origin in places:
        if any(lies_under(url, prefix) for prefix in providers) or (moved and origin.derived_from):
            continue  # what is derived from a URL at fault is mended with it
        moved = moved or path == _URL
        why = f" ({origin.derived_from})" if origin.derived_from else ""
        yield _fault(path, f"{path} is {url!r}{why}, which policy.identityProviders does not list", origin.source)


def _off_server(places: Sequence[_Place], merged: Merged) -> Iterator[Finding]:
    """Without a list, a token endpoint of the layers below has the origin of keycloak.url."""
    server = merged.values[_URL]
    expected = origin_of(server)
    for path, url, origin in places:
        if path.endswith("tokenUrl") and (expected is None or origin_of(url) != expected):
            message = f"{path} is {url!r}, which is not on the server of {_URL} {server!r}"
            yield _fault(path, message, origin.source, merged.origins[_URL].source)


@functools.lru_cache(_REMEMBERED)
def origin_of(url: str) -> tuple[str, str, int] | None:
    """Returns scheme, host and port of an http(s) URL (RFC 6454 section 4); None for what is none, never an exception."""
    parts = _split(url)
    if parts is None:
        return None
    try:
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname.lower(), port or _PORTS[parts.scheme]


@functools.lru_cache(_REMEMBERED)
def lies_under(url: str, prefix: str) -> bool:
    """Whether a URL has the prefix's scheme, host and port, and its path begins with the prefix's path segments.

    Percent-encoding, dot segments and empty segments are read in more than one way by servers and proxies, so a URL
    with one of them lies under nothing (RFC 3986 section 6.2.2).
    """
    origin = origin_of(url)
    if origin is None or origin != origin_of(prefix):
        return False
    found, wanted = _segments(url), _segments(prefix)
    return found is not None and wanted is not None and found[: len(wanted)] == wanted


def _segments(url: str) -> list[str] | None:
    """Returns the path segments of a URL; None where they are not plain."""
    parts = _split(url)
    segments = parts.path.removeprefix("/").removesuffix("/").split("/") if parts else [""]
    if segments == [""]:
        return []
    plain = all(segment.partition(";")[0] not in ("", ".", "..") and "%" not in segment for segment in segments)
    return segments if plain else None


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:  # brackets that hold no IPv6 address
        return None


def _fault(path: str, message: str, *sources: Source) -> Finding:
    objects = tuple(dict.fromkeys(str(source) for source in sources if source.layer not in ("built-in", "cluster")))
    return Finding(CONFIG_INVALID, f"{message}; mend {' or '.join(objects)}", path, objects)
