"""All dynamic resources of one Envoy, complete: whatever the bootstrap or one of them names is among them."""

from kagenti.core.envoy import clusters, inbound, layout, outbound
from kagenti.core.envoy.layout import ResourceType
from kagenti.core.envoy.proxy import Proxy, Resource


def resources(proxy: Proxy) -> tuple[Resource, ...]:
    """Returns the resources in the order in which they are built: clusters, then what names them."""
    return (*clusters.resources(proxy), *inbound.resources(proxy), *outbound.resources(proxy))


def withheld(proxy: Proxy) -> frozenset[tuple[ResourceType, str]]:
    """Returns what exists but cannot be given now: ``jwt`` without keys. Envoys that have it keep it (spec 05)."""
    kept_back = inbound.validated(proxy.settings) and proxy.keys is None
    return frozenset({("extension", layout.JWT)}) if kept_back else frozenset()
