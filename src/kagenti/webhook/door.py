"""The HTTP side: methods, content types, limits, client certificates and paths; a body in, the entry's answer out.

Decides nothing about objects. What is no review gets a clean 4xx; what is one gets HTTP 200 with its uid, always.
Built on aiohttp's low-level server: no router and no middleware stand between a review and its decision.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson
from aiohttp import web

from kagenti.webhook.metrics import Metrics
from kagenti.webhook.quota import Full, Quota, Seat, TooLarge
from kagenti.webhook.reply import Reply

# The API server gives up after 5 s at the latest; a body that takes longer is of no use to anybody.
BODY_SECONDS: Final = 10.0
# Reviews beyond the limit are still answered with their uid, which needs their body; this bounds those bodies.
SEATS_FACTOR: Final = 4
# Bytes of bodies in memory: 8 of the largest reviews, or some thousand pods.
MEMORY: Final = 64 * 1024 * 1024
ADVISORY: Final = frozenset(("/validate", "/advise"))
"""Entries that fail open: the API server goes on without them, so that pods never queue behind them."""
ADVISORY_SHARE: Final = 4
"""Their quota is a quarter of that of the entries that fail closed, and comes on top of it."""

JSON_TYPE: Final = "application/json"
TEXT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class BadRequest(Exception):  # named after the answer that it becomes
    """A request that is no review: HTTP status and one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


Entry = Callable[[bytes, bool], Awaitable[bytes]]
"""Takes a review's body and whether the process is too busy to decide; returns an AdmissionReview's body.

Raises:
    BadRequest: The body is no review.
"""
Page = Callable[[], tuple[int, str, bytes]]
"""Returns status, content type and body of a GET."""


@dataclass(slots=True)
class Door:
    """Answers every request of one process; ``draining`` asks clients to leave after their answer."""

    entries: Mapping[str, Entry]
    pages: Mapping[str, Page]
    metrics: Metrics
    concurrency: int
    body_limit: int
    wants_client_certificate: bool = False
    draining: bool = field(default=False)
    _quotas: Mapping[bool, Quota] = field(init=False)

    def __post_init__(self) -> None:
        """Sets the quotas: one for the entries that fail closed, one for the advisory ones."""
        self._quotas = {False: _quota(self.concurrency, 1), True: _quota(self.concurrency, ADVISORY_SHARE)}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request; raises nothing but cancellation."""
        response: web.StreamResponse
        try:
            response = await self._answer(request)
        except BadRequest as bad:
            self.metrics.refused[bad.status] += 1
            response = _json(bad.status, {"code": bad.status, "message": bad.message})
        if self.draining:
            response.force_close()
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        entry = self.entries.get(request.path)
        if entry is None:
            return self._page(request)
        if request.method != "POST":
            raise BadRequest(405, f"{request.path} takes POST of an AdmissionReview, not {request.method}")
        self._check_client(request)
        quota = self._quotas[request.path in ADVISORY]
        seat = Seat(quota)
        try:
            answer = await self._decided(entry, await self._body(request, seat), quota)
        finally:
            seat.leave()
        return Reply(answer)

    async def _decided(self, entry: Entry, body: bytes, quota: Quota) -> bytes:
        """Returns the entry's answer; a review takes part of the concurrency once its body is here, not before."""
        quota.deciding += 1
        self.metrics.in_flight += 1
        try:
            return await entry(body, quota.deciding > quota.decisions)
        finally:
            self.metrics.in_flight -= 1
            quota.deciding -= 1

    def _page(self, request: web.BaseRequest) -> web.Response:
        page = self.pages.get(request.path)
        if page is None:
            known = ", ".join(sorted((*self.entries, *self.pages)))
            raise BadRequest(404, f"no such path; there are {known}")
        if request.method not in ("GET", "HEAD"):
            raise BadRequest(405, f"{request.path} takes GET, not {request.method}")
        status, content_type, body = page()
        return web.Response(status=status, body=body, headers={"Content-Type": content_type})

    def _check_client(self, request: web.BaseRequest) -> None:
        if not self.wants_client_certificate:
            return
        transport = request.transport
        if transport is None or not transport.get_extra_info("peercert"):
            raise BadRequest(
                401, "a client certificate is required; give the API server one (--admission-control-config-file)"
            )

    async def _body(self, request: web.BaseRequest, seat: Seat) -> bytes:
        content_type = request.headers.get("Content-Type", "")
        if content_type.partition(";")[0].strip().lower() != JSON_TYPE:
            raise BadRequest(415, f'Content-Type is "{content_type[:80]}", want "{JSON_TYPE}"')
        if (request.content_length or 0) > self.body_limit:
            raise BadRequest(413, _too_large(self.body_limit))
        try:
            return await seat.read(request.content, limit=self.body_limit, seconds=BODY_SECONDS)
        except TooLarge as error:
            raise BadRequest(413, _too_large(self.body_limit)) from error
        except Full as error:
            raise BadRequest(503, "too many reviews at once; retry") from error
        except TimeoutError as error:
            raise BadRequest(408, f"the body did not arrive within {BODY_SECONDS:.0f} s") from error
        except web.RequestPayloadError as error:
            raise BadRequest(400, f"the body is broken: {error}") from error


def low_level_server(door: Door) -> web.Server:
    """Returns the aiohttp server of a door; must be called on the running loop."""
    loop = asyncio.get_running_loop()

    def request_factory(message, payload, protocol, writer, task):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  # aiohttp keeps these types private
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=door.body_limit)

    # auto_decompress: API servers do not compress reviews, and what is not inflated cannot be a bomb.
    return web.Server(door.handle, request_factory=request_factory, access_log=None, auto_decompress=False)


def _quota(concurrency: int, share: int) -> Quota:
    decisions = max(concurrency // share, 1)
    return Quota(seats=decisions * SEATS_FACTOR, memory=MEMORY // share, decisions=decisions)


_JSON_HEADERS: Final = {"Content-Type": JSON_TYPE}


def _json(status: int, body: Mapping[str, object]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), headers=_JSON_HEADERS)


def _too_large(limit: int) -> str:
    return f"the body is larger than {limit} bytes; no object of a cluster is"
