"""A card loop without a cluster: its clock is turned by hand, its agents answer by script, its writes are kept."""

import asyncio
import datetime
import io
import itertools
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from kagenti import errors
from kagenti.core.cards import AgentPod, Revision
from kagenti.core.reconcile import Event
from kagenti.core.store import Apply, Delete, InitApply, InitDone, Store
from kagenti.core.untrusted import Refused
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.fetch import Answer
from kagenti.kube import StoredObject
from kagenti.operator.cards.client import NoCard, Reply
from kagenti.operator.cards.loop import CardLoop
from kagenti.operator.cards.rounds import Rounds
from tests.unit.core.cards.given import NOW, WEATHER

JSON = Any  # statuses and specs

CARD = json.dumps({"name": "Weather"}).encode()


class Bench:
    """One loop and everything round it. ``answers`` are by pod name: a body, or the code of a refusal."""

    def __init__(self) -> None:
        self.store: Store[StoredObject] = Store()
        self.answers: dict[str, bytes | str] = {}
        self.default: bytes | str = CARD
        self.etags: dict[str, str] = {}
        self.asked: list[tuple[float, str]] = []
        self.known: list[tuple[str, str]] = []
        self.writes: list[tuple[str, JSON]] = []
        self.told: list[tuple[str, str]] = []
        self.write_error: errors.ClusterError | None = None
        self.owner_error: errors.ClusterError | None = None
        self.current_revision: Revision | None = None
        self.echo = True
        self.hold: asyncio.Event | None = None
        self.in_flight: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.time, self.ready = 1000.0, True
        self.log = io.StringIO()
        self._versions = itertools.count(1)
        self._pods: dict[str, AgentPod] = {}
        logger = logging.Logger("kagenti.operator", logging.INFO)
        logger.addHandler(logging.StreamHandler(self.log))
        rounds = Rounds(self.ask, self, self, logger=logger, clock=self.clock)
        self.loop = CardLoop(
            self.store,
            rounds,
            self,
            ready=lambda: self.ready,
            logger=logger,
            now=lambda: self.time,
            jitter=lambda: 0.0,
        )

    def clock(self) -> datetime.datetime:
        """Wall time, which goes with the loop's."""
        return NOW + datetime.timedelta(seconds=self.time - 1000.0)

    async def ask(self, pod: AgentPod, endpoint: Mapping[str, JSON], *, known: tuple[str, str] = ("", "")) -> Reply:
        """Answers by script."""
        self.asked.append((self.time, pod.name))
        self.known.append(known)
        self.in_flight[pod.namespace] += 1
        self.most[pod.namespace] = max(self.most[pod.namespace], self.in_flight[pod.namespace])
        try:
            if self.hold is not None:
                await self.hold.wait()
            answer = self.answers.get(pod.name, self.default)
            url, etag = f"http://{pod.ip}/card", self.etags.get(pod.name, "")
            if isinstance(answer, str):
                if answer == "defect":
                    raise RuntimeError("a defect")
                raise NoCard(url, Refused(answer, "it went wrong"))
            return Reply(url, Answer(None if etag and known == (url, etag) else answer, etag))
        finally:
            self.in_flight[pod.namespace] -= 1

    async def top_owner(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        """Everything is of one Deployment."""
        if self.owner_error is not None:
            raise self.owner_error
        return WEATHER

    async def current(self, pods: Sequence[AgentPod]) -> Revision | None:
        """What a test says."""
        return self.current_revision

    async def write(self, card: StoredObject, status: JSON) -> str:
        """Keeps the write, and echoes it as the watch would."""
        if self.write_error is not None:
            raise self.write_error
        self.writes.append((card.name, status))
        if self.echo:
            self.put(card.name, spec=orjson.loads(card.spec), status=status, uid=card.uid, generation=card.generation)
        return ""

    def tell(self, card: StoredObject, events: Sequence[Event]) -> None:
        """Keeps the events."""
        self.told += [(card.name, event.reason) for event in events]

    def put(self, name: str = "weather", *, listed: bool = False, **given: Any) -> None:
        """Adds or changes an AgentCard."""
        spec = {"selector": {"matchLabels": {"app": "weather"}}, **given.pop("spec", {})}
        stored = StoredObject(
            kind="AgentCard",
            namespace=given.pop("namespace", "team1"),
            name=name,
            uid=given.pop("uid", f"uid-{name}"),
            resource_version=str(next(self._versions)),
            creation_timestamp="",
            generation=given.pop("generation", 1),
            spec=orjson.dumps(spec),
            status=orjson.dumps(given.pop("status", {})),
        )
        assert not given, given
        self.store.apply(InitApply(stored) if listed else Apply(stored))

    def listed(self) -> None:
        """Ends a full list."""
        self.store.apply(InitDone())

    def delete(self, name: str = "weather") -> None:
        """Deletes an AgentCard."""
        stored = self.store.get("team1", name)
        assert stored is not None
        self.store.apply(Delete(stored))

    def pod(self, found: AgentPod) -> None:
        """Adds or changes a pod."""
        self.loop.change_pod(self._pods.get(found.name), found)
        self._pods[found.name] = found

    def no_pod(self, name: str) -> None:
        """Deletes a pod."""
        self.loop.change_pod(self._pods.pop(name), None)

    def status(self, name: str = "weather") -> JSON:
        """Returns the last status of a card."""
        stored = self.store.get("team1", name)
        assert stored is not None
        return orjson.loads(stored.status)

    def synced(self, name: str = "weather") -> tuple[str, str]:
        """Returns status and reason of Synced."""
        found = next(iter(self.status(name).get("conditions") or ()), {})
        return found.get("status", ""), found.get("reason", "")

    async def settle(self) -> None:
        """Lets every task do what it can at this time."""
        for _ in range(30):
            await asyncio.sleep(0)

    async def turn(self, seconds: float) -> None:
        """Lets time pass, stopping wherever a card comes due."""
        end = self.time + seconds
        while True:
            await self.settle()
            due = self.loop._schedule.next_due()
            if due is None or due > end:
                break
            self.time = max(due, self.time)
            self.loop._wake.set()
        self.time = end
        await self.settle()
