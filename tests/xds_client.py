"""A light ADS client over grpc.aio that behaves as Envoy does, for tests and benches: holds resources, answers each reply."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import Message

from kagenti.core import ads
from kagenti.core.ads import CLUSTER, EXTENSION, ROUTE

SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService"
METHODS = {"delta": f"{SERVICE}/DeltaAggregatedResources", "sotw": f"{SERVICE}/StreamAggregatedResources"}
NAMES: Mapping[str, tuple[str, ...]] = {EXTENSION: ("jwt", "tls_rbac", "tls_sni"), ROUTE: ("inbound", "outbound")}
"""What an Envoy with our bootstrap asks for by name, besides every cluster."""

Judge = Callable[[str, str, bytes], str]
"""Takes type URL, name and payload of a resource; returns why it is refused, or an empty text."""


def accept_all(type_url: str, name: str, payload: bytes) -> str:
    return ""


@dataclass(eq=False)
class Client:
    """One Envoy, over any number of streams: what it holds outlives them, as in Envoy.

    ``names`` are asked for by type, ``judge`` says what is refused. ``received`` counts replies and resources of the
    present stream, ``last_reply`` is the monotonic time of the newest one.
    """

    kind: ads.Kind = "delta"
    node_id: str = "team1/weather-0/uid-0"
    names: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: NAMES)
    judge: Judge = accept_all
    held: dict[str, dict[str, tuple[str, bytes]]] = field(
        default_factory=lambda: {CLUSTER: {}, EXTENSION: {}, ROUTE: {}}
    )
    versions: dict[str, str] = field(default_factory=dict)
    replies: int = 0
    resources: int = 0
    last_reply: float = 0.0
    padding: bytes = b""

    def __post_init__(self) -> None:
        self._changed = asyncio.Event()
        self._call: Any = None
        self._task: asyncio.Task[None] | None = None
        self._asked: set[str] = set()
        self.status: tuple[grpc.StatusCode, str] | None = None

    def open(self, channel: grpc.aio.Channel, token: str = "a-token") -> None:  # noqa: S107  # a test's
        """Starts a stream; what comes on it is taken in the background."""
        self.status, self.replies, self.resources = None, 0, 0
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._call = channel.stream_stream(METHODS[self.kind])(metadata=metadata)
        self._task = asyncio.create_task(self._talk())

    async def close(self) -> None:
        """Hangs up."""
        if self._task is not None:
            self._call.cancel()
            await asyncio.wait({self._task})

    async def ended(self, timeout: float = 30.0) -> tuple[grpc.StatusCode, str]:
        """Returns code and details of a stream that the server ended."""
        await self.until(lambda: self.status is not None, timeout)
        assert self.status is not None
        return self.status

    async def refusal(
        self, channel: grpc.aio.Channel, token: str, timeout: float = 30.0
    ) -> tuple[grpc.StatusCode, str]:
        """Opens a stream that the server ends, and returns what the server said.

        Where grpc.aio still writes while the stream ends it may lose the server's status and report one of its own.
        """
        for _ in range(20):
            self.open(channel, token)
            status = await self.ended(timeout)
            if status[0] != grpc.StatusCode.INTERNAL:
                break
        return status

    async def until(self, condition: Callable[[], bool], timeout: float = 30.0) -> None:
        """Waits until a condition holds, looking at it after each reply."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def version(self, type_url: str, name: str) -> str:
        """Returns the version held, or an empty text."""
        return self.held[type_url].get(name, ("", b""))[0]

    async def send(self, request: Message) -> None:
        """Sends a request as it is."""
        await self._call.write(request.SerializeToString())

    async def _talk(self) -> None:
        try:
            for type_url in self._first_types():
                await self.send(self._subscription(type_url))
            while (raw := await self._call.read()) is not grpc.aio.EOF:
                await self._take(raw)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass
        finally:
            self.status = (await self._call.code(), await self._call.details()) if self._call.done() else None
            self._changed.set()

    def _first_types(self) -> list[str]:
        """Envoy asks for extensions and routes once it has its clusters; when it comes again, for all at once."""
        types = [CLUSTER, *self.names] if CLUSTER in self.versions else [CLUSTER]
        self._asked = set(types)
        return types

    def _subscription(self, type_url: str) -> Message:
        names = self.names.get(type_url, ())
        if self.kind == "delta":
            request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names)
            for name, (version, _) in self.held[type_url].items():
                request.initial_resource_versions[name] = version
        else:
            version = self.versions.get(type_url, "")
            request = discovery_pb2.DiscoveryRequest(type_url=type_url, resource_names=names, version_info=version)
        if type_url == CLUSTER:  # set_node_on_first_message_only
            request.node.id, request.node.cluster = self.node_id, "kagenti"
            request.node.metadata["kagenti.io/layout"] = 1
            if self.padding:
                request.node.user_agent_build_version.version.SetInParent()
                request.node.locality.region = self.padding.decode()
        return request

    async def _take(self, raw: bytes) -> None:
        delta = self.kind == "delta"
        reply = discovery_pb2.DeltaDiscoveryResponse() if delta else discovery_pb2.DiscoveryResponse()
        reply.ParseFromString(raw)
        found = [(r.name, r.version, r.resource.value) for r in reply.resources] if delta else _unpacked(reply)
        fault = next((fault for name, _, value in found if (fault := self.judge(reply.type_url, name, value))), "")
        if not fault:
            self._apply(reply, found)
        self.replies, self.resources, self.last_reply = self.replies + 1, self.resources + len(found), time.monotonic()
        await self.send(self._answer(reply, fault))
        if reply.type_url == CLUSTER:
            for type_url in [type_url for type_url in self.names if type_url not in self._asked]:
                self._asked.add(type_url)
                await self.send(self._subscription(type_url))
        self._changed.set()

    def _apply(self, reply: Any, found: Iterable[tuple[str, str, bytes]]) -> None:
        held = self.held[reply.type_url]
        if self.kind == "delta":
            for name in reply.removed_resources:
                held.pop(name, None)
        elif reply.type_url == CLUSTER:
            held.clear()
        held.update({name: (version, value) for name, version, value in found})
        self.versions[reply.type_url] = "" if self.kind == "delta" else reply.version_info

    def _answer(self, reply: Any, fault: str) -> Message:
        if self.kind == "delta":
            request = discovery_pb2.DeltaDiscoveryRequest(type_url=reply.type_url, response_nonce=reply.nonce)
        else:
            request = discovery_pb2.DiscoveryRequest(
                type_url=reply.type_url,
                response_nonce=reply.nonce,
                version_info=self.versions.get(reply.type_url, ""),
                resource_names=self.names.get(reply.type_url, ()),
            )
        if fault:
            request.error_detail.code, request.error_detail.message = 13, fault
        return request


def _unpacked(reply: Any) -> list[tuple[str, str, bytes]]:
    """The resources of a DiscoveryResponse: their names stand inside, always as field 1."""
    return [(_first_string(resource.value), reply.version_info, resource.value) for resource in reply.resources]


def _first_string(payload: bytes) -> str:
    assert payload[:1] == b"\x0a", "cluster, extension and route configuration all have their name as field 1"
    assert payload[1] < 0x80, "names are shorter than 128 bytes"
    return payload[2 : 2 + payload[1]].decode()
