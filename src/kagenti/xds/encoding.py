"""Resources of core → resources for the wire, each content encoded once for the whole fleet.

Workloads share most of their resources, and a change touches few of them. Hashing a resource's JSON costs a quarter of
building its message, so that what has been seen is only looked up; and equal resources share their bytes in memory.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from cachetools import LRUCache

from kagenti.core import ads, envoy

JSON = Any  # a message in JSON form

Encode = Callable[[str, str, JSON, frozenset[ads.Reference]], ads.Encoded]
"""Type URL, name, body, references → resource for the wire (``messages.encode``)."""

STATIC: Final = frozenset(
    (ads.CLUSTER, name)
    for name in (envoy.layout.XDS_CLUSTER, envoy.layout.ADMIN_CLUSTER, envoy.layout.EXT_PROC_CLUSTER)
)
"""What dynamic resources may name because the bootstrap has it."""

# 1,000 workloads of some ten resources each, before and after a change.
_ROOM: Final = 20_000


class Encoder:
    """Makes snapshots; ``encoded`` counts messages built, ``found`` those that were known."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._known: LRUCache[bytes, ads.Encoded] = LRUCache(_ROOM)
        self.encoded = 0
        self.found = 0

    def counts(self) -> Mapping[str, int]:
        """Returns the number of resources encoded, and of those that were found encoded."""
        return {"encoded": self.encoded, "found": self.found}

    def snapshot(self, proxy: envoy.Proxy) -> ads.Snapshot:
        """Returns the snapshot of one proxy.

        Raises:
            errors.Defect: A resource names one that nobody gives, or is no message of its type.
        """
        withheld = [(envoy.TYPE_URLS[kind], name) for kind, name in envoy.withheld(proxy)]
        resources = [self._resource(resource) for resource in envoy.resources(proxy)]
        return ads.Snapshot.of(resources, withheld=withheld, static=STATIC)

    def _resource(self, resource: envoy.Resource) -> ads.Encoded:
        type_url = envoy.TYPE_URLS[resource.type]
        head = f"{type_url}\n{resource.name}\n".encode()
        digest = hashlib.sha256(head + orjson.dumps(resource.body, default=dict)).digest()
        known = self._known.get(digest)
        if known is not None:
            self.found += 1
            return known
        self.encoded += 1
        references = frozenset((envoy.TYPE_URLS[kind], name) for kind, name in envoy.references(resource))
        made = self._known[digest] = self._encode(type_url, resource.name, resource.body, references)
        return made
