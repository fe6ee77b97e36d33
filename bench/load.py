"""A load generator for one HTTPS server: keep-alive connections in one process of its own, latencies in seconds.

Plain asyncio streams and pre-built requests: the generator must cost less than what it measures.
"""

import asyncio
import ssl
import sys
import time
from pathlib import Path

import orjson


async def _caller(port: int, context: ssl.SSLContext, request: bytes, *, until: float, seen: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    while time.perf_counter() < until:
        start = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        seen.append(time.perf_counter() - start)
        if b'"allowed":true' not in body:
            raise RuntimeError(f"refused: {body[:300]!r}")
    writer.close()


async def run(port: int, authority: Path, body: Path, *, callers: int, seconds: float) -> list[float]:
    """Returns the latency of every request that ``callers`` connections made in that time."""
    payload = body.read_bytes()
    head = "POST /mutate/pods HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload
    context = ssl.create_default_context(cafile=str(authority))
    seen: list[float] = []
    until = time.perf_counter() + seconds
    await asyncio.gather(*(_caller(port, context, request, until=until, seen=seen) for _ in range(callers)))
    return seen


if __name__ == "__main__":
    options = orjson.loads(sys.argv[1])
    found = asyncio.run(
        run(
            options["port"],
            Path(options["authority"]),
            Path(options["body"]),
            callers=options["callers"],
            seconds=options["seconds"],
        )
    )
    sys.stdout.buffer.write(orjson.dumps(found))
