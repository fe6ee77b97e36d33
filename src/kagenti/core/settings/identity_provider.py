"""Credentials stay with their issuer: which layer may send what to which server (spec 01)."""

from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from kagenti.core.settings.derive import KEYCLOAK, VALIDATION
from kagenti.core.settings.merge import RULES, Merged, rule_path
from kagenti.core.settings.model import Finding, Layer, Source

CONFIG_INVALID: Final = "ConfigInvalid"
_SECRETS: Final = (f"{KEYCLOAK}.adminCredentialsSecret", "identity.clientRegistration.credentialsSecret")
_URLS: Final = (f"{KEYCLOAK}.url", f"{VALIDATION}.issuer", f"{VALIDATION}.jwksUrl")
_TOKEN_URL: Final = "identity.outbound.tokenExchange.tokenUrl"  # noqa: S105  # a path, not a password
_PORTS: Final = {"http": 80, "https": 443}


def findings(merged: Merged, layers: Sequence[Layer]) -> Iterator[Finding]:
    """Yields every way in which a layer would send a credential, or trust, elsewhere than the layers above allow."""
    providers = next((layer.identity_providers for layer in layers if layer.source.layer == "cluster"), ())
    yield from _redirected(merged, layers)
    for path, url, source in _urls(merged):
        if source.layer in ("built-in", "cluster"):
            continue
        if providers and not any(lies_under(url, prefix) for prefix in providers):
            yield _fault(path, f"{path} is {url!r}, which policy.identityProviders does not list", source)
        elif "tokenUrl" in path and not providers and origin_of(url) != origin_of(merged.values[f"{KEYCLOAK}.url"]):
            server = merged.values[f"{KEYCLOAK}.url"]
            yield _fault(path, f"{path} is {url!r}, which is not on the server of keycloak.url {server!r}", source)


def _redirected(merged: Merged, layers: Sequence[Layer]) -> Iterator[Finding]:
    """A layer that moves keycloak.url must name, itself, every credential that the result would use."""
    url = merged.origins[f"{KEYCLOAK}.url"].source
    mover = next((layer for layer in layers if layer.source == url), None)
    if mover is None or mover.source.layer == "cluster":
        return  # the platform's own choice: no layer above it has a credential of anybody's
    above = layers[: layers.index(mover)]
    for path in _needed(above):
        own = mover.values.get(path)
        taken = own is not None and mover.source.layer == "workload" and own in _given(above, path)
        if own is None or taken:
            why = "a layer above gives the same Secret" if taken else "it does not set that itself"
            yield _fault(path, f"{url} sets {KEYCLOAK}.url but not its own {path}: {why}", url)


def _needed(above: Sequence[Layer]) -> tuple[str, ...]:
    """Returns the credential references that must be named anew."""
    static = any(layer.values.get(_SECRETS[1]) is not None for layer in above)
    return _SECRETS if static else _SECRETS[:1]


def _given(above: Sequence[Layer], path: str) -> set[str]:
    from_layers = {layer.values[path] for layer in above if path in layer.values}
    return from_layers | ({"keycloak-admin-secret"} if path == _SECRETS[0] else set())


def _urls(merged: Merged) -> Iterator[tuple[str, str, Source]]:
    """Yields every URL of an identity provider that a layer set itself."""
    for path in (*_URLS, _TOKEN_URL):
        origin = merged.origins.get(path)
        if origin is not None and not origin.derived_from:
            yield path, merged.values[path], origin.source
    for rule in merged.values.get(RULES) or ():
        url = (rule.get("target") or {}).get("tokenUrl")
        if url:
            yield f"{rule_path(rule)}.target.tokenUrl", url, merged.origins[rule_path(rule)].source


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Returns scheme, host and port of a URL (RFC 6454 section 4)."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme, (parts.hostname or "").lower(), port or _PORTS.get(parts.scheme)


def lies_under(url: str, prefix: str) -> bool:
    """Whether a URL has the prefix's scheme, host and port, and its path begins with the prefix's path segments."""
    if origin_of(url) != origin_of(prefix):
        return False
    wanted = [segment for segment in urlsplit(prefix).path.split("/") if segment]
    found = [segment for segment in urlsplit(url).path.split("/") if segment]
    return ".." not in found and found[: len(wanted)] == wanted


def _fault(path: str, message: str, source: Source) -> Finding:
    return Finding(CONFIG_INVALID, f"{message}; mend {source}", path, (str(source),))
