"""What kopf tells of what it sees: in order, and its end is never passed over."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
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

JSON = Any  # an object

KINDS = {name: kind for name, kind in OBSERVED.items() if name != "Namespace"} | {AGENT_CARDS.name: AGENT_CARDS}


def runtime(name: str, version: int, **spec: JSON) -> JSON:
    """An AgentRuntime."""
    metadata = {"name": name, "namespace": "team1", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "kagenti.io/v1alpha1", "kind": "AgentRuntime", "metadata": metadata, "spec": spec}


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
