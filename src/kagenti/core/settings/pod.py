"""The settings of a running pod: the restart part that it was built from, the live part of today (spec 02).

A live value that is derived from restart values follows the pod: its policy, its exchange and its registered client stay
in one realm until the pod is replaced.
"""

import functools
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from kagenti.core.settings.derive import realm_urls
from kagenti.core.settings.exporter import EXPORTERS, same_tracer
from kagenti.core.settings.layer import BUILT_IN_LAYER
from kagenti.core.settings.model import JSON, ResolvedSettings
from kagenti.core.settings.revision import effective_class
from kagenti_api.v1alpha1.fields import LAYERED_FIELDS

_EXCHANGE: Final = "injection.tokenExchange"


def for_pod(resolved: ResolvedSettings, restart: Mapping[str, JSON]) -> ResolvedSettings:
    """Returns today's settings as they apply to one running pod; neither input is changed.

    Args:
        resolved: What the next pod would get; its origins are kept.
        restart: The restart settings of the pod's receipt, by path. A setting that it does not name was not known to the
            version that built the pod: the built-in value stands for it.
    """
    built_from = {**BUILT_IN_LAYER.values, **restart}
    fixed = _restart_paths(str(built_from[_EXCHANGE]))
    values = {path: value for path, value in resolved.values.items() if path not in fixed}
    values |= {path: value for path, value in built_from.items() if path in fixed}
    for path, url in realm_urls(values).items():
        origin = resolved.origins.get(path)
        free = path not in fixed and path not in resolved.pinned
        if free and origin is not None and origin.derived_from:
            values[path] = url
    if not same_tracer(built_from[EXPORTERS], values[EXPORTERS]):
        # The tracer in the pod's listeners is what it is: it keeps its collector until the pod is replaced.
        values[EXPORTERS] = built_from[EXPORTERS]
    return replace(resolved, values=MappingProxyType(values))


@functools.lru_cache(maxsize=8)
def _restart_paths(exchange: str) -> frozenset[str]:
    """Returns what reaches pods by restart only; who exchanges tokens in this very pod decides for the rules (spec 01)."""
    return frozenset(path for path in LAYERED_FIELDS if effective_class(path, {_EXCHANGE: exchange}) == "restart")
