"""kopf on its thread: stores are complete, in order and without what was deleted unseen; nothing is ever written."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from kagenti.core.store import Store
from kagenti.kube import StoredObject
from kagenti.kube.connection import Connection
from kagenti.operator.watches import Watches
from tests.component.operator.api_server import PLURALS, ApiServer
from tests.unit.operator.test_watches import KINDS, runtime


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
