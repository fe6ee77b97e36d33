"""A running pod's receipt as the xDS server reads it: what the pod was built from, and whether its URLs still may be used.

The receipt was written by our webhook (core/inject), but it is an annotation: whoever may update the pod may have
written it anew. So it is parsed strictly, and an identity provider that only the receipt names must still be allowed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from kagenti import errors
from kagenti.core import settings
from kagenti.core.settings.identity_provider import lies_under, origin_of
from kagenti.core.settings.model import Finding, ResolvedSettings
from kagenti_api.v1alpha1.fields import LAYERED_FIELDS

JSON = Any  # a receipt as it stands in the annotation

MOST_RECEIPT: Final = 32 * 1024
"""Bytes of a receipt (spec 04): none of ours is longer, and what is built from one is bounded with it."""
PROVIDER_NOT_ALLOWED: Final = "ProviderNotAllowed"

_KEYCLOAK_URL: Final = "identity.clientRegistration.keycloak.url"
_TOKEN_URL: Final = "identity.outbound.tokenExchange.tokenUrl"  # noqa: S105  # a path, not a password
_RULES: Final = "identity.outbound.tokenExchange.destinationRules"
_URLS: Final = (
    _KEYCLOAK_URL,
    "identity.inbound.validation.issuer",
    "identity.inbound.validation.jwksUrl",
    _TOKEN_URL,
)
# What differs between pods that are built alike: the snapshot key leaves it out (spec 05).
_CIRCUMSTANCES: Final = ("liveRevision", "injectedAt", "trigger")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_LAST_PORT: Final = 65535
_MOST_BYPASSES: Final = 256
_MOST_MAPPED: Final = 16  # a route for each, of every bypass; our webhook writes one


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a pod was built from.

    ``restart`` holds the restart settings, by path. ``port_mapping`` is dialled port → app port, ``bypasses`` are
    (probe path, port). ``digest`` is the content hash of all that, without the circumstances of the injection.
    """

    layout: int
    restart: Mapping[str, JSON]
    port_mapping: Mapping[int, int]
    bypasses: tuple[tuple[str, int], ...]
    containers: tuple[str, ...]
    digest: str


def parse(text: str) -> Receipt:
    """Returns the receipt of an annotation.

    Raises:
        ManifestError: It is no receipt of ours; the message quotes nothing of it.
    """
    if len(text.encode()) > MOST_RECEIPT:
        raise _unreadable("its length")
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise errors.ManifestError("the receipt is not JSON; create the pod anew") from error
    if not isinstance(content, dict):
        raise _unreadable("its content")
    layout = content.get("layout")
    if not isinstance(layout, int) or isinstance(layout, bool):
        raise _unreadable("layout")
    return Receipt(
        layout=layout,
        restart=_restart(content.get("settings")),
        port_mapping=_mapping(content.get("portMapping") or {}),
        bypasses=_bypasses(content.get("probeBypasses") or []),
        containers=_names(content.get("containers") or []),
        digest=_digest(content),
    )


def _digest(content: Mapping[str, JSON]) -> str:
    """Returns the content hash; what can be read can not always be written (a thousand brackets)."""
    try:
        return settings.digest({key: value for key, value in content.items() if key not in _CIRCUMSTANCES})
    except (TypeError, RecursionError) as error:
        raise _unreadable("a value") from error


def refused_urls(pod: ResolvedSettings, today: ResolvedSettings, *, providers: Sequence[str]) -> tuple[Finding, ...]:
    """Returns why a pod's identity-provider URLs may not be used; empty when they may (spec 05, spec 01).

    What today's layers say has been judged with them; this judges what only the receipt still says, and whether a
    token URL of today is one to which the pod's own credentials may be sent.

    Args:
        pod: The settings of the pod: the restart part of its receipt, the live part of today.
        today: The settings that the next pod would get.
        providers: ``policy.identityProviders`` of the cluster's config.
    """
    return (*_moved(pod, today, providers), *_foreign_token_urls(pod, today, providers))


def _moved(pod: ResolvedSettings, today: ResolvedSettings, providers: Sequence[str]) -> Iterator[Finding]:
    if not providers:
        return
    for path in _URLS:
        url = pod.text(path)
        if url != today.text(path) and not _listed(url, providers):
            yield _fault(path, f"{path} is {url!r} in the pod's receipt, which policy.identityProviders does not list")


def _foreign_token_urls(pod: ResolvedSettings, today: ResolvedSettings, providers: Sequence[str]) -> Iterator[Finding]:
    server = pod.text(_KEYCLOAK_URL)
    if origin_of(server) == origin_of(today.text(_KEYCLOAK_URL)):
        return
    for path, url, given in _token_urls(pod, today):
        if given not in ("built-in", "cluster") and not _listed(url, providers) and origin_of(url) != origin_of(server):
            message = f"{path} is {url!r}, but the pod's client is registered at {server!r}"
            yield _fault(path, message)


def _token_urls(pod: ResolvedSettings, today: ResolvedSettings) -> Iterator[tuple[str, str, str]]:
    """Yields (path, URL, layer) for every token URL that a layer set itself."""
    origin = today.origins.get(_TOKEN_URL)
    if origin is not None and not origin.derived_from:
        yield _TOKEN_URL, pod.text(_TOKEN_URL), origin.source.layer
    for rule in pod.items(_RULES):
        url = (rule.get("target") or {}).get("tokenUrl")
        if url:
            port = rule["match"].get("port")
            path = f"{_RULES}[{rule['match']['host']}{f':{port}' if port else ''}]"
            origin = today.origins.get(path)
            yield f"{path}.target.tokenUrl", url, origin.source.layer if origin else ""


def _listed(url: str, providers: Sequence[str]) -> bool:
    return any(lies_under(url, prefix) for prefix in providers)


def _fault(path: str, message: str) -> Finding:
    return Finding(PROVIDER_NOT_ALLOWED, f"{message}; create the pod anew", path)


def _unreadable(what: str) -> errors.ManifestError:
    return errors.ManifestError(f"the receipt is not one of ours: {what} has another form; create the pod anew")


def _restart(value: JSON) -> Mapping[str, JSON]:
    """Returns the settings that this version knows; a newer webhook may have recorded more."""
    if not isinstance(value, dict):
        raise _unreadable("settings")
    return {path: setting for path, setting in value.items() if path in LAYERED_FIELDS}


def _mapping(value: JSON) -> Mapping[int, int]:
    if not isinstance(value, dict) or len(value) > _MOST_MAPPED or not all(map(_PORT.fullmatch, value)):
        raise _unreadable("portMapping")
    return {_port(int(port), "portMapping"): _port(target, "portMapping") for port, target in value.items()}


def _bypasses(value: JSON) -> tuple[tuple[str, int], ...]:
    if not isinstance(value, list) or len(value) > _MOST_BYPASSES:
        raise _unreadable("probeBypasses")
    found = []
    for entry in value:
        path = entry.get("path") if isinstance(entry, dict) else None
        if not isinstance(path, str):
            raise _unreadable("probeBypasses")
        found.append((path, _port(entry.get("port"), "probeBypasses")))
    return tuple(found)


def _names(value: JSON) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _unreadable("containers")
    return tuple(value)


def _port(value: JSON, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LAST_PORT:
        raise _unreadable(what)
    return value
