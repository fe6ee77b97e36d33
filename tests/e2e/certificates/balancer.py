"""A Service on loopback: TCP connections go to the replicas that were ready at the last look, in turn.

As kube-proxy does, it moves no connection that is open: who talks to a replica that ends has to notice himself.
"""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Final

PROBE: Final = 0.4  # seconds between two looks at readiness; the chart asks for two


class Balancer:
    """One listening port before many; a context manager, with a thread and an event loop of its own."""

    def __init__(self, backends: Callable[[], Sequence[int]]) -> None:
        """``backends`` returns the ports of all replicas that there are, ready or not."""
        self._backends, self._ready, self._turn = backends, list[int](), 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="balancer")
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def __enter__(self) -> "Balancer":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(5)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def ready(self) -> frozenset[int]:
        """Ports of the replicas that new connections go to."""
        return frozenset(self._ready)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._keep(self._probe())

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _keep(self, coroutine: object) -> None:
        task = asyncio.ensure_future(coroutine)  # type: ignore[arg-type,type-var]  # a coroutine that returns nothing
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _probe(self) -> None:
        while True:
            ports = self._backends()
            found = await asyncio.gather(*map(_answers_ready, ports))
            self._ready = [port for port, ready in zip(ports, found, strict=True) if ready]
            await asyncio.sleep(PROBE)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._turn += 1
        if not self._ready:
            writer.transport.abort()
            return
        try:
            there = await asyncio.open_connection("127.0.0.1", self._ready[self._turn % len(self._ready)])
        except OSError:
            writer.transport.abort()
            return
        self._keep(_pass_on(reader, there[1]))
        self._keep(_pass_on(there[0], writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
    finally:
        writer.transport.close()


async def _answers_ready(port: int) -> bool:
    """Whether /readyz answers 200, asked as a kubelet asks: over TLS, trusting anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            with contextlib.closing(writer):  # also where the answer does not come in time
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")
                return b" 200 " in await reader.readline()
    except (OSError, TimeoutError):
        return False
