"""How much of one process a group of entries may hold at once: bodies on their way in, bytes, decisions.

Whoever sends headers and no body holds a seat until somebody newer needs it: the seat that has waited longest is taken
away, since an API server sends a body right behind its headers. Thus idle connections cannot keep others out.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol


class Content(Protocol):
    """A body as it arrives."""

    async def readany(self) -> bytes:
        """Returns what has arrived since the last call, waiting for something; empty at the end."""

    def is_eof(self) -> bool:
        """Whether the end has arrived, so that nothing is waited for."""


class Full(Exception):  # named after the state that it reports
    """There is no room for this body now."""


class TooLarge(Exception):  # named after the body that it is about
    """The body is larger than any review."""


@dataclass(slots=True)
class Quota:
    """The limits of one group and what of them is taken: seats for bodies, bytes of bodies, decisions at once."""

    seats: int
    memory: int
    decisions: int
    held: int = 0
    deciding: int = 0
    reading: dict["Seat", None] = field(default_factory=dict)  # in the order of arrival

    def admit(self, seat: "Seat") -> None:
        """Gives a seat, if need be that of the one who has waited longest."""
        if len(self.reading) >= self.seats:
            next(iter(self.reading)).lose()
        self.reading[seat] = None

    def take(self, seat: "Seat", count: int) -> None:
        """Counts bytes that have arrived; raises Full when not even the unfinished bodies of others make room."""
        self.held += count
        while self.held > self.memory:
            other = next((other for other in self.reading if other is not seat and other.size), None)
            if other is None:
                raise Full
            other.lose()


@dataclass(slots=True, eq=False)
class Seat:
    """One request's share of a quota, from its headers to its answer."""

    quota: Quota
    size: int = 0
    _deadline: asyncio.Timeout | None = None
    _lost: bool = False

    async def read(self, content: Content, *, limit: int, seconds: float) -> bytes:
        """Returns the whole body; one that has arrived takes no seat.

        Raises:
            TimeoutError: It did not arrive in time.
            TooLarge: It is larger than ``limit`` bytes.
            Full: The seat was taken away, or there is no room for more bytes.
        """
        try:
            if content.is_eof():  # nearly always: a body comes right behind its headers
                return await self._arrived(content, limit)
            async with asyncio.timeout(seconds) as self._deadline:
                self.quota.admit(self)
                return await self._arrived(content, limit)
        except TimeoutError:
            if self._lost:
                raise Full from None
            raise
        finally:
            self.quota.reading.pop(self, None)

    async def _arrived(self, content: Content, limit: int) -> bytes:
        chunks = []
        while chunk := await content.readany():
            self.size += len(chunk)
            self.quota.take(self, len(chunk))
            if self.size > limit:
                raise TooLarge
            chunks.append(chunk)
        return b"".join(chunks)

    def lose(self) -> None:
        """Gives up the seat and its bytes at once; the reader is woken with Full."""
        self._lost = True
        self.leave()
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time())

    def leave(self) -> None:
        """Gives back what is still held."""
        self.quota.reading.pop(self, None)
        self.quota.held -= self.size
        self.size = 0
