"""An API server that serves our kinds to kopf as told, with the faults that a real one shows only in bad hours."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

JSON = Any  # objects and events
GROUP = "/apis/kagenti.io/v1alpha1"
PLURALS = {
    "agentruntimes": "AgentRuntime",
    "agentruntimeconfigs": "AgentRuntimeConfig",
    "agentruntimeclusterconfigs": "AgentRuntimeClusterConfig",
    "agentcards": "AgentCard",
}
VERBS = ["get", "list", "watch", "patch"]


def _group(name: str, version: str) -> JSON:
    return {"name": name, "versions": [{"version": version}], "preferredVersion": {"version": version}}


def _resource(plural: str, kind: str) -> JSON:
    names = {"name": plural, "singularName": plural[:-1], "kind": kind}
    return {**names, "namespaced": "cluster" not in plural and kind != "Namespace", "verbs": VERBS}


class ApiServer:
    """Lists and watches; ``requests`` are (method, path, query) as they came in."""

    def __init__(self) -> None:
        self.items: dict[str, list[JSON]] = {plural: [] for plural in PLURALS}
        self.version = 10
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._streams: dict[str, list[asyncio.Queue[JSON]]] = {plural: [] for plural in PLURALS}
        self.url = ""

    def send(self, plural: str, kind: str, found: JSON) -> None:
        """Sends one event to whoever watches."""
        for stream in self._streams[plural]:
            stream.put_nowait({"type": kind, "object": found})

    def gone(self, plural: str) -> None:
        """Answers 410 on the open watches: the version is too old."""
        self.send(plural, "ERROR", {"kind": "Status", "code": 410, "message": "too old"})

    def watching(self, plural: str) -> int:
        """Open watches."""
        return len(self._streams[plural])

    def count(self, plural: str, *, watch: bool) -> int:
        """Lists or watches that were asked for."""
        return sum(path.endswith(f"/{plural}") and ("watch" in query) == watch for _, path, query in self.requests)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path, dict(request.query)))
        documents = {
            "/api": {"versions": ["v1"]},
            "/api/v1": {"resources": [_resource("namespaces", "Namespace"), _resource("events", "Event")]},
            "/apis": {"groups": [_group("kagenti.io", "v1alpha1"), _group("apiextensions.k8s.io", "v1")]},
            "/apis/apiextensions.k8s.io/v1": {
                "resources": [_resource("customresourcedefinitions", "CustomResourceDefinition")]
            },
            GROUP: {"resources": [_resource(plural, kind) for plural, kind in PLURALS.items()]},
        }
        if request.path in documents:
            return web.json_response(documents[request.path])
        plural = request.path.rpartition("/")[2]
        if plural not in PLURALS:
            return web.json_response({"code": 404}, status=404)
        if "watch" in request.query:
            return await self._watch(request, plural)
        body = {"metadata": {"resourceVersion": str(self.version)}, "items": self.items[plural]}
        return web.json_response(body)

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        stream: asyncio.Queue[JSON] = asyncio.Queue()
        self._streams[plural].append(stream)
        try:
            while True:
                event = await stream.get()
                await response.write(json.dumps(event).encode() + b"\n")
                if event["type"] == "ERROR":
                    return response
        except (ConnectionError, asyncio.CancelledError):
            return response
        finally:
            self._streams[plural].remove(stream)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["ApiServer"]:
        """Listens on loopback."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()
