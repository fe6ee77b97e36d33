"""Streams to the xDS server by whoever has a token: the light client of the unit tests, over the installation's TLS."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from tests.e2e.pod_runner.volumes import tokens_of
from tests.e2e.xds_process import Xds
from tests.xds_client import Client, Judge, accept_all

JSON = Any  # a raw pod


def token_of(
    plane: Any, pod: JSON, *, audience: str = "kagenti-xds", seconds: int = 3600
) -> str:  # Any: as in tokens_of
    """Returns a token of the pod, as the kubelet would project it."""
    return tokens_of(plane, pod)(audience, seconds)


def node_id(pod: JSON) -> str:
    """Returns the node id that the pod's Envoy has."""
    metadata = pod["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}/{metadata['uid']}"


@asynccontextmanager
async def channel(xds: Xds) -> AsyncIterator[grpc.aio.Channel]:
    """Connects over the installation's TLS."""
    pem = xds.installation.xds_authority.certificate_pem
    credentials = grpc.ssl_channel_credentials(pem if isinstance(pem, bytes) else pem.encode())
    options = [("grpc.ssl_target_name_override", "localhost")]
    async with grpc.aio.secure_channel(f"{xds.address}:{xds.port}", credentials, options) as made:
        yield made


@asynccontextmanager
async def stream(xds: Xds, token: str, *, node: str, judge: Judge = accept_all) -> AsyncIterator[Client]:
    """Opens a stream with that token; the client answers as Envoy does, and refuses what ``judge`` refuses."""
    async with channel(xds) as made:
        client = Client(node_id=node, judge=judge)
        client.open(made, token)
        try:
            yield client
        finally:
            await client.close()


async def refusal(xds: Xds, token: str, *, node: str) -> str:
    """Returns with which sentence the server turns that client away, which must not have got anything.

    A client that the API server is too slow for is told to come again (UNAVAILABLE), and does, as Envoy would.
    """
    async with channel(xds) as made:
        client = Client(node_id=node)
        for _ in range(10):
            code, details = await client.refusal(made, token, 20)
            if code != grpc.StatusCode.UNAVAILABLE:
                break
    assert (code, client.resources) == (grpc.StatusCode.UNAUTHENTICATED, 0), details
    return details


def contents(client: Client) -> bytes:
    """Returns everything that the client holds."""
    return b"\n".join(payload for kind in client.held.values() for _, payload in kind.values())
