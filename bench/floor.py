"""The floor under every xDS server in Python: grpc.aio that replays recorded replies; ``python -m bench.floor``.

What it costs to write the same bytes to the same streams and to read the same acknowledgements, and nothing else: no
identity, no snapshots, no state of a stream, no status. What ``kagenti xds`` costs beyond it is ours. The first line
on stdin says where to listen and what to replay, each further one what to push to all streams.
"""

import asyncio
import sys
from typing import Any

import grpc
import grpc.aio
import orjson
from envoy.service.discovery.v3 import discovery_pb2

from bench.child import answer

JSON = Any  # commands

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
SLICE = 50  # streams written to before the loop turns, as ``kagenti xds`` does
OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 20_000),
]


class Replayer:
    """Answers subscriptions with recorded replies of their type, and pushes to all."""

    def __init__(self, replies: list[bytes]) -> None:
        self._contexts: set[grpc.aio.ServicerContext] = set()
        self._by_type: dict[str, list[bytes]] = {}
        for raw in replies:
            kind = discovery_pb2.DeltaDiscoveryResponse.FromString(raw).type_url
            self._by_type.setdefault(kind, []).append(raw)

    async def serve(self, _: object, context: grpc.aio.ServicerContext) -> None:
        """Serves one stream."""
        self._contexts.add(context)
        try:
            while (raw := await context.read()) is not grpc.aio.EOF:
                request = discovery_pb2.DeltaDiscoveryRequest.FromString(raw)
                if not request.response_nonce:
                    for reply in self._by_type.get(request.type_url, ()):
                        await context.write(reply)
        finally:
            self._contexts.discard(context)

    async def push(self, replies: list[bytes]) -> None:
        """Writes these replies to every stream."""
        contexts = list(self._contexts)
        for start in range(0, len(contexts), SLICE):
            await asyncio.gather(*(self._write(context, replies) for context in contexts[start : start + SLICE]))

    @staticmethod
    async def _write(context: grpc.aio.ServicerContext, replies: list[bytes]) -> None:
        for reply in replies:
            await context.write(reply)


async def main() -> None:
    """Serves until stdin ends."""
    lines = asyncio.StreamReader(limit=1 << 26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    setup = orjson.loads(await lines.readline())
    replayer = Replayer([bytes.fromhex(text) for text in setup["replies"]])
    server = grpc.aio.server(options=OPTIONS)
    methods = {"DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(replayer.serve)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    address = f"127.0.0.1:{setup['port']}"
    if "key" in setup:
        pair = (setup["key"].encode(), setup["certificate"].encode())
        server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    else:
        server.add_insecure_port(address)
    await server.start()
    answer({})
    while line := await lines.readline():
        task = asyncio.create_task(replayer.push([bytes.fromhex(text) for text in orjson.loads(line)["push"]]))
        answer({})
        await task


if __name__ == "__main__":
    asyncio.run(main())
