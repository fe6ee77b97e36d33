"""A served ADS server on loopback whose identities, snapshots and observers a test holds in its hands."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from kagenti import errors, tls
from kagenti.core import ads
from kagenti.core.ads import CLUSTER, EXTENSION, ROUTE
from kagenti.xds.server import Options, Server
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
    broken: bool = False

    @property
    def snapshot(self) -> ads.Snapshot | None:
        if self.broken:
            raise RuntimeError("a defect")
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


def resources(text: str = "1", *, size: int = 0) -> list[ads.Encoded]:
    """A small workload: a cluster, an extension and a route, whose content is ``text``."""
    body = f"{text}{'.' * size}".encode()
    return [_named(CLUSTER, "app", b"1"), _named(EXTENSION, "jwt", b"1"), _named(ROUTE, "inbound", body)]


def _named(type_url: str, name: str, content: bytes) -> ads.Encoded:
    """Field 1 is the name, field 2 some bytes: as much of a message as the light client reads."""
    length = len(content)
    size = bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14])
    references = frozenset({(CLUSTER, "app")}) if type_url == ROUTE else frozenset()
    return ads.Encoded.of(
        type_url, name, b"\x0a" + bytes([len(name)]) + name.encode() + b"\x12" + size + content, references
    )


def snapshot(text: str = "1", *, size: int = 0) -> ads.Snapshot:
    return ads.Snapshot.of(resources(text, size=size))


@dataclass
class Serving:
    """A server and the three that a test holds."""

    server: Server
    doorman: Doorman
    shelf: Shelf
    diary: Diary

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.server.port}"


@contextlib.asynccontextmanager
async def serving(certificates: tls.Certificates | None = None, **options: float) -> AsyncIterator[Serving]:
    doorman, shelf, diary = Doorman(), Shelf(snapshot()), Diary()
    server = Server(
        authenticator=doorman,
        snapshots=shelf,
        observer=diary,
        certificates=certificates,
        options=dataclasses.replace(Options(host="127.0.0.1", port=0), **options),
    )
    await server.start()
    pump = asyncio.create_task(server.run())
    try:
        yield Serving(server, doorman, shelf, diary)
    finally:
        await server.stop(0)
        pump.cancel()
