"""One client's stream in I/O: bytes in, the state machine of core/ads, bytes out; one writer at a time, no task at rest.

A push to a client that does not read is not queued: the stream is left dirty and takes the newest snapshot once what
was written before has gone out. A client that keeps asking without reading is not read from either, and one that never
stops asking is read from at a measured pace, since its replica serves others too.
"""

import asyncio
import collections
import contextlib
from typing import Final

import grpc.aio

from kagenti.core import ads
from kagenti.xds import envelopes
from kagenti.xds.pace import Pace
from kagenti.xds.session import Connection, Observer, Subscription

# A full answer of a workload is some ten replies; whoever is further behind must read before it is read from.
_MOST_WAITING: Final = 64


class Conversation:
    """One authenticated client, from its first request to its end; nothing of a request is kept once it is taken."""

    __slots__ = (
        "_context",
        "_first",
        "_given",
        "_observer",
        "_pace",
        "_reported",
        "_stream",
        "_task",
        "_waiting",
        "_writer",
        "connection",
        "dirty",
        "reason",
        "subscription",
    )

    def __init__(
        self, connection: Connection, context: grpc.aio.ServicerContext, *, first: ads.Request, observer: Observer
    ) -> None:
        self.connection: Final = connection
        self.dirty = False
        self.reason = ""
        self.subscription: Subscription | None = None
        self._context = context
        self._first: ads.Request | None = first
        self._observer = observer
        self._pace: Final = Pace()
        self._stream: Final = ads.Stream(connection.kind)
        self._given: ads.Snapshot | None = None
        self._reported: tuple[object, ...] = ()
        self._waiting: collections.deque[ads.Reply] = collections.deque()
        self._writer: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> ads.StreamState:
        """How far the client is."""
        return self._stream.state()

    async def run(self) -> None:
        """Talks until the client hangs up or ``end`` is called.

        Raises:
            ads.Violation: The client left the protocol.
        """
        self._task = asyncio.current_task()
        self.push()
        request, self._first = self._first, None
        try:
            while request is not None:
                self._take(self._stream.on_request(request))
                await self._until_written()
                if (delay := self._pace.delay(asyncio.get_running_loop().time())) > 0:
                    await asyncio.sleep(delay)
                request = await self._read()
        except asyncio.CancelledError:
            if not self.reason or self._task is None:
                raise
            self._task.uncancel()  # ended by us: the call closes in good order, and the client comes again
        except ads.Violation as error:
            self.reason = str(error)
            raise
        finally:
            self._task = None
            await self._stop_writing()

    def push(self) -> None:
        """Gives the client the newest snapshot, unless it has yet to read what was written before."""
        self.dirty = False
        snapshot = None if self.subscription is None else self.subscription.snapshot
        if snapshot is None or snapshot is self._given or self._task is None:
            return
        if self._writer is not None:
            self.dirty = True  # the writer looks at it when it is done
            return
        self._given = snapshot
        self._take(self._stream.on_snapshot(snapshot))

    def end(self, reason: str) -> None:
        """Closes the stream in good order; the client comes again."""
        if self.reason or self._task is None:
            return
        self.reason = reason
        self._task.cancel()

    def _take(self, replies: list[ads.Reply]) -> None:
        self._waiting.extend(replies)
        if self._waiting and self._writer is None:
            self._writer = asyncio.create_task(self._write())
        state = self._stream.state()
        news = (state.revision, state.verdict, state.rejected)
        if news != self._reported:
            self._reported = news
            self._observer.reported(self.connection, state)

    async def _read(self) -> ads.Request | None:
        raw = await self._context.read()
        return None if raw is grpc.aio.EOF else envelopes.decode(self.connection.kind, raw)[0]

    async def _write(self) -> None:
        try:
            while self._waiting:
                await self._context.write(envelopes.encode(self.connection.kind, self._waiting.popleft()))
        except (grpc.aio.BaseError, asyncio.InvalidStateError):
            self._waiting.clear()  # the client is gone, which its reader learns too
        finally:
            self._writer = None
        if self.dirty:
            self.push()

    async def _until_written(self) -> None:
        while len(self._waiting) > _MOST_WAITING and self._writer is not None:
            await asyncio.wait({self._writer})

    async def _stop_writing(self) -> None:
        if self._writer is not None:
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer
