"""One type on a delta stream: subscriptions by name or wildcard, and what is to be added or removed next."""

from collections.abc import Mapping
from typing import Final

from kagenti.core.ads.discovery import DeltaRequest, Reply
from kagenti.core.ads.ledger import check_count
from kagenti.core.ads.snapshot import CLUSTER, Encoded, Snapshot
from kagenti.core.ads.subscription import Plan, Subscription

WILDCARD: Final = "*"


class DeltaSubscription(Subscription):
    """What a delta client wants of one type and has of it.

    A NACK refuses a whole reply. Extensions and routes therefore come one in each reply; clusters come together, and
    each on its own once Envoy has refused several at once.
    """

    __slots__ = ("_empty_due", "_started")

    def __init__(self, type_url: str) -> None:
        super().__init__(type_url)
        self._started = False
        self._empty_due = False

    def take(self, request: DeltaRequest) -> None:
        """Takes an answer, changes of the subscription, or both; raises Violation for too many names."""
        if request.nonce:
            self.settle(request.nonce, request.error)
        if not self._started:
            self._start(request)
        self._unsubscribe(request.unsubscribe)
        self._subscribe(request.subscribe, known=request.initial)

    def additions(self, plan: Plan) -> list[Reply]:
        """Returns what the client lacks and may have now, as replies that are on the way from here on."""
        expected = self.ledger.expected()
        due = [
            resource
            for name, resource in self.wanted(plan.snapshot).items()
            if expected.get(name) != resource.version and not self.refuses(resource) and not plan.blocked(resource)
        ]
        groups = self._groups(due)
        if self._empty_due and not groups:
            groups = [()]  # Envoy stays unready until its first CDS request is answered, be it with nothing
        self._empty_due = False
        return [self._reply(group, plan) for group in groups]

    def removals(self, plan: Plan) -> list[Reply]:
        """Returns one reply that takes away what the client has and the snapshot has no more."""
        gone = [name for name in sorted(self.ledger.held) if self._is_gone(name, plan.snapshot)]
        if not gone:
            return []
        nonce = self.ledger.launch(plan.number(), dict.fromkeys(gone), {})
        return [Reply(self.type_url, plan.snapshot.versions[self.type_url], nonce, removed=tuple(gone))]

    def _start(self, request: DeltaRequest) -> None:
        check_count(len(request.initial), self.type_url)
        self._started = True
        # xDS protocol, "legacy wildcard": a first request without names asks for every cluster.
        self.wildcard = self.type_url == CLUSTER and (not request.subscribe or WILDCARD in request.subscribe)
        self._empty_due = self.wildcard and not request.initial
        wanted = {
            name: version for name, version in request.initial.items() if self.wildcard or name in request.subscribe
        }
        self.ledger.claim(wanted)

    def _unsubscribe(self, names: tuple[str, ...]) -> None:
        if not names:
            return
        self.names -= frozenset(names)
        for name in names:
            self.ledger.forget(name)
        if WILDCARD in names and self.wildcard:
            self.wildcard = False
            for name in [name for name in self.ledger.held if name not in self.names]:
                self.ledger.forget(name)

    def _subscribe(self, names: tuple[str, ...], *, known: Mapping[str, str]) -> None:
        if not names:
            return
        self.wildcard |= self.type_url == CLUSTER and WILDCARD in names
        self.names |= frozenset(names) - {WILDCARD}
        check_count(len(self.names), self.type_url)
        for name in names:
            if name not in known:
                self.ledger.forget(name)  # xDS protocol: a name that is asked for again must be answered again

    def _is_gone(self, name: str, snapshot: Snapshot) -> bool:
        kept = name in snapshot.resources[self.type_url] or (self.type_url, name) in snapshot.withheld
        on_its_way = self.ledger.expects(name) is None
        return not (kept or on_its_way or self.ledger.refuses(name, None))

    def _groups(self, due: list[Encoded]) -> list[tuple[Encoded, ...]]:
        if self.type_url != CLUSTER:
            return [(resource,) for resource in due]
        batch = tuple(resource for resource in due if resource.name not in self.ledger.alone)
        single = [(resource,) for resource in due if resource.name in self.ledger.alone]
        return [batch, *single] if batch else list(single)

    def _reply(self, group: tuple[Encoded, ...], plan: Plan) -> Reply:
        items: dict[str, str | None] = {resource.name: resource.version for resource in group}
        nonce = self.ledger.launch(plan.number(), items, plan.unproven(group))
        return Reply(self.type_url, plan.snapshot.versions[self.type_url], nonce, resources=group)
