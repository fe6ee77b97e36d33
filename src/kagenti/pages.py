"""Pages for people and machines: GET by exact path, nothing else; decides nothing about streams."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from aiohttp import web

from kagenti import errors

JSON_TYPE: Final = "application/json"
TEXT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Page = Callable[[], tuple[int, str, bytes]]
"""Returns status, content type and body."""


@contextlib.asynccontextmanager
async def serve(pages: Mapping[str, Page], *, host: str, port: int) -> AsyncIterator[int]:
    """Serves pages in plain HTTP for the length of a with block; yields the port.

    Raises:
        UsageError: The address cannot be listened on.
    """

    async def handle(request: web.BaseRequest) -> web.Response:
        page = pages.get(request.path)
        if request.method != "GET":
            return web.Response(status=405, headers={"Allow": "GET"})
        if page is None:
            return web.json_response({"pages": sorted(pages)}, status=404)
        status, content_type, body = page()
        return web.Response(status=status, body=body, headers={"Content-Type": content_type})

    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=1.0)
    await runner.setup()
    try:
        await _listen(runner, host, port)
        yield int(runner.addresses[0][1])
    finally:
        with contextlib.suppress(asyncio.TimeoutError):
            await runner.cleanup()


async def _listen(runner: web.ServerRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise errors.UsageError(
            f"cannot listen on {host}:{port}: {error.strerror}; is another process there?"
        ) from error
