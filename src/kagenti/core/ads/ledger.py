"""What one client has of one type, told from its answers: held, on the way, refused.

An answer is known by its nonce alone. A nonce is never on the way twice, so that duplicated answers find nothing; what
an older reply brought is struck out once a newer one about the same resource was accepted, so that a late answer to
the older one changes nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from kagenti.core.ads.discovery import Violation
from kagenti.core.ads.snapshot import Reference, fingerprint

# A workload has some ten resources, with a thousand rules some thousand; more names than this are no Envoy of ours.
MAX_NAMES: Final = 10_000
# Nonces are content hashes: A, B, A within so many replies would give A's nonce twice while answers are on the way.
_REMEMBERED: Final = 8

Unproven = dict[Reference, int]
"""References that were on their way when they were used, with the number of the reply that was to bring them."""
Brought = Callable[[Reference], int | None]
"""Number of the reply by which the client came to hold a resource, None while it does not."""


@dataclass(slots=True)
class Flight:
    """A reply that has not been answered: resource names with versions, None for a removal.

    ``single`` when it carried one resource, to which a refusal therefore belongs.
    """

    nonce: str
    number: int
    items: dict[str, str | None]
    unproven: Unproven
    single: bool
    retry: bool = False


@dataclass(slots=True)
class Refusal:
    """A version (None: a removal) that the client refused, by which reply it came, and why."""

    number: int
    version: str | None
    message: str
    unproven: Unproven


class Ledger:
    """One type on one stream; knows names and versions, no payloads."""

    __slots__ = ("_nonces", "alone", "flights", "held", "refused")

    def __init__(self) -> None:
        self.held: dict[str, tuple[int, str]] = {}
        self.flights: list[Flight] = []
        self.refused: dict[str, Refusal] = {}
        self.alone: dict[str, None] = {}
        self._nonces: tuple[str, ...] = ()

    @property
    def busy(self) -> bool:
        """Whether an answer is outstanding."""
        return bool(self.flights)

    def claim(self, versions: Mapping[str, str]) -> None:
        """Takes a reconnecting client's word for what it still has."""
        for name, version in versions.items():
            self.held[name] = (0, version)

    def expects(self, name: str) -> str | None:
        """Returns the version that the client has once it has accepted what is on the way; None for nothing."""
        for flight in reversed(self.flights):
            if name in flight.items:
                return flight.items[name]
        return self.version(name)

    def expected(self) -> dict[str, str]:
        """Returns everything that the client has once it has accepted what is on the way, by name."""
        found: dict[str, str | None] = {name: version for name, (_, version) in self.held.items()}
        for flight in self.flights:
            found.update(flight.items)
        return {name: version for name, version in found.items() if version is not None}

    def version(self, name: str) -> str | None:
        """Returns the version that the client has accepted, or None."""
        holding = self.held.get(name)
        return None if holding is None else holding[1]

    def brought(self, name: str) -> int | None:
        """Returns the number of the reply by which the client came to hold it; None while it does not."""
        holding = self.held.get(name)
        return None if holding is None else holding[0]

    def bringing(self, name: str) -> int | None:
        """Returns the number of the newest reply on the way that brings it, or None."""
        for flight in reversed(self.flights):
            if flight.items.get(name):
                return flight.number
        return None

    def refuses(self, name: str, version: str | None) -> bool:
        """Whether the client has refused just this version."""
        refusal = self.refused.get(name)
        return refusal is not None and refusal.version == version

    def launch(self, number: int, items: dict[str, str | None], unproven: Unproven) -> str:
        """Records a reply as on the way; returns its nonce."""
        nonce = self._nonce(items)
        self.flights.append(Flight(nonce, number, items, unproven, single=len(items) == 1))
        return nonce

    def land(self, nonce: str) -> Flight | None:
        """Returns the reply that an answer is for, which is no longer on the way; None for a stale answer."""
        for index, flight in enumerate(self.flights):
            if flight.nonce == nonce:
                return self.flights.pop(index)
        return None

    def accept(self, flight: Flight) -> None:
        """Records that the client has taken a reply."""
        for name, version in flight.items.items():
            refusal = self.refused.get(name)
            if refusal is not None and refusal.number < flight.number:
                del self.refused[name]
            self.alone.pop(name, None)
            if version is None:
                self.held.pop(name, None)
            else:
                self.held[name] = (flight.number, version)
        self._strike(flight.items, before=flight.number)

    def refuse(self, flight: Flight, message: str) -> None:
        """Records that the client has kept what it had, because of something in this reply."""
        if not flight.single:
            self.alone.update(dict.fromkeys(flight.items))  # one of them is bad: each is sent again on its own
            return
        for name, version in flight.items.items():
            known = self.refused.get(name)
            if not flight.retry and (known is None or known.number < flight.number):
                self.refused[name] = Refusal(flight.number, version, message, flight.unproven)

    def forget(self, name: str) -> None:
        """Drops all that is known of a name: the client has let go of it, or asks as if it had never had it."""
        self.held.pop(name, None)
        self.refused.pop(name, None)
        self.alone.pop(name, None)
        self._strike((name,), before=None)

    def prove(self, brought: Brought) -> None:
        """Sets free what was refused only because a reference was missing then and was brought later.

        Envoy does not try a refused route again when the missing cluster comes (facts §11); so it is sent again, once.
        """
        if not (self.flights or self.refused):
            return
        for flight in self.flights:
            flight.retry |= _came_later(flight.unproven, brought)
        for name in [name for name, refusal in self.refused.items() if _came_later(refusal.unproven, brought)]:
            del self.refused[name]

    def _nonce(self, items: Mapping[str, str | None]) -> str:
        content = fingerprint(part for name, version in sorted(items.items()) for part in (name, version or ""))
        nonce, repeats = content, 1
        while nonce in self._nonces:
            repeats += 1
            nonce = f"{content}.{repeats}"
        self._nonces = (*self._nonces[1 - _REMEMBERED :], nonce)
        return nonce

    def _strike(self, names: Iterable[str], *, before: int | None) -> None:
        if not self.flights:
            return
        for flight in self.flights:
            if before is None or flight.number < before:
                for name in names:
                    flight.items.pop(name, None)
        self.flights = [flight for flight in self.flights if flight.items]


def _came_later(unproven: Unproven, brought: Brought) -> bool:
    """Whether a reference was brought by a later reply than the one that was counted on; takes off what is proven."""
    later = False
    for reference, counted_on in list(unproven.items()):
        number = brought(reference)
        if number is not None:
            del unproven[reference]
            later |= number > counted_on
    return later


def check_count(count: int, type_url: str) -> None:
    """Raises Violation for more names of one type than any Envoy of ours has."""
    if count > MAX_NAMES:
        raise Violation(f"{count} names of {type_url} on one stream, at most {MAX_NAMES} are served")
