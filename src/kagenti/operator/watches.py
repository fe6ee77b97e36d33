"""kopf, on a thread and an event loop of its own: the only watches of our kinds in this process, feeding our stores.

On its own loop, because kopf cancels every task of the loop that it did not start when it stops. Its handlers write
nothing: ``on.event`` leaves neither annotation nor finalizer. Stores are written on the main loop alone.

Every event comes through a handler. The objects of a full list do not: they are taken from the stream (``stream.py``), for
kopf makes a task of each, and a new leader with ten thousand of them would lead five seconds later.
"""

import asyncio
import collections
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import kopf
import orjson
from kopf._core.engines.peering import Identity

from kagenti.core.store import Apply, Delete, Init, InitApply, InitDone, Store, WatchEvent
from kagenti.kube import Kind, StoredObject
from kagenti.kube.client import open_session
from kagenti.kube.connection import Connection
from kagenti.operator.stream import tapped
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw watch event

SILENCE: Final = 70.0
"""Seconds without an event or bookmark after which kopf opens a stream anew."""
_PAGE: Final = 500
_SLICE: Final = 200  # events applied between two turns of the main loop
_HANDLED: Final = (
    30.0  # seconds that events may wait for their handler; one that never comes is a defect of kopf or ours
)
_DYING: Final = 0.5  # seconds that a kopf that has failed is waited for: whoever writes still believes in its caches
_STOP: Final = 5.0  # seconds that kopf has for its end; it writes nothing, so nothing is lost after them


@dataclass(slots=True)
class Watched:
    """One kind: its store, and how its stream stands. A ``Reflecting`` whose ``run`` only waits: the thread feeds it."""

    kind: Kind[StoredObject]
    store: Store[StoredObject]
    relists: int = 0
    last_event: float = field(default_factory=time.monotonic)
    problem: str = ""
    pending: int = 0
    handled: asyncio.Event | None = None

    async def run(self) -> None:
        """Waits until cancelled."""
        await asyncio.Event().wait()


