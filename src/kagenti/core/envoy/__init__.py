"""Resolved settings → Envoy's bootstrap and dynamic resources, as nested dicts in proto field names (JSON form).

Durations are ``"0.25s"``, wrappers plain scalars, an Any carries ``"@type"``.
"""

from kagenti.core.envoy.bootstrap import bootstrap, sds_token
from kagenti.core.envoy.layout import LAYOUT, TYPE_URLS, ResourceType
from kagenti.core.envoy.proxy import Proxy, Resource
from kagenti.core.envoy.references import Reference, needed, references
from kagenti.core.envoy.resources import resources, withheld

__all__ = [
    "LAYOUT",
    "TYPE_URLS",
    "Proxy",
    "Reference",
    "Resource",
    "ResourceType",
    "bootstrap",
    "needed",
    "references",
    "resources",
    "sds_token",
    "withheld",
]
