"""One round of one AgentCard: its pods, the choice, the question, the status. Decides nothing; core.cards does.

What is remembered between rounds only saves work: a process that has just begun comes to the same status.
"""

import datetime
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson

from kagenti import errors
from kagenti.core import cards
from kagenti.core.cards import AgentPod, Choice, Failed, Fetched, Matched, Revision, Round
from kagenti.core.reconcile import Condition, Plan
from kagenti.core.untrusted import Refused
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.kube import StoredObject
from kagenti.operator.cards.client import NoCard, Reply

JSON = Any  # specs and statuses

COMPARE_EVERY: Final = 10
"""Rounds between two questions to a pod that is not the chosen one, once each has been asked."""


class Ask(Protocol):
    """Asks one pod (``client.CardClient.ask``); raises NoCard."""

    async def __call__(
        self, pod: AgentPod, endpoint: Mapping[str, JSON], *, known: tuple[str, str] = ("", "")
    ) -> Reply:
        """Returns what the pod answers."""


class Owners(Protocol):
    """Resolves controller references; raises ClusterError."""

    async def top_owner(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        """Returns the top of the chain, or None when the reference does not hold."""


class Revisions(Protocol):
    """Tells the current one of several revisions; raises ClusterError."""

    async def current(self, pods: Sequence[AgentPod]) -> Revision | None:
        """Returns it, given one pod of each; None where nobody knows."""


@dataclass(slots=True)
class Memory:
    """What is remembered of one AgentCard, of that uid.

    ``url``, ``etag`` and ``body`` (its SHA-256) are those of the last good answer, ``hash`` and ``content`` its card's.
    ``hashes`` are the contents of every pod that has been asked by the pod's uid, the longest ago first; None for no
    usable answer.
    """

    uid: str
    url: str = ""
    etag: str = ""
    body: bytes = b""
    hash: str = ""
    content: str = ""
    hashes: dict[str, str | None] = field(default_factory=dict)
    rounds: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a round: the plan, the condition Synced, whether a pod was asked, and had another card than last time."""

    plan: Plan
    synced: Condition
    asked: bool
    changed: bool

    @property
    def failed(self) -> bool:
        """Whether a pod was asked in vain."""
        return self.asked and self.synced.status != "True"


class Rounds:
    """Does the rounds of one process. ``clock`` is aware, for tests."""

    def __init__(
        self,
        ask: Ask,
        owners: Owners,
        revisions: Revisions,
        *,
        logger: logging.Logger,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._ask, self._owners, self._revisions = ask, owners, revisions
        self._logger, self._clock = logger, clock

    async def go(self, card: StoredObject, memory: Memory, pods: Sequence[AgentPod], observed: JSON) -> Result:
        """Returns what is to be said of a card.

        Args:
            card: The object.
            memory: What is remembered of it; changed.
            pods: Those that its selector selects.
            observed: Its status, decoded.

        Raises:
            ClusterError: The owner of a pod could not be read.
        """
        memory.rounds += 1
        matched = cards.match(pods, await self._workloads(pods))
        choice = cards.choose(matched, await self._current(matched))
        outcome: Fetched | Failed = Failed(choice.reason, choice.message)
        if choice.pod is not None:
            endpoint = orjson.loads(card.spec).get("endpoint") or {}
            outcome = await self._chosen(choice.pod, endpoint, memory, observed)
            await self._compare(choice, endpoint, memory)
        found = Round(matched, choice, outcome, self._hashes(memory, choice))
        plan = cards.plan_card(found, observed=observed, generation=card.generation, now=self._clock())
        synced = cards.synced_of(found, kept="card" in observed)
        return Result(plan, synced, choice.pod is not None, _changed(choice, outcome, observed))

    async def _workloads(self, pods: Sequence[AgentPod]) -> Mapping[str, WorkloadRef]:
        found = {}
        for pod in pods:
            top = await self._owners.top_owner(pod.owner, pod.namespace) if pod.owner is not None else None
            if top is not None:
                found[pod.uid] = top
        return found

    async def _current(self, matched: Matched) -> Mapping[WorkloadRef, Revision]:
        """Returns the current revisions of contested workloads, as far as they can be read."""
        found = {}
        for workload, pods in matched.contested().items():
            try:
                current = await self._revisions.current(pods)
            except errors.ClusterError as error:
                fields = {"workload": str(workload), "problem": str(error)}
                self._logger.warning("current revision cannot be read; the newest pod counts", extra={"fields": fields})
                continue
            if current is not None:
                found[workload] = current
        return found

    async def _chosen(
        self, pod: AgentPod, endpoint: Mapping[str, JSON], memory: Memory, observed: Mapping[str, JSON]
    ) -> Fetched | Failed:
        """Asks the chosen pod; a card that status has already is not read again."""
        has = memory.hash and memory.hash == observed.get("cardHash") and "card" in observed
        known = (memory.url, memory.etag) if has else ("", "")
        memory.hashes.pop(pod.uid, None)
        try:
            reply = await self._ask(pod, endpoint, known=known)
            card = self._read(reply, memory, has=bool(has))
        except NoCard as problem:
            memory.hashes[pod.uid] = None
            return cards.failure(pod, problem.url, problem.refused.code, str(problem.refused))
        memory.hashes[pod.uid] = memory.content
        if card is not None and card.hash == observed.get("cardHash") and "card" in observed:
            card = None
        return Fetched(reply.url, memory.hash, card)

    def _read(self, reply: Reply, memory: Memory, *, has: bool) -> cards.Card | None:
        """Returns the card of an answer, None where it is the one that status has; raises NoCard."""
        body = reply.answer.body
        digest = memory.body if body is None else hashlib.sha256(body).digest()
        card = None
        if body is not None and not (has and digest == memory.body):
            card = _card(reply.url, body)
            memory.hash, memory.content = card.hash, card.content
        memory.url, memory.etag, memory.body = reply.url, reply.answer.etag, digest
        return card

    async def _compare(self, choice: Choice, endpoint: Mapping[str, JSON], memory: Memory) -> None:
        """Asks one more pod: one that nobody has asked yet, else, now and then, the one that was asked longest ago."""
        fellows = {pod.uid: pod for pod in choice.fellows if pod is not choice.pod}
        unasked = next((uid for uid in fellows if uid not in memory.hashes), None)
        uid = unasked or next((uid for uid in memory.hashes if uid in fellows), None)
        if uid is None or (unasked is None and memory.rounds % COMPARE_EVERY):
            return
        memory.hashes.pop(uid, None)
        memory.hashes[uid] = None
        try:
            reply = await self._ask(fellows[uid], endpoint)
            memory.hashes[uid] = _card(reply.url, reply.answer.body or b"").content
        except NoCard:
            return  # what a fellow serves is compared, what it fails at is its own affair until it is chosen

    @staticmethod
    def _hashes(memory: Memory, choice: Choice) -> Mapping[str, str]:
        """Returns what is known of the fellows, and forgets all other pods."""
        fellows = {pod.uid for pod in choice.fellows}
        memory.hashes = {uid: found for uid, found in memory.hashes.items() if uid in fellows}
        return {uid: found for uid, found in memory.hashes.items() if found is not None}


def _changed(choice: Choice, outcome: Fetched | Failed, observed: Mapping[str, JSON]) -> bool:
    """Whether the pod whose card is in status serves another one now; a new pod with a new card is a rollout."""
    if isinstance(outcome, Failed) or outcome.card is None or choice.pod is None or "card" not in observed:
        return False
    if (observed.get("source") or {}).get("pod") != choice.pod.name:
        return False
    return cards.unsigned(outcome.card.document) != cards.unsigned(observed["card"])


def _card(url: str, body: bytes) -> cards.Card:
    try:
        return cards.read(body)
    except Refused as refused:
        raise NoCard(url, refused) from refused
