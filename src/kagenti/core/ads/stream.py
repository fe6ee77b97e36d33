"""One ADS stream as a state machine: requests and snapshots in, replies out; no clock, no I/O.

A change is sent in the order clusters, extensions, routes, then removals backwards, so that nothing is ever named
before it exists or taken away while something in force may name it. Routes wait until Envoy has answered for the
extensions, which takes it no time: a refused `jwt` then leaves the routes that rely on it unsent and the last good
policy whole. Nothing waits for clusters: Envoy keeps that answer back while a new cluster's DNS is silent (facts §11),
and policy must not hang on a name server; a route whose cluster was refused meanwhile is refused by Envoy itself
(`validate_clusters`) and sent again once the cluster is mended, since Envoy would not try again.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from kagenti.core.ads.delta import DeltaSubscription
from kagenti.core.ads.discovery import Kind, Reply, Request, StreamState, TypeState, Verdict
from kagenti.core.ads.ledger import Unproven
from kagenti.core.ads.snapshot import CLUSTER, EXTENSION, ROUTE, TYPES, Encoded, Reference, Snapshot
from kagenti.core.ads.sotw import SotwEach, SotwSet
from kagenti.core.ads.subscription import Subscription

_MAKE: Final[Mapping[tuple[Kind, str], Callable[[str], Subscription]]] = {
    ("delta", CLUSTER): DeltaSubscription,
    ("delta", EXTENSION): DeltaSubscription,
    ("delta", ROUTE): DeltaSubscription,
    ("sotw", CLUSTER): SotwSet,
    ("sotw", EXTENSION): SotwEach,
    ("sotw", ROUTE): SotwEach,
}

_Rest = tuple[str, frozenset[Reference], TypeState]
"""A type of which everything was accepted and removed: the version of it, what was withheld then, and its state."""


class Stream:
    """One client: feed it requests and snapshots, send the replies it returns in that order.

    Until the first snapshot nothing is answered, so that a client keeps what it has.
    """

    __slots__ = ("_at_rest", "_numbers", "_snapshot", "_state", "_subscriptions", "kind")

    def __init__(self, kind: Kind) -> None:
        self.kind: Final[Kind] = kind
        self._subscriptions: dict[str, Subscription] = {}
        self._at_rest: dict[str, _Rest] = {}
        self._snapshot: Snapshot | None = None
        self._numbers = itertools.count(1)
        self._state = StreamState("", "pending")

    def on_request(self, request: Request) -> list[Reply]:
        """Takes a request of the stream's kind; a type that is not served is never answered.

        Raises:
            Violation: The client asks for more than any Envoy of ours; the stream must end.
        """
        if request.type_url not in TYPES:
            return []
        subscription = self._subscriptions.get(request.type_url)
        if subscription is None:
            subscription = self._subscriptions[request.type_url] = _MAKE[self.kind, request.type_url](request.type_url)
        subscription.take(request)
        self._at_rest.pop(request.type_url, None)
        return self._advance()

    def on_snapshot(self, snapshot: Snapshot) -> list[Reply]:
        """Takes the newest snapshot; those between it and the one before need never have been seen."""
        self._snapshot = snapshot
        return self._advance()

    def state(self) -> StreamState:
        """Returns how far the client is with the newest snapshot; pending, without a revision, before the first."""
        return self._state

    def _advance(self) -> list[Reply]:
        if self._snapshot is None:
            return []
        self._wake(self._snapshot)
        for subscription in self._subscriptions.values():
            subscription.ledger.prove(self._brought)
        plan = _Plan(self._snapshot, self._subscriptions, self._numbers)
        replies = [reply for type_url in TYPES for reply in self._additions(type_url, plan)]
        self._state = self._judge(self._snapshot)
        if self._state.verdict == "propagated":
            replies += [reply for type_url in reversed(TYPES) for reply in self._removals(type_url, plan)]
            self._lay_to_rest(self._snapshot)
        return replies

    def _wake(self, snapshot: Snapshot) -> None:
        """A push concerns one type as a rule; the others need no look, of which there are two for each push."""
        for type_url, (version, withheld, _) in list(self._at_rest.items()):
            if version != snapshot.versions[type_url] or withheld != snapshot.withheld:
                del self._at_rest[type_url]

    def _lay_to_rest(self, snapshot: Snapshot) -> None:
        for state in self._state.types:
            if not self._subscriptions[state.type_url].ledger.busy:
                self._at_rest[state.type_url] = (state.version, snapshot.withheld, state)

    def _additions(self, type_url: str, plan: "_Plan") -> list[Reply]:
        subscription = self._subscriptions.get(type_url)
        if subscription is None or type_url in self._at_rest:
            return []
        extensions = self._subscriptions.get(EXTENSION)
        if type_url == ROUTE and extensions is not None and extensions.ledger.busy:
            return []
        return subscription.additions(plan)

    def _removals(self, type_url: str, plan: "_Plan") -> list[Reply]:
        subscription = self._subscriptions.get(type_url)
        return [] if subscription is None or type_url in self._at_rest else subscription.removals(plan)

    def _judge(self, snapshot: Snapshot) -> StreamState:
        types = tuple(state for type_url in TYPES if (state := self._type_state(type_url, snapshot)) is not None)
        verdict: Verdict = "propagated" if all(state.acked for state in types) else "pending"
        if any(state.rejected for state in types):
            verdict = "rejected"
        return StreamState(snapshot.revision, verdict, types)

    def _type_state(self, type_url: str, snapshot: Snapshot) -> TypeState | None:
        if type_url in self._at_rest:
            return self._at_rest[type_url][2]
        subscription = self._subscriptions.get(type_url)
        if subscription is not None:
            return subscription.state(snapshot)
        names = tuple(snapshot.resources[type_url])
        withheld = tuple(sorted(name for kind, name in snapshot.withheld if kind == type_url))
        if not (names or withheld):
            return None
        return TypeState(type_url, snapshot.versions[type_url], subscribed=False, pending=names, withheld=withheld)

    def _brought(self, reference: Reference) -> int | None:
        subscription = self._subscriptions.get(reference[0])
        return None if subscription is None else subscription.ledger.brought(reference[1])


@dataclass(frozen=True, slots=True)
class _Plan:
    """The stream as its subscriptions see it."""

    snapshot: Snapshot
    subscriptions: Mapping[str, Subscription]
    numbers: Iterator[int]

    def number(self) -> int:
        return next(self.numbers)

    def blocked(self, resource: Encoded) -> bool:
        return any(self._is_lacking(type_url, name) for type_url, name in resource.references)

    def unproven(self, group: Iterable[Encoded]) -> Unproven:
        clusters = self.subscriptions.get(CLUSTER)
        if clusters is None:
            return {}
        return {
            (CLUSTER, name): number
            for resource in group
            if resource.type_url == ROUTE  # the only type that Envoy refuses for what it names
            for type_url, name in resource.references
            if type_url == CLUSTER and clusters.ledger.version(name) is None
            if (number := clusters.ledger.bringing(name)) is not None
        }

    def _is_lacking(self, type_url: str, name: str) -> bool:
        desired = self.snapshot.get(type_url, name)
        if desired is None:
            return False  # static or withheld
        subscription = self.subscriptions.get(type_url)
        if subscription is None:
            return True  # it will be asked for: Envoys with our bootstrap want all three types
        return subscription.wants(name) and subscription.ledger.expects(name) != desired.version
