"""Resolved settings → Envoy's bootstrap and dynamic resources, as nested dicts in proto field names (JSON form)."""

from kagenti.core.envoy.bootstrap import bootstrap, sds_token
from kagenti.core.envoy.layout import LAYOUT, TYPE_URLS, ResourceType
from kagenti.core.envoy.proxy import Proxy, Resource

__all__ = ["LAYOUT", "TYPE_URLS", "Proxy", "Resource", "ResourceType", "bootstrap", "sds_token"]
