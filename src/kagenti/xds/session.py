"""What the ADS server asks of its surroundings: who a stream is, what it is given, and who wants to know.

The server knows neither Kubernetes nor settings. ``Authenticator`` turns a bearer token into an identity, ``Snapshots``
an identity into a snapshot that may be replaced at any time, ``Observer`` hears how far each Envoy is.
All calls happen on the server's event loop; only ``authenticate`` may wait.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from kagenti import errors
from kagenti.core.ads import Kind, Snapshot, StreamState


class Refused(errors.InputError):
    """The caller is not who it must be: UNAUTHENTICATED, with this message, which must carry no secret."""


class Identity(Protocol):
    """The pod at the other end, as its token proves it."""

    @property
    def node_id(self) -> str:
        """The only node id of our shape that this pod may claim: namespace/name/uid."""

    @property
    def expires_at(self) -> float:
        """When the token ends, seconds since the epoch; the stream ends before."""


@dataclass(frozen=True, slots=True)
class Node:
    """What a client says of itself; display only, except that ``id`` must not be that of another pod.

    ``metadata`` holds the values of node.metadata that are text, numbers or booleans.
    """

    id: str
    cluster: str
    metadata: Mapping[str, str | float | bool]


@dataclass(frozen=True, slots=True)
class Connection:
    """One stream for its observers; ``number`` is unique in this process, ``peer`` is gRPC's text of the address."""

    number: int
    identity: Identity
    node: Node
    kind: Kind
    peer: str


class Authenticator(Protocol):
    """Who a stream is."""

    async def authenticate(self, authorization: str, peer: str) -> Identity:
        """Returns the pod that the ``authorization`` header (empty if absent) proves.

        Raises:
            Refused: It proves none; answered with UNAUTHENTICATED.
            errors.ClusterError: It cannot be told now; answered with UNAVAILABLE, and Envoy comes again.
        """


class Subscription(Protocol):
    """One stream's view of its workload's snapshots."""

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest one; None while there is none to give: the stream then leaves its Envoy as it is."""

    def close(self) -> None:
        """Ends it; ``changed`` is not called afterwards."""


class Snapshots(Protocol):
    """What a stream is given."""

    def subscribe(self, identity: Identity, changed: Callable[[], None]) -> Subscription:
        """Returns the view of this pod's workload; ``changed`` is to be called, on the loop, after each new snapshot.

        ``changed`` only marks the stream, so that calling it for thousands of streams is cheap; the server reads
        ``snapshot`` later, in slices that yield to the loop, and then only the newest.
        """


class Observer(Protocol):
    """Who wants to know; must not block and must not raise."""

    def opened(self, connection: Connection) -> None:
        """A client was authenticated and has sent its first request."""

    def reported(self, connection: Connection, state: StreamState) -> None:
        """The state of a stream is another than before."""

    def closed(self, connection: Connection, reason: str) -> None:
        """A stream that was opened is over."""

    def refused(self, peer: str, reason: str) -> None:
        """A caller was turned away before it was opened."""
