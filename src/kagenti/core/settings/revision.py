"""Revisions: content hashes over the live and the restart part of the result; equal content, equal revision."""

import functools
import hashlib
import re
from collections.abc import Mapping
from typing import Final

import orjson

from kagenti.core.settings.layer import whole
from kagenti.core.settings.model import JSON, ResolvedSettings
from kagenti_api.v1alpha1.fields import LAYERED_FIELDS
from kagenti_api.v1alpha1.marks import Class

_SHORT: Final = 12
# How a float without a fraction looks, in a number or (which only costs time) in a text; the version at the end of an
# image's name is none.
_MAY_BE_WHOLE: Final = re.compile(rb"[0-9]\.0(?:[,\]}]|$)|[0-9]e\+?[0-9]+(?:[,\]}]|$)")
_EXCHANGE: Final = "injection.tokenExchange"
_OUTBOUND: Final = ("identity.outbound.defaultPolicy", "identity.outbound.tokenExchange.")


def effective_class(path: str, values: Mapping[str, JSON]) -> Class:
    """Returns a setting's class; with AuthBridge the outbound rules and policy reach pods by restart only (spec 01)."""
    class_ = LAYERED_FIELDS[path].mark.class_
    if class_ == "live" and values.get(_EXCHANGE) == "AuthBridge" and path.startswith(_OUTBOUND):
        return "restart"
    return class_


def part(values: Mapping[str, JSON], *classes: Class) -> dict[str, JSON]:
    """Returns the leaves of those classes, by path."""
    paths = _paths(str(values.get(_EXCHANGE)), classes)
    return {path: value for path, value in values.items() if path in paths}


@functools.lru_cache(maxsize=16)
def _paths(exchange: str, classes: tuple[Class, ...]) -> frozenset[str]:
    """Returns the paths of those classes, where ``exchange`` is who exchanges tokens."""
    return frozenset(path for path in LAYERED_FIELDS if effective_class(path, {_EXCHANGE: exchange}) in classes)


def live_part(settings: ResolvedSettings) -> dict[str, JSON]:
    """Returns what reaches running pods by xDS."""
    return part(settings.values, "live", "both")


def restart_part(settings: ResolvedSettings) -> dict[str, JSON]:
    """Returns what reaches the next pod only."""
    return part(settings.values, "restart", "both")


def canonical(value: JSON) -> bytes:
    """Returns JSON with sorted keys, no spaces, and whole numbers without a fraction (1.0 and 1 are one value)."""
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=dict)
    if _MAY_BE_WHOLE.search(text) is None:  # nearly always, and ten times faster than looking at each value
        return text
    return orjson.dumps(whole(value), option=orjson.OPT_SORT_KEYS)


def digest(value: JSON) -> str:
    """Returns the SHA-256 of the canonical JSON, in hex."""
    return hashed(canonical(value))


def hashed(content: bytes) -> str:
    """Returns the SHA-256 of canonical JSON, in hex."""
    return hashlib.sha256(content).hexdigest()


def short(revision: str) -> str:
    """Returns a revision for display."""
    return revision[:_SHORT]
