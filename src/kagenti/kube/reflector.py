"""List + watch of one kind, feeding one store for as long as the process lives.

The stream is resumed from the last resource version; 410 and ERROR mean a full list again, whose difference deletes what
is gone. A stream that is silent for 70 s is dead (bookmarks come about every minute). Failures back off with jitter.
"""

import asyncio
import gc
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final, Generic

import aiohttp
import msgspec

from kagenti import errors
from kagenti.core.store import Apply, Delete, Init, InitApply, InitDone, Store, WatchEvent
from kagenti.kube.client import KubeClient, refusal
from kagenti.kube.kinds import Kind, T

PAGE: Final = 500
"""Objects a page; the API server's own clients use the same figure."""
SILENCE: Final = 70.0
"""Seconds without a byte after which a stream counts as dead."""
FIRST_BACKOFF, LAST_BACKOFF = 0.2, 30.0
"""Seconds before a retry: the first, doubled up to the last, each with up to 50 % jitter."""
_WATCH_SECONDS: Final = (300, 600)
# A watch event carries one object of at most 1.5 MiB (etcd); JSON escapes may double that.
_LONGEST_LINE: Final = 4 * 1024 * 1024
_YIELD_EVERY: Final = 200  # events between two turns of the event loop

_INITIAL_END: Final = "k8s.io/initial-events-end"


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] = []


class _BookmarkMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    annotations: dict[str, str] = {}


class _Bookmark(msgspec.Struct):
    metadata: _BookmarkMeta


class _Status(msgspec.Struct):
    code: int = 0
    message: str = ""


_events = msgspec.json.Decoder(_Event)
_lists = msgspec.json.Decoder(_List)
_bookmarks = msgspec.json.Decoder(_Bookmark)
_statuses = msgspec.json.Decoder(_Status)


