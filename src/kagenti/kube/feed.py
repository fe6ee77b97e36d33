"""One cache and what keeps it fresh, as readiness and metrics see them."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from kagenti import errors
from kagenti.core.store import Store
from kagenti.kube.catalogue import Catalogue
from kagenti.kube.kinds import Kind, KubeObject, StoredObject
from kagenti_api.v1alpha1 import wellknown

T = TypeVar("T", bound=KubeObject)

BUDGET: Final = 1.0
"""Seconds that a decision waits for a cache that has lost its watch, as for a strict read (spec 03)."""

# How kube.client reports the status of an answer; an unknown resource is 404.
_NO_SUCH_RESOURCE: Final = "answered 404"


class Reflecting(Protocol):
    """What a feed uses of a reflector."""

    relists: int
    last_event: float
    problem: str

    async def run(self) -> None:
        """Feeds the store until cancelled."""


class Following(Reflecting, Protocol):
    """What whoever must not decide from the past asks of a reflector besides."""

    @property
    def following(self) -> bool:
        """Whether its store is complete, and a watch brings what changes."""

    async def follow(self) -> None:
        """Returns once ``following``."""


Reflect = Callable[[Kind[StoredObject], Store[StoredObject]], Following]
"""Makes the reflector of one kind; a test gives one that is late."""


@dataclass(frozen=True, slots=True)
class FeedState:
    """How one cache stands: seconds since it last heard from the API server (None: never), and how often it listed."""

    objects: int
    age: float | None
    relists: int


class AnyFeed(Protocol):
    """One cache and what keeps it fresh, whatever it holds."""

    @property
    def resource(self) -> str:
        """Plural resource, for metrics."""

    def missing(self) -> str:
        """Returns what keeps it from being synced, as one sentence; empty once it is."""

    def state(self) -> FeedState:
        """Returns its figures."""

    async def run(self) -> None:
        """Feeds the cache until cancelled; never returns otherwise."""


@dataclass(slots=True)
class Feed(Generic[T]):
    """One cache and its reflector."""

    kind: Kind[T]
    store: Store[T]
    reflector: Reflecting

    @property
    def resource(self) -> str:
        """Plural resource."""
        return self.kind.plural

    def missing(self) -> str:
        """Returns why the cache has had no full list yet, as one sentence; empty once it has."""
        if self.store.synced:
            return ""
        problem = self.reflector.problem
        if self.kind.path.startswith(f"/apis/{wellknown.GROUP}/") and _NO_SUCH_RESOURCE in problem:
            return f"CRD {self.kind.plural}.{wellknown.GROUP} is missing: run kagenti crds --apply"
        return f"cache of {self.kind.plural} is not filled: {problem or 'the first list has not come in yet'}"

    def state(self) -> FeedState:
        """Returns its figures."""
        age = time.monotonic() - self.reflector.last_event if self.store.synced else None
        return FeedState(objects=len(self.store), age=age, relists=max(self.reflector.relists - 1, 0))

    async def run(self) -> None:
        """Feeds the cache until cancelled."""
        await self.reflector.run()


class Current:
    """Whether caches follow the API server now: for whoever would rather wait than decide from the past.

    ``reflectors`` are those of the caches by plural resource; ``budget`` is in seconds.
    """

    def __init__(self, reflectors: Mapping[str, Following], *, budget: float = BUDGET) -> None:
        self._reflectors, self._budget = reflectors, budget

    async def wait(self) -> None:
        """Returns once every cache follows.

        Raises:
            errors.Unreachable: One does not within the budget; names it, and why.
        """
        behind = {name: found for name, found in self._reflectors.items() if not found.following}
        if not behind:
            return
        try:
            async with asyncio.timeout(self._budget):
                for found in behind.values():
                    await found.follow()
        except TimeoutError as late:
            name, found = next(iter((name, found) for name, found in behind.items() if not found.following))
            raise errors.Unreachable(
                f"the watch of {name} is lost, so that its cache may be of the past: {found.problem}; try again"
            ) from late


def feeds_of(catalogue: Catalogue, reflect: Reflect) -> list[Feed[StoredObject]]:
    """Returns one feed per cache."""
    kinds = catalogue.kinds
    return [Feed(kinds[name], store, reflect(kinds[name], store)) for name, store in catalogue.stores.items()]
