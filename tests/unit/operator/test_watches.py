"""kopf on its thread: stores are complete, in order and without what was deleted unseen; nothing is ever written."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import kopf
import pytest
from kopf._cogs.clients import watching as streams
from kopf._cogs.clients.errors import APINotFoundError, APITooManyRequestsError

from kagenti.core.store import Store
from kagenti.kube import AGENT_CARDS, OBSERVED, StoredObject
from kagenti.kube.connection import Connection
from kagenti.operator import stream
from kagenti.operator.watches import Watches
from tests.unit.operator.api_server import PLURALS, ApiServer, runtime

KINDS = {name: kind for name, kind in OBSERVED.items() if name != "Namespace"} | {AGENT_CARDS.name: AGENT_CARDS}


async def until(holds: Callable[[], object], what: str) -> None:
    """Waits for a condition."""
    end = time.monotonic() + 10
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"not in time: {what}")
        await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(server: ApiServer) -> AsyncIterator[tuple[Watches, Store[StoredObject]]]:
    """Watches of that server, all synced."""
    stores = {name: Store[StoredObject](kind.indexes) for name, kind in KINDS.items()}
    connection = Connection(server.url, None, token="secret")
    watches = Watches(connection, KINDS, stores, user_agent="tests", logger=logging.getLogger("test"))
    task = asyncio.create_task(watches.run())
    try:
        await until(lambda: task.done() or all(store.synced for store in stores.values()), "first lists")
        await until(lambda: task.done() or all(server.watching(plural) == 1 for plural in PLURALS), "watches")
        yield watches, stores["AgentRuntime"]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def names(store: Store[StoredObject]) -> set[str]:
    """Names of what a store holds."""
    return {found.name for found in store.values()}


async def test_a_life_of_watches() -> None:
    """Listed, added, changed, deleted; a bookmark counts as a sign of life; 410 lists again and drops what went unseen.

    One test, because kopf takes half a second to come and to go.
    """
    async with ApiServer().serve() as server:
        server.items["agentruntimes"] = [runtime("a", 1), runtime("b", 2)]
        async with watching(server) as (watches, store):
            assert names(store) == {"a", "b"}
            watched = watches.watched["agentruntimes"]

            server.send("agentruntimes", "ADDED", runtime("c", 11))
            server.send("agentruntimes", "MODIFIED", runtime("a", 12, type="tool"))
            server.send("agentruntimes", "DELETED", runtime("b", 13))
            await until(lambda: names(store) == {"a", "c"}, "events")
            found = store.get("team1", "a")
            assert found is not None
            assert found.spec == b'{"type":"tool"}'

            seen = watched.last_event
            server.send("agentruntimes", "BOOKMARK", {"metadata": {"resourceVersion": "20"}})
            await until(lambda: watched.last_event > seen, "the bookmark")
            assert names(store) == {"a", "c"}

            server.items["agentruntimes"] = [runtime("c", 11), runtime("d", 30)]
            server.version = 30
            server.gone("agentruntimes")
            await until(lambda: names(store) == {"c", "d"}, "the second list")
            assert watched.relists == 2

        assert {method for method, _, _ in server.requests} == {"GET"}
        assert [server.count(plural, watch=True) for plural in PLURALS] == [2, 1, 1, 1]
        assert not any("customresourcedefinitions" in path or "namespaces" in path for _, path, _ in server.requests)


async def test_a_list_waits_for_the_events_before_it() -> None:
    """Whoever is listed while an older event of it waits for its handler would go back to what it was."""
    stores = {name: Store[StoredObject](kind.indexes) for name, kind in KINDS.items()}
    watches = Watches(Connection("", None), KINDS, stores, user_agent="tests", logger=logging.getLogger("test"))
    plural = "agentruntimes"
    watches.watched[plural].handled = asyncio.Event()
    watches.passing(plural, bookmark=True)
    await watches.listing(plural)
    watches.listed(plural)
    watches.passing(plural, bookmark=False)
    listing = asyncio.create_task(watches.listing(plural))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not listing.done()
    event = {"type": "MODIFIED", "object": runtime("a", 5)}
    await watches._seen(event=event, resource=SimpleNamespace(plural=plural))  # what kopf is given
    await asyncio.wait_for(listing, 5)
    watches.found(plural, runtime("a", 9))
    watches.listed(plural)
    told = [type(event).__name__ for _, event in watches._inbox]  # nobody takes them away here
    assert told == ["Init", "InitDone", "Apply", "Init", "InitApply", "InitDone"]


async def test_kopf_that_ends_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own failure is the reason; the process must not go on as if all were well."""

    async def fail(**_: object) -> None:
        raise OSError("no such kind")

    monkeypatch.setattr(kopf, "operator", fail)
    stores = {name: Store[StoredObject](kind.indexes) for name, kind in KINDS.items()}
    connection = Connection("http://127.0.0.1:1", None)
    watches = Watches(connection, KINDS, stores, user_agent="tests", logger=logging.getLogger("test"))
    with pytest.raises(RuntimeError, match="kopf ended") as raised:
        await asyncio.wait_for(watches.run(), 10)
    assert "no such kind" in str(raised.value.__cause__)


async def test_a_stream_that_dies_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kopf may hang when it ends because of it; 429 is the one failure that it lives through."""
    died: list[str] = []

    async def fail(**arguments: Any) -> AsyncIterator[Any]:
        died.append(arguments["resource"].plural)
        problem = APITooManyRequestsError if len(died) == 1 else APINotFoundError
        raise problem(None, status=0, headers={})
        yield

    async def hang(*, stop_flag: asyncio.Event, **_: object) -> None:
        for plural in ("agentcards", "agentruntimes"):
            with contextlib.suppress(APITooManyRequestsError, APINotFoundError):
                async for _event in streams.continuous_watch(resource=SimpleNamespace(plural=plural)):
                    raise AssertionError(_event)
        await stop_flag.wait()

    monkeypatch.setattr(streams, "continuous_watch", fail)
    monkeypatch.setattr(kopf, "operator", hang)
    stores = {name: Store[StoredObject](kind.indexes) for name, kind in KINDS.items()}
    watches = Watches(Connection("", None), KINDS, stores, user_agent="tests", logger=logging.getLogger("test"))
    with pytest.raises(RuntimeError, match="kopf ended") as raised:
        await asyncio.wait_for(watches.run(), 10)
    assert isinstance(raised.value.__cause__, APINotFoundError)
    assert died == ["agentcards", "agentruntimes"]


def test_another_version_of_kopf_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its private function may be another one."""
    monkeypatch.setattr(stream, "version", lambda _: "9.9")

    class Deaf:
        async def listing(self, plural: str) -> None:
            raise AssertionError(plural)

        def found(self, plural: str, manifest: Any) -> None:
            raise AssertionError(plural)

        def listed(self, plural: str) -> None:
            raise AssertionError(plural)

        def passing(self, plural: str, *, bookmark: bool) -> None:
            raise AssertionError(plural)

        def died(self, plural: str, failure: Exception) -> None:
            raise AssertionError(plural) from failure

    with pytest.raises(Exception, match=r"9\.9"), stream.tapped(Deaf()):
        pass
