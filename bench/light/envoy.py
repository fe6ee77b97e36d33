"""What an Envoy with our bootstrap says on its stream: subscriptions, acknowledgements, what it holds when it comes again.

No I/O. Replies of equal content are read once, and equal acknowledgements are one object, as a fleet's are: versions and
nonces are content hashes.
"""

import functools
from dataclasses import dataclass, field
from typing import Final

from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from kagenti.core.ads import CLUSTER, EXTENSION, ROUTE

PATH: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
NAMES: Final = {EXTENSION: ("jwt", "tls_rbac", "tls_sni"), ROUTE: ("inbound", "outbound")}
"""What is asked for by name, besides every cluster."""

_KNOWN: Final = 4096  # replies: a fleet-wide change of 1,000 workloads has as many


def _extensions() -> bytes:
    """The part of a first request that is the same for all: Envoy 1.40 names its 516 extensions, 61 KB in all."""
    node = base_pb2.Node(user_agent_name="envoy")
    for number in range(516):
        name = f"envoy.filters.http.an_extension_with_a_name_as_long_as_they_are_{number:03}"
        node.extensions.add(name=name, category="envoy.filters.http", type_urls=[f"type.{number:03}.example"])
    return bytes(discovery_pb2.DeltaDiscoveryRequest(node=node).SerializeToString())


_NODE: Final = _extensions()


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: what it brings and takes away, and the request that acknowledges it."""

    type_url: str
    resources: tuple[tuple[str, str], ...]
    removed: tuple[str, ...]
    acknowledgement: bytes


@functools.lru_cache(_KNOWN)
def read(raw: bytes) -> Reply:
    """Returns what a response says."""
    message = discovery_pb2.DeltaDiscoveryResponse.FromString(raw)
    answer = discovery_pb2.DeltaDiscoveryRequest(type_url=message.type_url, response_nonce=message.nonce)
    resources = tuple((found.name, found.version) for found in message.resources)
    return Reply(message.type_url, resources, tuple(message.removed_resources), bytes(answer.SerializeToString()))


@dataclass(slots=True)
class LightEnvoy:
    """One proxy over any number of streams; ``held`` is version by name, by type, of what it has accepted."""

    node_id: str
    held: dict[str, dict[str, str]] = field(default_factory=lambda: {CLUSTER: {}, EXTENSION: {}, ROUTE: {}})
    answered: bool = False
    asked: bool = False

    @property
    def complete(self) -> bool:
        """Whether it has everything that its listeners wait for."""
        return self.answered and all(name in self.held[kind] for kind, names in NAMES.items() for name in names)

    def first(self) -> list[bytes]:
        """Returns the requests that open a stream: clusters, and on a later one everything at once."""
        self.asked = self.answered
        return [self._subscription(kind) for kind in (CLUSTER, *(NAMES if self.answered else ()))]

    def take(self, reply: Reply) -> list[bytes]:
        """Accepts a response; returns its acknowledgement, and the subscriptions that follow the first clusters."""
        held = self.held[reply.type_url]
        held.update(reply.resources)
        for name in reply.removed:
            held.pop(name, None)
        requests = [reply.acknowledgement]
        if not self.asked:
            self.asked = self.answered = True
            requests += [self._subscription(kind) for kind in NAMES]
        return requests

    def _subscription(self, kind: str) -> bytes:
        request = discovery_pb2.DeltaDiscoveryRequest(
            type_url=kind, resource_names_subscribe=NAMES.get(kind, ()), initial_resource_versions=self.held[kind]
        )
        if kind != CLUSTER:
            return bytes(request.SerializeToString())
        request.node.id, request.node.cluster = self.node_id, "kagenti"
        request.node.metadata["kagenti.io/layout"] = 1
        return _NODE + bytes(request.SerializeToString())  # protobuf: parts of one message are merged
