"""A served ADS server on loopback whose identities, snapshots and observers a test holds in its hands."""

from collections.abc import Callable
from dataclasses import dataclass, field

import grpc.aio

from kagenti import errors
from kagenti.core import ads
from kagenti.xds.session import Connection, Refused, Subscription

FAR = 4e9  # a moment after every test, seconds since the epoch


@dataclass(frozen=True)
class Pod:
    """An identity."""

    node_id: str = "team1/weather-0/uid-0"
    expires_at: float = FAR


@dataclass
class Doorman:
    """Lets in who has a known token."""

    pods: dict[str, Pod] = field(default_factory=lambda: {"a-token": Pod()})
    away: bool = False

    async def authenticate(self, authorization: str, peer: str) -> Pod:
        if self.away:
            raise errors.Unreachable("the API server gives no answer")
        if not authorization:
            raise Refused("no bearer token was given; mount the projected token")
        pod = self.pods.get(authorization.removeprefix("Bearer "))
        if pod is None:
            raise Refused("the token is not one of this cluster")
        return pod


@dataclass
class Shelf:
    """Gives every pod the same snapshot, unless it has one of its own."""

    snapshot: ads.Snapshot | None = None
    own: dict[str, ads.Snapshot] = field(default_factory=dict)
    views: list["View"] = field(default_factory=list)

    def subscribe(self, identity: Pod, changed: Callable[[], None]) -> Subscription:
        self.views.append(View(self, identity, changed))
        return self.views[-1]

    def publish(self, snapshot: ads.Snapshot) -> None:
        self.snapshot = snapshot
        for view in self.views:
            view.changed()


@dataclass(eq=False)
class View:
    shelf: Shelf
    identity: Pod
    changed: Callable[[], None]

    @property
    def snapshot(self) -> ads.Snapshot | None:
        return self.shelf.own.get(self.identity.node_id, self.shelf.snapshot)

    def close(self) -> None:
        self.shelf.views.remove(self)


@dataclass
class Diary:
    """Writes down what an observer hears."""

    opens: list[Connection] = field(default_factory=list)
    states: list[tuple[int, ads.StreamState]] = field(default_factory=list)
    ends: list[tuple[int, str]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def opened(self, connection: Connection) -> None:
        self.opens.append(connection)

    def reported(self, connection: Connection, state: ads.StreamState) -> None:
        self.states.append((connection.number, state))

    def closed(self, connection: Connection, reason: str) -> None:
        self.ends.append((connection.number, reason))

    def refused(self, peer: str, reason: str) -> None:
        self.refusals.append(reason)

    @property
    def verdict(self) -> str:
        return self.states[-1][1].verdict if self.states else ""


def channel(port: int) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}")
