"""What crosses the boundary of a stream: requests, replies and the state they add up to; no protobuf in sight."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kagenti import errors
from kagenti.core.ads.snapshot import Encoded

Kind = Literal["delta", "sotw"]
Verdict = Literal["pending", "propagated", "rejected"]


class Violation(errors.InputError):
    """A client left the protocol or its limits; the stream must end."""


@dataclass(frozen=True, slots=True)
class DeltaRequest:
    """A DeltaDiscoveryRequest; ``error`` is the raw message of a NACK, None otherwise.

    ``initial`` are the versions that a reconnecting client still has, by name.
    """

    type_url: str
    nonce: str = ""
    error: str | None = None
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SotwRequest:
    """A DiscoveryRequest: all names that the client wants now; none at all means every resource of the type."""

    type_url: str
    nonce: str = ""
    error: str | None = None
    version: str = ""
    names: tuple[str, ...] = ()


Request = DeltaRequest | SotwRequest


@dataclass(frozen=True, slots=True)
class Reply:
    """A response of either kind; ``nonce`` is a content hash, so that equal replies are equal bytes on every stream."""

    type_url: str
    version: str
    nonce: str
    resources: tuple[Encoded, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """A resource that Envoy refused; ``name`` is empty where it refused several at once. ``message`` is one line."""

    name: str
    version: str
    message: str


@dataclass(frozen=True, slots=True)
class TypeState:
    """How far one type is: ``version`` is the desired one of the snapshot; names stand under what keeps them back.

    ``subscribed`` is False until the client has asked for the type. Acknowledged is what stands nowhere here.
    """

    type_url: str
    version: str
    subscribed: bool
    pending: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    rejected: tuple[Rejection, ...] = ()

    @property
    def acked(self) -> bool:
        """Whether the client has said yes to everything desired."""
        return self.subscribed and not (self.pending or self.withheld or self.rejected)


@dataclass(frozen=True, slots=True)
class StreamState:
    """How far one Envoy is with the snapshot of ``revision``: one verdict, and the types in sending order.

    ``propagated`` only once every desired resource was acknowledged; one refusal makes it ``rejected``.
    """

    revision: str
    verdict: Verdict
    types: tuple[TypeState, ...] = ()

    @property
    def rejected(self) -> tuple[tuple[str, Rejection], ...]:
        """Every refusal with its type URL, in sending order: the first is the one to show."""
        return tuple((state.type_url, rejection) for state in self.types for rejection in state.rejected)