class _NotOffered(errors.ClusterError):
    """The API server has no streamed lists; pages do."""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Where the stream stands; ``initial_end`` closes a streamed list."""

    resource_version: str
    initial_end: bool = False


def decode_event(line: bytes, kind: Kind[T]) -> WatchEvent[T] | Bookmark:
    """Returns what one line of a watch says; raises Gone for 410, Unreachable for other errors and for bad JSON."""
    try:
        event = _events.decode(line)
        if event.type == "BOOKMARK":
            metadata = _bookmarks.decode(event.object).metadata
            return Bookmark(metadata.resource_version, initial_end=metadata.annotations.get(_INITIAL_END) == "true")
        if event.type == "ERROR":
            status = _statuses.decode(event.object)
            failure = errors.Gone if status.code == 410 else errors.Unreachable  # HTTP: gone
            raise failure(f"the watch of {kind.plural} ended with {status.code}: {status.message}")
        found = kind.decode(event.object)
    except msgspec.DecodeError as problem:
        raise errors.Unreachable(f"the watch of {kind.plural} sent a line that cannot be read: {problem}") from problem
    return Delete(found) if event.type == "DELETED" else Apply(found)


class Reflector(Generic[T]):
    """Keeps one store equal to the API server. ``sleep`` and ``jitter`` are the clock and the dice, for tests."""

    def __init__(
        self,
        client: KubeClient,
        kind: Kind[T],
        store: Store[T],
        *,
        silence: float = SILENCE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client, self.kind, self.store = client, kind, store
        self._silence, self._sleep, self._jitter = silence, sleep, jitter
        self._selector = {"labelSelector": kind.selector} if kind.selector else {}
        self._version = ""
        self._streams_lists = True
        self._failures = 0
        self.relists = 0
        self.events = 0
        self.last_event = time.monotonic()
        self.problem = ""

    async def run(self) -> None:
        """Feeds the store until cancelled; failures are remembered in ``problem`` and retried."""
        while True:
            try:
                await self._once()
                self._failures, self.problem = 0, ""
            except errors.Gone as problem:
                self._version = ""
                await self._back_off(problem)
            except (errors.ClusterError, aiohttp.ClientError, TimeoutError, OSError) as problem:
                await self._back_off(problem)

    async def _once(self) -> None:
        """Runs one list, where needed, and one watch to its end."""
        if not self._version:
            self.relists += 1
            await (self._streamed_list() if self._streams_lists else self._paged_list())
        else:
            await self._watch({"resourceVersion": self._version})

    async def _back_off(self, problem: Exception) -> None:
        self.problem = str(problem) or type(problem).__name__
        wait = min(FIRST_BACKOFF * 2**self._failures, LAST_BACKOFF)
        self._failures = min(self._failures + 1, 10)
        if isinstance(problem, errors.TooManyRequests) and problem.retry_after is not None:
            wait = max(wait, problem.retry_after)
        await self._sleep(wait * (1 + self._jitter() / 2))

    async def _streamed_list(self) -> None:
        """Lists through a watch (WatchList); a server without it answers 400 or 422, and pages are used from then on."""
        try:
            await self._watch({"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}, initial=True)
        except _NotOffered:
            self._streams_lists = False
            await self._paged_list()

    async def _paged_list(self) -> None:
        self.store.apply(Init())
        params = {"limit": str(PAGE), **self._selector}
        with _without_collector():
            while True:
                page = _lists.decode(await self._client.get(self.kind.path, params=params, timeout=30))
                for item in page.items:
                    self.store.apply(InitApply(self.kind.decode(item)))
                if not page.metadata.continue_:
                    break
                params["continue"] = page.metadata.continue_
                await asyncio.sleep(0)
        if not page.metadata.resource_version:
            raise errors.Unreachable(
                f"the list of {self.kind.plural} has no resourceVersion; nothing could be watched from it"
            )
        self._version = page.metadata.resource_version
        self.store.apply(InitDone())
        self._seen()

    async def _watch(self, params: dict[str, str], *, initial: bool = False) -> None:
        seconds = int(_WATCH_SECONDS[0] + self._jitter() * (_WATCH_SECONDS[1] - _WATCH_SECONDS[0]))
        query = (
            {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds)} | self._selector | params
        )
        async with self._client.stream(self.kind.path, query) as answer:
            if answer.status != 200:  # HTTP: success
                raise await self._refused(answer, initial=initial)
            if initial:
                self.store.apply(Init())
            with ExitStack() as pause:
                if initial:
                    pause.enter_context(_without_collector())
                number = 0
                async for line in _lines(answer, self._silence):
                    initial = self._take(decode_event(line, self.kind), initial=initial)
                    if not initial:
                        pause.close()
                    number += 1
                    if number % _YIELD_EVERY == 0:
                        await asyncio.sleep(0)
        if initial:
            raise errors.Unreachable(f"the streamed list of {self.kind.plural} ended before it was complete")

    async def _refused(self, answer: aiohttp.ClientResponse, *, initial: bool) -> errors.ClusterError:
        body = await answer.read()
        if initial and answer.status in (400, 422):
            return _NotOffered(f"the API server offers no streamed list of {self.kind.plural}")
        return refusal(answer.status, body, what=f"GET {self.kind.path}", headers=answer.headers)

    def _take(self, event: WatchEvent[T] | Bookmark, *, initial: bool) -> bool:
        """Applies one event; returns whether the streamed list still goes on."""
        self._seen()
        if isinstance(event, Bookmark):
            self._version = event.resource_version or self._version
            if initial and event.initial_end:
                self.store.apply(InitDone())
                return False
            return initial
        self.events += 1
        if isinstance(event, Apply):
            self.store.apply(InitApply(event.object) if initial else event)
            if not initial:
                self._version = event.object.resource_version or self._version
        elif isinstance(event, Delete):
            self.store.apply(event)
            self._version = event.object.resource_version or self._version
        return initial

    def _seen(self) -> None:
        self.last_event = time.monotonic()
        self._failures, self.problem = 0, ""


async def _lines(answer: aiohttp.ClientResponse, silence: float) -> AsyncIterator[bytes]:
    """Yields the lines of a stream; raises TimeoutError after that many seconds of silence."""
    rest = b""
    while True:
        async with asyncio.timeout(silence):
            chunk = await answer.content.readany()
        if not chunk:
            return  # a line without its end was cut off: the server sends the event again
        *lines, rest = (rest + chunk).split(b"\n") if rest else chunk.split(b"\n")
        if len(rest) > _LONGEST_LINE:
            raise errors.Unreachable("a watch event is larger than any object can be")
        for line in lines:
            if line.strip():
                yield line


_pauses = 0


@contextmanager
def _without_collector() -> Iterator[None]:
    """Suspends garbage collection while a full list comes in: it would more than double the time (measured)."""
    global _pauses  # noqa: PLW0603  # the collector is one for the whole process, and so is its counter
    _pauses += 1
    gc.disable()
    try:
        yield
    finally:
        _pauses -= 1
        if _pauses == 0:
            gc.enable()
