"""The answer to a review on the wire: the two headers that it needs and its body, in one write.

What aiohttp's own responses do beside that (cookies, ranges, compression, Date, Server) costs more than their TLS.
"""

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter


class Reply(web.StreamResponse):
    """A 200 with a JSON body whose length is known."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._content = body
        self._stays = True

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open after this answer; known once it is sent."""
        return self._stays

    def force_close(self) -> None:
        """Asks the client to leave after this answer."""
        self._stays = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Sends everything, and waits while the client has not read what was sent before."""
        # HTTP/1.0 would want to be told that it may stay; no API server speaks it.
        self._stays = self._stays and request.keep_alive and request.version >= HttpVersion11
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(self._content)}\r\n"
        head += "\r\n" if self._stays else "Connection: close\r\n\r\n"
        await request.writer.write(head.encode() + self._content)
        await request.writer.drain()
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Has nothing left to send."""
