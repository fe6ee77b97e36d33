"""An API server that follows a script: its n-th request is answered by the n-th step, later ones are held open."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

from kagenti.core.store import Store
from kagenti.kube import KINDS, KubeClient, Reflector, StoredObject
from kagenti.kube.connection import Connection

Step = Callable[[web.Request], Awaitable[web.StreamResponse]]
KIND = KINDS["AgentRuntimeConfig"]
RETRY_AFTER = 7.0
"""Seconds from which on a sleep is one that a server asked for: a reflector's own are shorter."""


def config(name: str, version: str, *, namespace: str = "team1") -> dict[str, Any]:
    """An object of the kind that these tests watch."""
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": version}
    return {"metadata": metadata, "spec": {}}


def event(kind: str, item: Mapping[str, Any]) -> bytes:
    """One line of a watch."""
    return orjson.dumps({"type": kind, "object": item}) + b"\n"


def bookmark(version: str, *, initial_end: bool = False) -> bytes:
    """A bookmark, or the one that closes a streamed list."""
    annotations = {"k8s.io/initial-events-end": "true"} if initial_end else {}
    return event("BOOKMARK", {"metadata": {"resourceVersion": version, "annotations": annotations}})


def error(code: int) -> bytes:
    """An ERROR event."""
    return event("ERROR", {"kind": "Status", "code": code, "message": "too old"})


def whole(content: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Step:
    """Answers with a whole body."""

    async def step(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=content, headers=headers)

    return step


def page(*items: Mapping[str, Any], version: str, more: str = "") -> Step:
    """Answers with one page of a list."""
    return whole(orjson.dumps({"metadata": {"resourceVersion": version, "continue": more}, "items": items}))


def refuse(status: int, *, headers: Mapping[str, str] | None = None) -> Step:
    """Answers with a Status."""
    return whole(orjson.dumps({"kind": "Status", "message": "not now"}), status=status, headers=headers)


def stream(*lines: bytes, hold: bool = False, until: asyncio.Event | None = None) -> Step:
    """Sends lines, then ends the stream, at once or when told, or holds it open in silence."""

    async def step(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for line in lines:
            await answer.write(line)
        if hold or until:
            await (until or asyncio.Event()).wait()
        return answer

    return step


def silent(*, status: int = 0) -> Step:
    """Takes the request and never answers; with a status, it sends headers and then no body."""

    async def step(request: web.Request) -> web.StreamResponse:
        if status:
            await web.StreamResponse(status=status).prepare(request)
        await asyncio.Event().wait()
        raise AssertionError("never reached")

    return step


class Script:
    """The steps, and the query of every request so far."""

    def __init__(self, *steps: Step) -> None:
        self._steps = steps
        self.queries: list[dict[str, str]] = []
        self.paths: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answers one request."""
        number = len(self.queries)
        self.queries.append(dict(request.query))
        self.paths.append(request.raw_path)
        step = self._steps[number] if number < len(self._steps) else silent()
        return await step(request)

    @property
    def done(self) -> bool:
        """Whether every step has been taken and one more request is waiting."""
        return len(self.queries) > len(self._steps)


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[KubeClient]:
    """A client of a server that follows the script."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with KubeClient(Connection(f"http://127.0.0.1:{runner.addresses[0][1]}", None)) as client:
            yield client
    finally:
        await runner.cleanup()


class Bench:
    """A reflector on a scripted server, with a clock that a test turns and sleeps that are only noted."""

    def __init__(self, client: KubeClient, script: Script, *, silence: float, afresh: bool) -> None:
        self.script = script
        self._longest = math.inf
        self.store: Store[StoredObject] = Store(KIND.indexes)
        self.waits: list[float] = []
        self.now = 0.0
        self.reflector = Reflector(
            client,
            KIND,
            self.store,
            silence=silence,
            afresh=afresh,
            sleep=self._sleep,
            clock=lambda: self.now,
            jitter=lambda: 0.0,
        )

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await (asyncio.Event().wait() if self._longest < seconds < RETRY_AFTER else asyncio.sleep(0))

    def hold_sleeps(self, *, longer_than: float = 0.0) -> None:
        """From now on, such sleeps end by being cut short only, but for those that a server asked for."""
        self._longest = longer_than

    @property
    def names(self) -> set[str]:
        """Names of what readers see."""
        return {found.name for found in self.store.values()}

    async def until(self, condition: Callable[[], object]) -> None:
        """Waits until the condition holds; fails after 10 s."""
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.002)


@asynccontextmanager
async def reflecting(*steps: Step, silence: float = 30.0, afresh: bool = False) -> AsyncIterator[Bench]:
    """A running reflector; fails when its task has died."""
    script = Script(*steps)
    async with serving(script) as client:
        bench = Bench(client, script, silence=silence, afresh=afresh)
        task = asyncio.create_task(bench.reflector.run())
        try:
            yield bench
            assert not task.done(), f"the reflector ended: {task}"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
