"""A small API server over HTTP: lists, watches, single reads and server-side apply of status, for the wired process."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

JSON = Any  # API objects

LISTED = {
    "/apis/kagenti.io/v1alpha1/agentruntimes": "AgentRuntime",
    "/apis/kagenti.io/v1alpha1/agentruntimeconfigs": "AgentRuntimeConfig",
    "/apis/kagenti.io/v1alpha1/agentruntimeclusterconfigs": "AgentRuntimeClusterConfig",
    "/api/v1/namespaces": "Namespace",
    "/api/v1/pods": "Pod",
}
_KEYS = {"propagation": "replica", "conditions": "type"}


class ApiServer:
    """Objects by kind, namespace and name; ``reads`` are answered by path; ``requests`` are remembered."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], JSON] = {}
        self.reads: dict[str, JSON] = {}
        self.requests: list[tuple[str, str]] = []
        self._owned: dict[tuple[str, str, str], dict[str, JSON]] = defaultdict(dict)
        self._watches: dict[str, list[asyncio.Queue[bytes]]] = defaultdict(list)
        self._version = 1

    def put(self, kind: str, name: str = "default", *, namespace: str = "", **parts: JSON) -> JSON:
        """Creates or replaces an object; watches see it."""
        self._version += 1
        key = (kind, namespace, name)
        metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "generation": 1}
        metadata |= parts.pop("metadata", {}) | {"resourceVersion": str(self._version)}
        made = {"metadata": metadata, "status": self.status(*key)} | parts
        self._tell(kind, "MODIFIED" if key in self.objects else "ADDED", made)
        self.objects[key] = made
        return made

    def status(self, kind: str, namespace: str, name: str) -> JSON:
        """Returns what the managers of an object's status have applied."""
        merged: dict[str, dict[str, JSON]] = {}
        for status in self._owned[kind, namespace, name].values():
            for field, items in status.items():
                merged.setdefault(field, {}).update({item[_KEYS[field]]: item for item in items})
        return {field: list(items.values()) for field, items in merged.items() if items}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request."""
        self.requests.append((request.method, request.path))
        if request.method == "PATCH":
            return await self._apply(request)
        kind = LISTED.get(request.path)
        if kind is None:
            found = self.reads.get(request.path)
            if request.path.startswith("/openid/") and request.headers["Accept"] != "application/jwk-set+json":
                return web.json_response({"message": "only application/jwk-set+json is served"}, status=406)
            return web.json_response(found or {"message": "not found"}, status=200 if found else 404)
        if "sendInitialEvents" in request.query:
            return web.json_response({"message": "no streamed lists here"}, status=400)
        if "watch" in request.query:
            return await self._watch(request, kind)
        items = [made for (of, _, _), made in self.objects.items() if of == kind]
        return web.json_response({"metadata": {"resourceVersion": str(self._version)}, "items": items})

    async def _apply(self, request: web.BaseRequest) -> web.Response:
        manifest = orjson.loads(await request.read())
        metadata = manifest["metadata"]
        key = (manifest["kind"], metadata.get("namespace", ""), metadata["name"])
        if key not in self.objects:
            return web.json_response({"message": "not found"}, status=404)
        self._owned[key][request.query["fieldManager"]] = manifest.get("status", {})
        known = self.objects[key]
        made = self.put(key[0], key[2], namespace=key[1], metadata=known["metadata"], spec=known.get("spec", {}))
        return web.json_response(made)

    async def _watch(self, request: web.BaseRequest, kind: str) -> web.StreamResponse:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._watches[kind].append(queue)
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(await queue.get())
        finally:
            self._watches[kind].remove(queue)

    def _tell(self, kind: str, event: str, made: JSON) -> None:
        for queue in self._watches[kind]:
            queue.put_nowait(orjson.dumps({"type": event, "object": made}) + b"\n")


@contextlib.asynccontextmanager
async def api_server(folder: Path) -> AsyncIterator[tuple[ApiServer, Path]]:
    """Serves one on loopback; yields it with the path of a kubeconfig for it."""
    api = ApiServer()
    runner = web.ServerRunner(web.Server(api.handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_bytes(orjson.dumps(_kubeconfig(f"http://127.0.0.1:{runner.addresses[0][1]}")))
        yield api, kubeconfig
    finally:
        await runner.cleanup()


def _kubeconfig(server: str) -> JSON:
    return {
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": server}}],
        "users": [{"name": "x", "user": {}}],
    }
