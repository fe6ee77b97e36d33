"""A thousand agents in one process: ``python bench/agents.py PORT LOG`` serves a card on every loopback address.

Every request is a line of the log: seconds since the epoch, the address, and whether it was answered 304. Agents of even
addresses send an ETag, as those of the A2A SDK do.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import IO

SKILL = {"id": "s", "name": "skill", "description": "Something that this agent is good at", "tags": ["a", "b"]}


class Agent(asyncio.Protocol):
    """One connection: one request, one answer."""

    def __init__(self, log: IO[str]) -> None:
        self._log = log

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remembers the connection, and at which address it came."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._address: str = transport.get_extra_info("sockname")[0]

    def data_received(self, data: bytes) -> None:
        """Answers; a request is one segment on loopback."""
        tagged = int(self._address.rpartition(".")[2]) % 2 == 0
        unchanged = tagged and b'If-None-Match: "1"' in data
        body = b"" if unchanged else self._card()
        head = f"HTTP/1.1 {'304 Not Modified' if unchanged else '200 OK'}\r\nContent-Length: {len(body)}\r\n"
        head += 'ETag: "1"\r\n' if tagged else ""
        self._transport.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        self._transport.close()
        self._log.write(f"{time.time():.4f} {self._address} {int(unchanged)}\n")

    def _card(self) -> bytes:
        return json.dumps({"name": f"Agent {self._address}", "version": "1.0.0", "skills": [SKILL] * 20}).encode()


async def main(port: int, log: IO[str]) -> None:
    """Serves until it is ended."""
    server = await asyncio.get_running_loop().create_server(lambda: Agent(log), "0.0.0.0", port, backlog=1024)  # noqa: S104  # all of 127/8
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with Path(sys.argv[2]).open("w", buffering=1) as log_file:
        asyncio.run(main(int(sys.argv[1]), log_file))
