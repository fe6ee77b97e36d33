"""What a resource needs to exist: Envoy acknowledges dangling names, and then answers 503 (facts §6)."""

from collections.abc import Iterator, Mapping
from typing import Final

from kagenti.core.envoy import layout
from kagenti.core.envoy.layout import JSON, ResourceType
from kagenti.core.envoy.proxy import Resource

Reference = tuple[ResourceType, str]

_CLUSTER_KEYS: Final = frozenset({"cluster", "cluster_name"})
"""Fields that name a cluster: routes, tcp_proxy, gRPC services, http_uri, remote keys; and our rules' metadata."""


def references(resource: Resource) -> frozenset[Reference]:
    """Returns (type, name) of every cluster and extension that the resource names, but not itself."""
    return frozenset(_named(resource.body)) - {(resource.type, resource.name)}


def needed(bootstrap: JSON) -> frozenset[Reference]:
    """Returns what a bootstrap expects from the server: clusters that it does not bring along, slots, route tables."""
    own: set[Reference] = {("cluster", cluster["name"]) for cluster in bootstrap["static_resources"]["clusters"]}
    return frozenset(_named(bootstrap["static_resources"])) - own


def _named(node: JSON) -> Iterator[Reference]:
    if isinstance(node, Mapping):
        yield from _here(node)
        for value in node.values():
            yield from _named(value)
    elif isinstance(node, list | tuple):
        for item in node:
            yield from _named(item)


def _here(node: Mapping[str, JSON]) -> Iterator[Reference]:
    for key in _CLUSTER_KEYS & node.keys():
        if isinstance(node[key], str):
            yield "cluster", node[key]
    for weighted in (node.get("weighted_clusters") or {}).get("clusters", ()):
        yield "cluster", weighted["name"]
    if isinstance(node.get("route_config_name"), str):
        yield "route", node["route_config_name"]
    if "config_discovery" in node:
        yield "extension", node["name"]
    for name in node.get("typed_per_filter_config") or ():
        if name in layout.EXTENSIONS:
            yield "extension", name
