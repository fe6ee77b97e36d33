"""A reverse proxy before the API server that holds back watch events, answers reads with 503, or cuts: faults made to order.

Runs in a thread of its own with its own event loop. Everything but watches passes at once and unchanged; the caller's
Authorization header is passed on, so that rights stay those of the caller.
"""

import asyncio
import ssl
import threading
from pathlib import Path

from aiohttp import ClientResponse, ClientSession, ClientTimeout, TCPConnector, web

from tests.e2e.plane.control_plane import ControlPlane

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "host", "content-encoding"}


class DelayingProxy:
    """Forwards to the plane's API server; until ``release()``, watches of ``hold_path`` get nothing, or reads a 503."""

    def __init__(self, plane: ControlPlane, *, hold_path: str) -> None:
        self._server = plane.server.rstrip("/")
        self._context = ssl.create_default_context(cafile=str(plane.ca_file))
        self._hold_path = hold_path
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._free = asyncio.Event()
        self._free.set()
        self._refusing, self._down = threading.Event(), threading.Event()
        self._watches: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self.port = 0
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def start(self) -> None:
        """Starts the thread and waits until the proxy listens."""
        self._thread.start()
        assert self._ready.wait(10), "the proxy did not start"

    def stop(self) -> None:
        """Ends the thread."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    def hold(self) -> None:
        """From now on, watches of the chosen path deliver nothing."""
        self._loop.call_soon_threadsafe(self._free.clear)

    def refuse(self) -> None:
        """From now on, reads of the chosen path that are no watch are answered 503."""
        self._refusing.set()

    def cut(self) -> None:
        """Breaks the open watches of the chosen path; from now on whatever asks for it is answered 503."""
        self._down.set()
        self._loop.call_soon_threadsafe(self._break)

    def _break(self) -> None:
        for task in self._watches:
            task.cancel()

    def release(self) -> None:
        """Delivers what was held back, and refuses no more."""
        self._refusing.clear()
        self._down.clear()
        self._loop.call_soon_threadsafe(self._free.set)

    def kubeconfig(self, original: Path, folder: Path) -> Path:
        """Returns a copy of that kubeconfig that goes through the proxy."""
        text = original.read_text().replace(self._server, f"http://127.0.0.1:{self.port}")
        path = folder / "through-proxy.kubeconfig"
        path.write_text(text)
        return path

    async def _serve(self) -> None:
        connector = TCPConnector(ssl=self._context, limit=0)
        async with ClientSession(
            connector=connector, timeout=ClientTimeout(total=None), auto_decompress=False
        ) as session:
            app = web.Application(client_max_size=2**24)

            async def forward(request: web.Request) -> web.StreamResponse:
                return await self._forward(session, request)

            app.router.add_route("*", "/{path:.*}", forward)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = runner.addresses[0][1]
            self._ready.set()
            await self._stop.wait()
            await runner.cleanup()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _forward(self, session: ClientSession, request: web.Request) -> web.StreamResponse:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP_BY_HOP}
        chosen = request.path.startswith(self._hold_path)
        held = chosen and request.query.get("watch") in ("1", "true")
        if chosen and (self._down.is_set() or (self._refusing.is_set() and not held)):
            return web.json_response({"kind": "Status", "message": "refused by the test"}, status=503)
        async with session.request(
            request.method, self._server + request.raw_path, headers=headers, data=await request.read()
        ) as upstream:
            kept = {
                key: value
                for key, value in upstream.headers.items()
                if key.lower() not in HOP_BY_HOP - {"content-encoding"}
            }
            answer = web.StreamResponse(status=upstream.status, headers=kept)
            await answer.prepare(request)
            passing = asyncio.create_task(self._pass(upstream, answer, held=held))
            if held:
                self._watches.add(passing)
                passing.add_done_callback(self._watches.discard)
            try:
                await passing
            except asyncio.CancelledError:
                passing.cancel()
                if request.transport is not None:
                    request.transport.abort()
            return answer

    async def _pass(self, upstream: ClientResponse, answer: web.StreamResponse, *, held: bool) -> None:
        async for chunk in upstream.content.iter_any():
            if held:
                await self._free.wait()
            await answer.write(chunk)
