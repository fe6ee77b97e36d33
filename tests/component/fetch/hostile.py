"""Servers that do what they like: real sockets on loopback, one server per trick."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
"""Answers one request, given its head."""


def answer(body: bytes, *headers: str, status: str = "200 OK") -> Serve:
    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        writer.write("\r\n".join(head).encode() + body)

    return serve


@asynccontextmanager
async def server(
    serve: Serve, *, requests: list[bytes] | None = None, context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """A server on loopback that reads one request head and then does what it likes; yields its origin."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            if requests is not None:
                requests.append(request)
            await serve(request, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def endless(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    while not writer.is_closing():
        writer.write(chunk)
        await writer.drain()


async def silent(_: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def dripping(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def endless_headers(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not writer.is_closing():
        writer.write(b"X-Secret: " + b"secret" * 100 + b"\r\n")
        await writer.drain()


async def nonsense(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-secret\r\n")


def cut(body: bytes) -> Serve:
    """Promises more than it sends."""

    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + body)

    return serve


BOMB: Final = gzip.compress(b" " * 50_000_000, compresslevel=1)