class Watches:
    """The watches of one process; ``run`` starts them, and ends when they do."""

    def __init__(
        self,
        connection: Connection,
        kinds: Mapping[str, Kind[StoredObject]],
        stores: Mapping[str, Store[StoredObject]],
        *,
        user_agent: str,
        logger: logging.Logger,
    ) -> None:
        self._connection, self._user_agent, self._logger = connection, user_agent, logger
        self.watched: Final = {kind.plural: Watched(kind, stores[name]) for name, kind in kinds.items()}
        self._inbox: collections.deque[tuple[Watched, WatchEvent[StoredObject]]] = collections.deque()
        self._main: asyncio.AbstractEventLoop | None = None
        self._stop: Callable[[], None] = _nothing
        self._failure: BaseException | None = None
        self._ended, self._stopping = asyncio.Event(), False

    async def run(self) -> None:
        """Watches until cancelled; raises what ended kopf, or one of its streams: neither ends by itself."""
        self._main = asyncio.get_running_loop()
        # A daemon: a kopf that does not end in time must not keep the process from its end.
        thread = threading.Thread(target=self._work, name="kopf", daemon=True)
        thread.start()
        patience = _STOP
        try:
            await self._ended.wait()
            patience = _DYING
        finally:
            self._stopping = True
            self._stop()
            await asyncio.to_thread(thread.join, patience)
        raise RuntimeError("kopf ended") from self._failure

    def _work(self) -> None:
        """Is the thread."""
        try:
            asyncio.run(self._operate())
        except BaseException as failure:  # whatever it is, the main loop has to hear of it
            self._failure = self._failure or failure
        finally:
            self._end()

    def _end(self) -> None:
        """Has the main loop hear that nothing more will come."""
        if self._main is not None and not self._main.is_closed():
            self._main.call_soon_threadsafe(self._ended.set)

    async def _operate(self) -> None:
        # An event of this loop: kopf would wait for a thread's event in a thread that nothing can cancel, and hang there
        # when one of its own tasks has died.
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def end() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                loop.call_soon_threadsafe(stop.set)

        self._stop = end
        for watched in self.watched.values():
            watched.handled = asyncio.Event()
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        for plural in self.watched:
            kopf.on.event(wellknown.GROUP, wellknown.VERSION, plural, registry=registry)(self._seen)
        with tapped(self):
            await kopf.operator(
                registry=registry,
                settings=_settings(),
                clusterwide=True,
                standalone=True,
                # Given, for kopf would ask for the user's name, and a container's user has none.
                identity=Identity("kagenti"),
                stop_flag=stop,
            )

    async def _login(self, **_: Any) -> kopf.AiohttpSession:  # Any: kopf's own arguments
        session = open_session(self._connection, user_agent=self._user_agent)
        return kopf.AiohttpSession(server=self._connection.server, aiohttp_session=session)

    async def _seen(self, event: JSON, resource: Any, **_: Any) -> None:  # Any: kopf's own arguments
        """Takes one event, on kopf's loop."""
        watched = self.watched[resource.plural]
        self._take_in(watched, event["object"], Delete if event["type"] == "DELETED" else Apply)
        watched.pending -= 1
        if watched.pending == 0 and watched.handled is not None:
            watched.handled.set()

    def _take_in(
        self, watched: Watched, manifest: JSON, what: Callable[[StoredObject], WatchEvent[StoredObject]]
    ) -> None:
        """Posts what is said of an object; one that cannot be read is told and left out."""
        try:
            found = watched.kind.decode(orjson.dumps(manifest))
        except Exception:
            self._logger.exception("object cannot be read", extra={"fields": {"resource": watched.kind.plural}})
            return
        self._post(watched, what(found))

    # --- the tap, on kopf's loop -------------------------------------------------------------------------------------

    async def listing(self, plural: str) -> None:
        """A full list begins: no event from before it may be handled after it."""
        watched = self.watched.get(plural)
        if watched is None:
            return
        if watched.pending and watched.handled is not None:
            async with asyncio.timeout(_HANDLED):
                await watched.handled.wait()
        watched.relists += 1
        self._post(watched, Init())

    def found(self, plural: str, manifest: JSON) -> None:
        """An object of the full list passes."""
        watched = self.watched.get(plural)
        if watched is not None:
            watched.last_event = time.monotonic()
            self._take_in(watched, manifest, InitApply)

    def listed(self, plural: str) -> None:
        """The full list is complete."""
        watched = self.watched.get(plural)
        if watched is not None:
            watched.last_event = time.monotonic()
            self._post(watched, InitDone())

    def passing(self, plural: str, *, bookmark: bool) -> None:
        """An event or a bookmark passes."""
        watched = self.watched.get(plural)
        if watched is None:
            return
        watched.last_event = time.monotonic()
        if not bookmark:
            watched.pending += 1
            if watched.handled is not None:
                watched.handled.clear()

    def died(self, plural: str, failure: Exception) -> None:
        """A stream has failed for good: what the stores hold is the past from now on, however long kopf takes to end."""
        if self._stopping:
            return
        self._logger.error("watch ended", extra={"fields": {"resource": plural, "problem": str(failure)}})
        self._failure = failure
        self._end()

    # --- from thread to thread ---------------------------------------------------------------------------------------

    def _post(self, watched: Watched, event: WatchEvent[StoredObject]) -> None:
        """Hands an event to the main loop, in order; one wake-up for as many as come before it."""
        self._inbox.append((watched, event))
        # The main loop takes an entry away after it has applied it: only the first one of a flock has to wake it.
        if len(self._inbox) == 1 and self._main is not None and not self._main.is_closed():
            self._main.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        """Applies what has come, on the main loop, in slices."""
        for _ in range(_SLICE):
            if not self._inbox:
                return
            watched, event = self._inbox[0]
            try:
                watched.store.apply(event)
            except Exception:  # a listener's defect: said, and the other objects go on
                self._logger.exception("event cannot be applied", extra={"fields": {"resource": watched.kind.plural}})
            finally:
                self._inbox.popleft()
        if self._inbox and self._main is not None:
            self._main.call_soon(self._take)


def _nothing() -> None:
    """Stops what has not begun."""


class _NothingKept(kopf.DiffBaseStorage):
    """No essence is built or stored: nobody here compares an object with what was handled last."""

    def build(self, **_: Any) -> Any:  # Any: kopf's own arguments and its own type of dict
        return {}

    def fetch(self, **_: Any) -> Any:  # Any: as above
        return None

    def store(self, **_: Any) -> None:  # Any: as above
        return None


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.inactivity_timeout = SILENCE
    settings.watching.chunk_size = _PAGE
    settings.networking.error_backoffs = (0.2, 0.5, 1, 2, 4, 8)
    settings.persistence.diffbase_storage = _NothingKept()
    # kopf takes away a finalizer of that name wherever it stands: another operator's own must never be meant.
    settings.persistence.finalizer = f"{wellknown.GROUP}/never-set"
    settings.process.ultimate_exiting_timeout = None  # it would kill the process ten minutes after a stop
    return settings
