"""Many requests to the API server at once, as its administrator; answers in the order of the requests."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from tests.e2e.plane.access import Plane

JSON = Any  # a raw object
CONFLICT = 409  # HTTP: it exists


@dataclass(frozen=True)
class Request:
    """One request; a PATCH is a JSON merge patch (RFC 7386)."""

    method: str
    path: str
    body: JSON


@asynccontextmanager
async def session(plane: Plane, *, concurrent: int) -> AsyncIterator[aiohttp.ClientSession]:
    """Connects with the administrator's certificate."""
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    context.load_cert_chain(str(plane.admin_cert), str(plane.admin_key))
    connector = aiohttp.TCPConnector(ssl=context, limit=concurrent)
    async with aiohttp.ClientSession(connector=connector, base_url=plane.server) as made:
        yield made


def send(plane: Plane, requests: Sequence[Request], *, concurrent: int = 20) -> list[JSON]:
    """Sends all, and returns the decoded answers; one that exists already is none of our business."""
    return asyncio.run(_send(plane, requests, concurrent))


async def _send(plane: Plane, requests: Sequence[Request], concurrent: int) -> list[JSON]:
    answers: list[JSON] = [None] * len(requests)
    queue = iter(enumerate(requests))

    async def worker(made: aiohttp.ClientSession) -> None:
        for place, request in queue:
            kind = "application/merge-patch+json" if request.method == "PATCH" else "application/json"
            headers = {"Content-Type": kind}
            body = orjson.dumps(request.body)
            async with made.request(request.method, request.path, data=body, headers=headers) as answer:
                text = await answer.read()
                if not answer.ok and answer.status != CONFLICT:
                    raise RuntimeError(f"{request.method} {request.path}: {answer.status} {text[:300]!r}")
                answers[place] = orjson.loads(text)

    async with session(plane, concurrent=concurrent) as made:
        await asyncio.gather(*(worker(made) for _ in range(min(concurrent, len(requests)))))
    return answers
