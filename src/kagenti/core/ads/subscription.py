"""What every subscription shares: one type on one stream, what the client wants of it and what it has."""

import abc
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from kagenti.core.ads import nack
from kagenti.core.ads.discovery import Rejection, Reply, TypeState
from kagenti.core.ads.ledger import Flight, Ledger, Unproven
from kagenti.core.ads.snapshot import Encoded, Snapshot, fingerprint


class Plan(Protocol):
    """The stream as one of its subscriptions sees it when it decides what to send next."""

    @property
    def snapshot(self) -> Snapshot:
        """What the client should come to have."""

    def number(self) -> int:
        """Returns the number of the next reply; they grow along the stream."""

    def blocked(self, resource: Encoded) -> bool:
        """Whether it names what the client neither has nor is about to get: refused, blocked, or not asked for yet."""

    def unproven(self, group: Iterable[Encoded]) -> Unproven:
        """Returns the clusters that a group names and that are on their way to the client."""


class Subscription(abc.ABC):
    """One type on one stream: the names asked for, or with ``wildcard`` every one, and the ledger of what came of it."""

    __slots__ = ("ledger", "names", "type_url", "wildcard")

    def __init__(self, type_url: str) -> None:
        self.type_url: Final = type_url
        self.ledger: Final = Ledger()
        self.names: frozenset[str] = frozenset()
        self.wildcard = False

    @abc.abstractmethod
    def take(self, request: Any) -> None:  # Any: the request of the stream's own kind
        """Takes an answer, what the client wants now, or both.

        Raises:
            Violation: More names than are served.
        """

    @abc.abstractmethod
    def additions(self, plan: Plan) -> list[Reply]:
        """Returns what the client lacks and may have now, as replies that are on the way from here on."""

    @abc.abstractmethod
    def removals(self, plan: Plan) -> list[Reply]:
        """Returns replies that take away what the client has and the snapshot has no more."""

    def wants(self, name: str) -> bool:
        """Whether the client has asked for a resource of that name, by name or by wildcard."""
        return self.wildcard or name in self.names

    def wanted(self, snapshot: Snapshot) -> Mapping[str, Encoded]:
        """Returns what the client should hold, by name in order."""
        found = snapshot.resources[self.type_url]
        if self.wildcard:
            return found
        return {name: resource for name, resource in found.items() if name in self.names}

    def settle(self, nonce: str, error: str | None) -> None:
        """Takes an answer; ``error`` is the raw message of a NACK, None of an ACK. A stale one changes nothing."""
        flight = self.ledger.land(nonce)
        if flight is None:
            return
        if error is None:
            self.accepted(flight)
        else:
            self.refused(flight, nack.clean(error))

    def accepted(self, flight: Flight) -> None:
        """Records that the client has taken a reply."""
        self.ledger.accept(flight)

    def refused(self, flight: Flight, message: str) -> None:
        """Records that the client has refused a reply; ``message`` is one line."""
        self.ledger.refuse(flight, message)

    def refuses(self, resource: Encoded) -> bool:
        """Whether the client has refused this very content."""
        return self.ledger.refuses(resource.name, resource.version)

    def rejections(self, wanted: Mapping[str, Encoded]) -> tuple[Rejection, ...]:
        """Returns the refusals that concern what the client should hold."""
        return tuple(
            Rejection(name, wanted[name].version, refusal.message)
            for name, refusal in sorted(self.ledger.refused.items())
            if name in wanted and refusal.version == wanted[name].version
        )

    def state(self, snapshot: Snapshot) -> TypeState:
        """Returns how far the client is with a snapshot."""
        wanted = self.wanted(snapshot)
        withheld = [name for type_url, name in snapshot.withheld if type_url == self.type_url and self.wants(name)]
        return TypeState(
            self.type_url,
            snapshot.versions[self.type_url],
            subscribed=True,
            pending=self._pending(wanted),
            withheld=tuple(sorted(withheld)),
            rejected=self.rejections(wanted),
        )

    def _pending(self, wanted: Mapping[str, Encoded]) -> tuple[str, ...]:
        flying = {name for flight in self.ledger.flights for name, version in flight.items.items() if version}
        held, nothing = self.ledger.held, (0, "")
        return tuple(
            name
            for name, resource in wanted.items()
            if name in flying or (held.get(name, nothing)[1] != resource.version and not self.refuses(resource))
        )


def set_version(versions: Mapping[str, str]) -> str:
    """Returns one version for resources: the content hash of their names and versions, whatever their order."""
    return fingerprint(part for name in sorted(versions) for part in (name, versions[name]))
