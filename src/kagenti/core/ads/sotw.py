"""One type on a state-of-the-world stream: clusters as one whole set, the other types name by name.

A reply has one version for its type, which a reconnecting client repeats. It is the content hash of what the client
holds once it has accepted the reply, so that whoever repeats the desired one holds everything.
"""

from collections.abc import Mapping
from typing import Final

from kagenti.core.ads.discovery import Rejection, Reply, SotwRequest
from kagenti.core.ads.ledger import Flight, check_count
from kagenti.core.ads.snapshot import CLUSTER, Encoded
from kagenti.core.ads.subscription import Plan, Subscription, set_version

_ALL: Final = "*"


class SotwSubscription(Subscription):
    """What a state-of-the-world client wants of one type and has of it.

    Every request repeats all names. Those of a stale one are not read: the client repeats them with its next answer.
    """

    __slots__ = ("_claimed", "_latest", "_started")

    def __init__(self, type_url: str) -> None:
        super().__init__(type_url)
        self._started = False
        self._latest = ""
        self._claimed = ""

    def take(self, request: SotwRequest) -> None:
        """Takes an answer, the names wanted now, or both; raises Violation for too many names."""
        check_count(len(request.names), self.type_url)
        self.settle(request.nonce, request.error)
        if request.nonce != self._latest:
            return
        if not self._started:
            self._claimed = request.version
        names = frozenset(request.names)
        # xDS protocol, "legacy wildcard": without names, a first request for clusters asks for every one.
        every = not names and (self.wildcard or not self._started)
        self.wildcard = self.type_url == CLUSTER and (every or _ALL in names)
        self._started = True
        for name in self.names - names:
            self.ledger.forget(name)
        self.names = names

    def believes(self, wanted: Mapping[str, Encoded]) -> bool:
        """Takes the version of a client that reconnects at its word; returns whether it was the desired one."""
        claimed, self._claimed = self._claimed, ""
        versions = {name: resource.version for name, resource in wanted.items()}
        if not claimed or claimed != set_version(versions):
            return False
        self.ledger.claim(versions)
        return True

    def launch(self, resources: tuple[Encoded, ...], items: dict[str, str | None], plan: Plan) -> Reply:
        """Returns a reply that is on the way from here on; ``items`` None stand for what it takes away."""
        after = {name: version for name, (_, version) in self.ledger.held.items() if self.wants(name)} | items
        nonce = self.ledger.launch(plan.number(), items, plan.unproven(resources))
        self._latest = nonce
        version = set_version({name: version for name, version in after.items() if version is not None})
        return Reply(self.type_url, version, nonce, resources=resources)


class SotwEach(SotwSubscription):
    """Extensions and routes: one in each reply and one reply at a time, so that NACK and version belong to one.

    The protocol lets a reply leave names out for every type but listeners and clusters, and absence removes nothing.
    """

    __slots__ = ()

    def additions(self, plan: Plan) -> list[Reply]:
        """Returns the next resource that the client lacks, if no answer is outstanding."""
        wanted = self.wanted(plan.snapshot)
        self.believes(wanted)
        if self.ledger.busy:
            return []
        for resource in wanted.values():
            held = self.ledger.version(resource.name) == resource.version
            if not (held or self.refuses(resource) or plan.blocked(resource)):
                return [self.launch((resource,), {resource.name: resource.version}, plan)]
        return []

    def removals(self, plan: Plan) -> list[Reply]:  # noqa: ARG002  # the other kinds have something to remove
        """Returns nothing."""
        return []


class SotwSet(SotwSubscription):
    """Clusters: every reply is the whole set, and what it leaves out is removed.

    What the snapshot has no more therefore stays in the set until it may go. After a reconnect with another version the
    old clusters are unknown, and go at once: delta streams, which our bootstrap asks for, know better.
    """

    __slots__ = ("_known", "_refusal", "_sent")

    def __init__(self, type_url: str) -> None:
        super().__init__(type_url)
        self._sent: dict[tuple[str, str], Encoded] = {}
        self._refusal: tuple[Mapping[str, str | None], str] | None = None
        self._known = False

    def additions(self, plan: Plan) -> list[Reply]:
        """Returns the set with everything new in it and nothing taken out yet."""
        wanted = self.wanted(plan.snapshot)
        if self.believes(wanted):
            self._remember(wanted)
            self._known = True
        kept = {
            name: self._sent[name, version] for name, version in self.ledger.expected().items() if name not in wanted
        }
        return self._send({**wanted, **kept}, plan)

    def removals(self, plan: Plan) -> list[Reply]:
        """Returns the set without what the snapshot has no more."""
        wanted = self.wanted(plan.snapshot)
        withheld = {name for type_url, name in plan.snapshot.withheld if type_url == self.type_url}
        kept = {name: self._sent[name, version] for name, version in self.ledger.expected().items() if name in withheld}
        return self._send({**wanted, **kept}, plan)

    def accepted(self, flight: Flight) -> None:
        """Records that the client has taken a set."""
        self.ledger.accept(flight)
        self._known = True
        needed: set[tuple[str, str | None]] = {(name, version) for name, (_, version) in self.ledger.held.items()}
        needed.update(item for flight in self.ledger.flights for item in flight.items.items())
        self._sent = {key: resource for key, resource in self._sent.items() if key in needed}

    def refused(self, flight: Flight, message: str) -> None:
        """Records that the client has refused a set: no single cluster of it can be blamed."""
        self._refusal = (flight.items, message)

    def refuses(self, resource: Encoded) -> bool:
        """Whether this very content is in a set that was refused, and the client does not have it from before."""
        if self._refusal is None or self.ledger.version(resource.name) == resource.version:
            return False
        return self._refusal[0].get(resource.name) == resource.version

    def rejections(self, wanted: Mapping[str, Encoded]) -> tuple[Rejection, ...]:
        """Returns one refusal, without a name, for the whole set."""
        if self._refusal is None or self.ledger.busy or not any(map(self.refuses, wanted.values())):
            return ()
        version = set_version({name: resource.version for name, resource in wanted.items()})
        return (Rejection("", version, self._refusal[1]),)

    def _send(self, target: Mapping[str, Encoded], plan: Plan) -> list[Reply]:
        expected = self.ledger.expected()
        versions = {name: resource.version for name, resource in target.items()}
        if versions == expected and (self._known or self.ledger.busy):
            return []
        items: dict[str, str | None] = dict.fromkeys(expected) | versions
        if self._refusal is not None and self._refusal[0] == items:
            return []
        self._refusal = None
        self._remember(target)
        return [self.launch(tuple(target.values()), items, plan)]

    def _remember(self, resources: Mapping[str, Encoded]) -> None:
        self._sent.update({(name, resource.version): resource for name, resource in resources.items()})
