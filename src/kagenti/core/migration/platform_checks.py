"""What made the old webhook refuse its platform values as a whole: the types of its fields and its own checks.

Source: reference authbridge-contract sections 6.2 and 6.3. A key that an era did not have was passed over, whatever it held.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from kagenti.core.migration import reasons
from kagenti.core.migration.eras import Era

JSON = Any  # a value of the file

Check = Callable[[JSON], bool]
Row = tuple[Check, str]
"""Whether a value passed, and what was wanted in words."""

LOWEST, HIGHEST = 1024, 65535
_QUANTITY: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?")
_IPTABLES: Final = ("", "iptables", "iptables-nft", "iptables-legacy")


def _number(value: JSON) -> bool:
    return type(value) is int


def _text(value: JSON) -> bool:
    return isinstance(value, str)


def _flag(value: JSON) -> bool:
    return isinstance(value, bool)


def _texts(value: JSON) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _mapping(value: JSON) -> bool:
    return isinstance(value, Mapping)


def _amount(value: JSON) -> bool:
    return not isinstance(value, bool) and (
        isinstance(value, int | float) or (_text(value) and _QUANTITY.fullmatch(value) is not None)
    )


def _resources(value: JSON) -> bool:
    if not _mapping(value):
        return False
    kinds = [value.get(kind) for kind in ("requests", "limits")]
    return all(kind is None or (_mapping(kind) and all(map(_amount, kind.values()))) for kind in kinds)


_BLOCK: Final[Row] = (_mapping, "keys and values")
_A_NUMBER: Final[Row] = (_number, "a whole number")
_A_TEXT: Final[Row] = (_text, "a text")
_A_FLAG: Final[Row] = (_flag, "true or false")
_AMOUNTS: Final[Row] = (_resources, "requests and limits, each an amount by name")

_COMPONENTS: Final = ("envoyProxy", "spiffeHelper", "clientRegistration")


def _all(names: Iterable[str], row: Row) -> dict[str, Row]:
    return dict.fromkeys(names, row)


_ALWAYS: Final[Mapping[str, Row]] = {
    **_all(("images", "proxy", "resources", "tokenExchange", "spiffe", "observability"), _BLOCK),
    **_all((f"proxy.{name}" for name in ("port", "inboundProxyPort", "adminPort", "uid")), _A_NUMBER),
    **_all((f"images.{name}" for name in ("envoyProxy", "proxyInit", "authbridge", "pullPolicy")), _A_TEXT),
    **_all((f"resources.{name}" for name in ("envoyProxy", "proxyInit", "authbridge")), _AMOUNTS),
    **_all(("spiffe.trustDomain", "spiffe.socketPath", "observability.logLevel"), _A_TEXT),
    **_all(("tokenExchange.tokenUrl", "tokenExchange.defaultAudience"), _A_TEXT),
    "tokenExchange.defaultScopes": (_texts, "a list of texts"),
    "observability.enableMetrics": _A_FLAG,
}
_SIDECARS: Final[Mapping[str, Row]] = {
    **_ALWAYS,
    **_all(("sidecars", *(f"sidecars.{name}" for name in _COMPONENTS)), _BLOCK),
    **_all((f"sidecars.{name}.enabled" for name in _COMPONENTS), _A_FLAG),
    **_all(("images.spiffeHelper", "images.clientRegistration", "observability.tracingBackend"), _A_TEXT),
    **_all(("resources.spiffeHelper", "resources.clientRegistration"), _AMOUNTS),
    "observability.enableTracing": _A_FLAG,
}
_CONSOLIDATED: Final[Mapping[str, Row]] = {
    **_ALWAYS,
    "images.authbridgeLite": _A_TEXT,
    "proxy.transparentPort": _A_NUMBER,
    "proxy.iptablesCmd": _A_TEXT,
    "proxy.allowedEgressEnforcement": (_texts, "a list of texts"),
    "resources.authbridgeLite": _AMOUNTS,
}
_CHECKED: Final[Mapping[str, Row]] = {
    **_all(
        ("proxy.port", "proxy.inboundProxyPort", "proxy.adminPort", "proxy.transparentPort"),
        (lambda value: LOWEST <= value <= HIGHEST, f"{LOWEST} to {HIGHEST}"),
    ),
    **_all(
        (
            f"images.{name}"
            for name in ("envoyProxy", "proxyInit", "spiffeHelper", "clientRegistration", "authbridgeLite")
        ),
        (bool, "an image"),
    ),
}
_CHECKED_CONSOLIDATED: Final[Mapping[str, Row]] = {
    **_CHECKED,
    "images.authbridge": (bool, "an image"),
    "proxy.uid": (lambda value: value >= 1, "1 or more"),
    "proxy.iptablesCmd": (
        lambda value: value in _IPTABLES,
        "one of iptables, iptables-nft, iptables-legacy, or nothing",
    ),
    "proxy.allowedEgressEnforcement": (bool, "at least one"),
}


def fault_of(path: str, value: JSON, era: Era) -> tuple[str, str] | None:
    """Returns a reason and what was wanted, for a value that made the webhook of an era refuse the file; None for a good one."""
    types, checked = (_CONSOLIDATED, _CHECKED_CONSOLIDATED) if era.consolidated else (_SIDECARS, _CHECKED)
    if value is None or path not in types:
        return None
    for reason, rows in ((reasons.WRONG_TYPE, types), (reasons.OLD_REFUSED, checked)):
        passes, wanted = rows.get(path, (lambda _: True, ""))
        if not passes(value):
            return reason, wanted
    return None
