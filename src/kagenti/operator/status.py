"""Writes status by server-side apply, and events; the only writes of this process but its Lease."""

import asyncio
import collections
import datetime
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol
from urllib.parse import quote

import msgspec

from kagenti import errors
from kagenti.core import propagation
from kagenti.core.reconcile import Event
from kagenti.kube import AGENT_CARDS, KINDS, StoredObject, status_manifest
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a status

MANAGER: Final = "kagenti-operator"
"""Field manager of everything that the operator says in status."""
CONTROLLER: Final = "kagenti.io/operator"
"""``reportingController`` of our events."""

_BUDGET: Final = 5.0  # seconds for one write
QUIET: Final = 0.25
"""Seconds without a write of a status after which events are posted: what people wait for goes first."""
PATIENCE: Final = 5.0
"""Seconds after which an event is posted all the same."""
_MOST_EVENTS: Final = 1000  # that wait: a change of the cluster's config may concern every object
_NOTE: Final = 1024  # characters of an event's note (events.k8s.io/v1)
_PLURALS: Final = {**{name: kind.plural for name, kind in KINDS.items()}, AGENT_CARDS.name: AGENT_CARDS.plural}


class Client(Protocol):
    """Writes; raises ClusterError."""

    async def apply(self, path: str, manifest: JSON, *, manager: str, timeout: float) -> bytes:
        """Returns the object after a server-side apply."""

    async def post(self, path: str, body: JSON, *, timeout: float) -> bytes:
        """Returns the object that was created."""


class StatusWriter:
    """The writer of one process; ``clock`` (aware), ``now`` (monotonic) and ``sleep`` are time, for tests."""

    def __init__(
        self,
        client: Client,
        *,
        identity: str,
        logger: logging.Logger,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client, self._identity, self._logger, self._clock = client, identity, logger, clock
        self._now, self._sleep, self._last_write = now, sleep, -QUIET
        self._told: collections.deque[tuple[float, StoredObject, Event]] = collections.deque()
        self._wake = asyncio.Event()
        self.writes: Counter[str] = Counter()
        self.events: Counter[str] = Counter()

    async def write(self, stored: StoredObject, status: JSON) -> str:
        """Makes that status the whole of what the operator says of an object.

        Returns the resourceVersion that it has afterwards: the event that carries it is our own echo.

        Raises:
            Conflict: The object of that name was replaced meanwhile; its own event has it looked at again.
            ClusterError: It could not be written.
        """
        written = _read(await self._apply(stored, status, manager=MANAGER))
        self.writes["applied"] += 1
        # The API server compares no uid on the status of a custom resource (``KubeClient.apply``).
        if written.uid not in ("", stored.uid):
            raise errors.Conflict(
                f"{stored.kind} {stored.namespace}/{stored.name} was replaced while its status was written"
            )
        return written.resource_version

    async def prune(self, stored: StoredObject, replica: str) -> None:
        """Takes the entry of an xDS replica away that no longer exists, in its name; raises ClusterError."""
        await self._apply(stored, {}, manager=f"{propagation.MANAGER}-{replica}")
        self.writes["pruned"] += 1

    async def conclude(self, stored: StoredObject, condition: JSON) -> None:
        """Writes ConfigPropagated where no replica is left to do so, in their name; raises ClusterError."""
        await self._apply(stored, {"conditions": [condition]}, manager=propagation.MANAGER)
        self.writes["applied"] += 1

    def tell(self, stored: StoredObject, events: Sequence[Event]) -> None:
        """Has events about an object posted soon; statuses go first, and beyond a thousand events are dropped."""
        for event in events:
            if len(self._told) < _MOST_EVENTS:
                self._told.append((self._now(), stored, event))
                self._wake.set()
            else:
                self.events["dropped"] += 1

    async def run(self) -> None:
        """Posts events one by one until cancelled; one that cannot be posted is logged and not tried again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._told:
                since, stored, event = self._told.popleft()
                await self._let_statuses_pass(since)
                await self._post(stored, event)

    async def _let_statuses_pass(self, since: float) -> None:
        """Waits for a moment in which no status is written: one change may concern hundreds of objects."""
        while (wait := min(self._last_write + QUIET, since + PATIENCE) - self._now()) > 0:
            await self._sleep(wait)

    async def _post(self, stored: StoredObject, event: Event) -> None:
        namespace = stored.namespace or "default"
        path = f"/apis/events.k8s.io/v1/namespaces/{quote(namespace, safe='')}/events"
        try:
            await self._client.post(path, self._manifest(stored, event, namespace), timeout=_BUDGET)
            self.events["posted"] += 1
        except errors.ClusterError as problem:
            self.events["failed"] += 1
            fields = {"object": f"{stored.kind} {stored.namespace}/{stored.name}", "problem": str(problem)}
            self._logger.warning("event cannot be posted", extra={"fields": fields})

    def _manifest(self, stored: StoredObject, event: Event, namespace: str) -> JSON:
        now = self._clock()
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            # A name is a DNS subdomain: no label of it ends with a hyphen, wherever it is cut.
            "metadata": {
                "name": f"{stored.name[:200].rstrip('-.')}.{int(now.timestamp() * 1e6):x}",
                "namespace": namespace,
            },
            "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": CONTROLLER,
            "reportingInstance": self._identity[:128],
            "action": "Reconcile",
            "type": event.type,
            "reason": event.reason,
            "note": event.message[:_NOTE],
            "regarding": {
                "apiVersion": wellknown.API_VERSION,
                "kind": stored.kind,
                "name": stored.name,
                "uid": stored.uid,
                **({"namespace": stored.namespace} if stored.namespace else {}),
            },
        }

    async def _apply(self, stored: StoredObject, status: JSON, *, manager: str) -> bytes:
        manifest = status_manifest(stored.kind, stored.namespace, stored.name, stored.uid, status)
        self._last_write = self._now()
        return await self._client.apply(_path(stored), manifest, manager=manager, timeout=_BUDGET)


class _Metadata(msgspec.Struct, rename="camel"):
    uid: str = ""
    resource_version: str = ""


class _Written(msgspec.Struct):
    metadata: _Metadata


_written = msgspec.json.Decoder(_Written)


def _read(answer: bytes) -> _Metadata:
    """Returns what an answer says of the object; nothing for one that is none, which then is not known again."""
    try:
        return _written.decode(answer).metadata
    except msgspec.DecodeError:
        return _Metadata()


def _path(stored: StoredObject) -> str:
    plural = _PLURALS[stored.kind]
    place = f"namespaces/{quote(stored.namespace, safe='')}/{plural}" if stored.namespace else plural
    return f"/apis/{wellknown.API_VERSION}/{place}/{quote(stored.name, safe='')}/status"
