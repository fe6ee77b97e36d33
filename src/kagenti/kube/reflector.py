"""List + watch of one kind, feeding one store for as long as the process lives.

The stream is resumed from the last resource version; 410 and ERROR mean a full list again, whose difference deletes what
is gone. A server that is silent for 70 s is dead (bookmarks come about every minute). Failures, and streams that end
soon after they began, back off with jitter.
"""

import asyncio
import gc
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Final, Generic

import aiohttp

from kagenti import errors
from kagenti.core.store import Apply, Delete, Init, InitApply, InitDone, Store, WatchEvent
from kagenti.kube.client import KubeClient, refusal
from kagenti.kube.kinds import Kind, T
from kagenti.kube.wire import Bookmark, decode_event, decode_page

PAGE: Final = 500
"""Objects a page; the API server's own clients use the same figure."""
SILENCE: Final = 70.0
"""Seconds without a byte after which a stream, or a request for one, counts as dead."""
FIRST_BACKOFF, LAST_BACKOFF = 0.2, 5.0
"""Seconds before a retry: the first, doubled up to the last, each with up to 50 % jitter.

The last is short, for what is decided from a cache is as old as its watch: after an outage of the API server a webhook that
waits for half a minute gives pods the settings of before. A handful of replicas asking every few seconds is no load.
"""
LONGEST_RETRY_AFTER: Final = 30.0
"""Seconds beyond which a server's Retry-After is not believed."""
STEADY: Final = 30.0
"""Seconds that a watch must have lasted for earlier failures to be forgotten."""
_WATCH_SECONDS: Final = (300, 600)
_LIST_SECONDS: Final = 30.0
# A watch event carries one object of at most 1.5 MiB (etcd); JSON escapes may double that.
_LONGEST_LINE: Final = 4 * 1024 * 1024
_YIELD_EVERY: Final = 200  # events between two turns of the event loop


class _NotOffered(errors.ClusterError):
    """The API server has no streamed lists; pages do."""


