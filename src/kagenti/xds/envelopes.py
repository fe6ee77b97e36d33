"""Discovery requests and responses on the wire ↔ the neutral ones of core/ads.

Of a node only id, cluster and plain metadata are kept: Envoy's first request is 61 KB, and keeping the parsed node would
cost 170 KB for each stream (facts §1).
"""

import functools
import itertools
from collections.abc import Mapping
from typing import Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from kagenti.core import ads
from kagenti.xds.session import Node

# Ours has one entry. What a client says of itself is kept as long as its stream, so there is an end to it.
_METADATA: Final = 16
_LONGEST: Final = 512
# A push to a workload hands its pods equal replies one after another. Replies of large workloads are some 100 KB.
_CACHED: Final = 128


def decode(kind: ads.Kind, raw: bytes) -> tuple[ads.Request, Node | None]:
    """Returns a request, and the node if it carries one: only the first of a stream does.

    Raises:
        ads.Violation: The bytes are no request.
    """
    message = discovery_pb2.DeltaDiscoveryRequest() if kind == "delta" else discovery_pb2.DiscoveryRequest()
    try:
        message.ParseFromString(raw)
    except DecodeError as error:
        raise ads.Violation(f"this is no {message.DESCRIPTOR.name}: {error}") from error
    node = _node(message.node) if message.HasField("node") else None
    return (_delta(message) if kind == "delta" else _sotw(message)), node


@functools.lru_cache(_CACHED)
def encode(kind: ads.Kind, reply: ads.Reply) -> bytes:
    """Returns the response of a reply; equal replies of all streams are one object."""
    message = _delta_response(reply) if kind == "delta" else _response(reply)
    raw: bytes = message.SerializeToString(deterministic=True)
    return raw


def _delta(message: Any) -> ads.DeltaRequest:  # Any: protobuf without stubs
    return ads.DeltaRequest(
        message.type_url,
        nonce=message.response_nonce,
        error=_error(message),
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        initial=dict(message.initial_resource_versions),
    )


def _sotw(message: Any) -> ads.SotwRequest:  # Any: protobuf without stubs
    return ads.SotwRequest(
        message.type_url,
        nonce=message.response_nonce,
        error=_error(message),
        version=message.version_info,
        names=tuple(message.resource_names),
    )


def _error(message: Any) -> str | None:  # Any: protobuf without stubs
    if not message.HasField("error_detail"):
        return None
    return message.error_detail.message or f"refused with code {message.error_detail.code} and without a reason"


def _node(node: base_pb2.Node) -> Node:
    found: dict[str, str | float | bool] = {}
    for name, value in itertools.islice(node.metadata.fields.items(), _METADATA):
        plain = _plain(value)
        if plain is not None:
            found[name[:_LONGEST]] = plain
    return Node(node.id[:_LONGEST], node.cluster[:_LONGEST], found)


def _plain(value: Any) -> str | float | bool | None:  # Any: protobuf without stubs
    kinds: Mapping[str, str | float | bool] = {
        "string_value": value.string_value[:_LONGEST],
        "number_value": value.number_value,
        "bool_value": value.bool_value,
    }
    return kinds.get(value.WhichOneof("kind"))


def _delta_response(reply: ads.Reply) -> Any:  # Any: protobuf without stubs
    message = discovery_pb2.DeltaDiscoveryResponse(
        type_url=reply.type_url,
        system_version_info=reply.version,
        nonce=reply.nonce,
        removed_resources=reply.removed,
    )
    for resource in reply.resources:
        entry = message.resources.add(name=resource.name, version=resource.version)
        entry.resource.type_url, entry.resource.value = resource.type_url, resource.payload
    return message


def _response(reply: ads.Reply) -> Any:  # Any: protobuf without stubs
    message = discovery_pb2.DiscoveryResponse(type_url=reply.type_url, version_info=reply.version, nonce=reply.nonce)
    for resource in reply.resources:
        message.resources.add(type_url=resource.type_url, value=resource.payload)
    return message