class Reflector(Generic[T]):
    """Keeps one store equal to the API server. ``sleep``, ``clock`` and ``jitter`` are time and the dice, for tests."""

    def __init__(
        self,
        client: KubeClient,
        kind: Kind[T],
        store: Store[T],
        *,
        silence: float = SILENCE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client, self.kind, self.store = client, kind, store
        self._silence, self._sleep, self._clock, self._jitter = silence, sleep, clock, jitter
        self._selector = {"labelSelector": kind.selector} if kind.selector else {}
        self._version = ""
        self._streams_lists = True
        self._watching_since: float | None = None
        self._failures = 0
        self.relists = 0
        self.events = 0
        self.last_event = time.monotonic()
        self.problem = ""

    async def run(self) -> None:
        """Feeds the store until cancelled; failures are remembered in ``problem`` and retried."""
        while True:
            self._watching_since = None
            try:
                await self._once()
            except errors.Gone as problem:
                self._version = ""
                await self._back_off(problem)
            except (errors.ClusterError, aiohttp.ClientError, TimeoutError, OSError) as problem:
                await self._back_off(problem)

    async def _once(self) -> None:
        """Runs one list, where needed, and one watch to its end."""
        if self._version:
            await self._watch({"resourceVersion": self._version})
            return
        self.relists += 1
        await (self._streamed_list() if self._streams_lists else self._paged_list())

    async def _back_off(self, problem: Exception) -> None:
        """Waits before the next try: the longer, the more often no watch has lasted."""
        self.problem = str(problem) or type(problem).__name__
        if self._lasted() >= STEADY:
            self._failures = 0
        wait = min(FIRST_BACKOFF * 2**self._failures, LAST_BACKOFF)
        self._failures = min(self._failures + 1, 10)
        if isinstance(problem, errors.TooManyRequests) and problem.retry_after is not None:
            wait = max(wait, min(problem.retry_after, LONGEST_RETRY_AFTER))
        await self._sleep(wait * (1 + self._jitter() / 2))

    def _lasted(self) -> float:
        """Returns the seconds since the watch has followed a complete list; 0 where it has not come to that."""
        return 0.0 if self._watching_since is None else self._clock() - self._watching_since

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
                body = await self._client.get(self.kind.path, params=params, timeout=_LIST_SECONDS)
                page = decode_page(body, self.kind)
                for found in page.objects:
                    self.store.apply(InitApply(found))
                if not page.more:
                    break
                params["continue"] = page.more
                await asyncio.sleep(0)
        self._complete(page.resource_version)

    def _complete(self, version: str) -> None:
        """Ends a full list: readers see it, and the watch goes on from its version."""
        if not version:
            raise errors.Unreachable(
                f"the list of {self.kind.plural} has no resourceVersion; nothing could be watched from it"
            )
        self._version = version
        self.store.apply(InitDone())
        self._seen()

    async def _watch(self, params: Mapping[str, str], *, initial: bool = False) -> None:
        """Follows one stream to its end; raises Unreachable for one that ended before it was of use."""
        async with self._opened(params, initial=initial) as answer:
            if initial:
                self.store.apply(Init())
            else:
                self._watching_since = self._clock()
            initial = await self._follow(answer, initial=initial)
        if initial:
            raise errors.Unreachable(f"the streamed list of {self.kind.plural} ended before it was complete")
        if self._lasted() < STEADY:
            raise errors.Unreachable(
                f"the watch of {self.kind.plural} ended after {self._lasted():.1f} s; trying again"
            )
        self._failures = 0

    @asynccontextmanager
    async def _opened(self, params: Mapping[str, str], *, initial: bool) -> AsyncIterator[aiohttp.ClientResponse]:
        """Opens a stream; a server that takes the request and says nothing counts as silent too."""
        seconds = int(_WATCH_SECONDS[0] + self._jitter() * (_WATCH_SECONDS[1] - _WATCH_SECONDS[0]))
        query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds)}
        query |= {**self._selector, **params}
        async with AsyncExitStack() as stack:
            async with self._patience():
                answer = await stack.enter_async_context(self._client.stream(self.kind.path, query))
                if answer.status != 200:  # HTTP: success
                    raise await self._refused(answer, initial=initial)
            yield answer

    async def _follow(self, answer: aiohttp.ClientResponse, *, initial: bool) -> bool:
        """Applies the events of a stream; returns whether its list is still incomplete at its end."""
        with ExitStack() as pause:
            if initial:
                pause.enter_context(_without_collector())
            number = 0
            async for line in self._lines(answer):
                event = decode_event(line, self.kind)
                if initial:
                    initial = self._take_listed(event)
                else:
                    pause.close()
                    self._take(event)
                number += 1
                if number % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
        return initial

    async def _refused(self, answer: aiohttp.ClientResponse, *, initial: bool) -> errors.ClusterError:
        body = await answer.read()
        if initial and answer.status in (400, 422):
            return _NotOffered(f"the API server offers no streamed list of {self.kind.plural}")
        return refusal(answer.status, body, what=f"GET {self.kind.path}", headers=answer.headers)

    def _take_listed(self, event: WatchEvent[T] | Bookmark) -> bool:
        """Applies one event of a streamed list; returns whether it goes on. No version counts before its end."""
        if isinstance(event, Bookmark):
            if not event.initial_end:
                return True
            self._complete(event.resource_version)
            self._watching_since = self._clock()
            return False
        self.events += 1
        self.store.apply(InitApply(event.object) if isinstance(event, Apply) else event)
        return True

    def _take(self, event: WatchEvent[T] | Bookmark) -> None:
        """Applies one event of a watch, and remembers where to resume."""
        self._seen()
        if isinstance(event, Bookmark):
            self._version = event.resource_version or self._version
        elif isinstance(event, Apply | Delete):
            self.events += 1
            self.store.apply(event)
            self._version = event.object.resource_version or self._version

    def _seen(self) -> None:
        self.last_event = time.monotonic()
        self.problem = ""

    @asynccontextmanager
    async def _patience(self) -> AsyncIterator[None]:
        """Bounds one wait for the server; raises Unreachable after that many seconds of silence."""
        try:
            async with asyncio.timeout(self._silence):
                yield
        except aiohttp.ClientError:
            raise  # a time-out of connecting is one of these too, and says so
        except TimeoutError as problem:
            raise errors.Unreachable(
                f"the watch of {self.kind.plural} was silent for {self._silence:g} s; it is opened again"
            ) from problem

    async def _lines(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Yields the lines of a stream; a line without its end was cut off, and the server sends its event again."""
        rest = b""
        while True:
            async with self._patience():
                chunk = await answer.content.readany()
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n") if rest else chunk.split(b"\n")
            if len(rest) > _LONGEST_LINE:
                raise errors.Unreachable(f"an event of {self.kind.plural} is larger than any object can be")
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
