"""A model of what Envoy does with the replies of an ADS stream, and the words to build its snapshots with."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from kagenti.core import ads
from kagenti.core.ads import CLUSTER, EXTENSION, ROUTE

NAMES = {EXTENSION: ("jwt", "rbac"), ROUTE: ("inbound", "outbound")}


def cluster(name: str, content: str = "1") -> ads.Encoded:
    """A cluster; content that starts with "bad" is refused."""
    return ads.Encoded.of(CLUSTER, name, f"{name}={content}".encode())


def extension(name: str, content: str = "1", *clusters: str) -> ads.Encoded:
    return _naming(EXTENSION, name, content, [(CLUSTER, cluster) for cluster in clusters])


def route(name: str, content: str = "1", *clusters: str, extensions: Iterable[str] = ()) -> ads.Encoded:
    references = [(CLUSTER, cluster) for cluster in clusters] + [(EXTENSION, extension) for extension in extensions]
    return _naming(ROUTE, name, content, references)


def _naming(type_url: str, name: str, content: str, references: Iterable[ads.Reference]) -> ads.Encoded:
    references = sorted(references)
    text = f"{name}={content}:{','.join(name for _, name in references)}"
    return ads.Encoded.of(type_url, name, text.encode(), frozenset(references))


def is_bad(resource: ads.Encoded) -> bool:
    return b"=bad" in resource.payload


def first_request(kind: ads.Kind, type_url: str, names: tuple[str, ...] = ()) -> ads.Request:
    if kind == "delta":
        return ads.DeltaRequest(type_url, subscribe=names)
    return ads.SotwRequest(type_url, names=names)


@dataclass
class Envoy:
    """One Envoy: takes replies in order, answers each once; ``validate_clusters`` refuses routes to unknown clusters."""

    kind: ads.Kind
    held: dict[str, dict[str, ads.Encoded]] = field(default_factory=lambda: {CLUSTER: {}, EXTENSION: {}, ROUTE: {}})
    version: dict[str, str] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)

    def first_requests(self) -> list[ads.Request]:
        """What it sends on a new stream: with delta the versions it has, with SotW the one it accepted last."""
        self.asked = {CLUSTER}
        types = [CLUSTER, *NAMES] if CLUSTER in self.version else [CLUSTER]
        return [self._subscribe(type_url) for type_url in types]

    def _subscribe(self, type_url: str) -> ads.Request:
        self.asked.add(type_url)
        names = NAMES.get(type_url, ())
        if self.kind == "sotw":
            return ads.SotwRequest(type_url, version=self.version.get(type_url, ""), names=names)
        initial = {name: resource.version for name, resource in self.held[type_url].items()}
        return ads.DeltaRequest(type_url, subscribe=names, initial=initial)

    def take(self, reply: ads.Reply) -> list[ads.Request]:
        """Applies one reply or refuses it whole; returns its answer and, after the first clusters, its other needs."""
        fault = self.fault(reply)
        if fault is None:
            self._apply(reply)
        requests = [self._answer(reply, fault)]
        if reply.type_url == CLUSTER:
            requests += [self._subscribe(type_url) for type_url in NAMES if type_url not in self.asked]
        return requests

    def fault(self, reply: ads.Reply) -> str | None:
        """Why it refuses a reply, or None."""
        for resource in reply.resources:
            if is_bad(resource):
                return f"{resource.name} is bad"
            missing = self.missing(resource)
            if resource.type_url == ROUTE and missing:
                return f"route: unknown cluster '{missing[0]}'"
        return None

    def missing(self, resource: ads.Encoded) -> list[str]:
        """The clusters that a resource names and it does not have."""
        return sorted(n for type_url, n in resource.references if type_url == CLUSTER and n not in self.held[CLUSTER])

    def _apply(self, reply: ads.Reply) -> None:
        held = self.held[reply.type_url]
        if self.kind == "sotw" and reply.type_url == CLUSTER:
            held.clear()
        held.update({resource.name: resource for resource in reply.resources})
        for name in reply.removed:
            del held[name]
        self.version[reply.type_url] = reply.version

    def _answer(self, reply: ads.Reply, fault: str | None) -> ads.Request:
        if self.kind == "delta":
            return ads.DeltaRequest(reply.type_url, nonce=reply.nonce, error=fault)
        version = self.version.get(reply.type_url, "")
        names = NAMES.get(reply.type_url, ())
        return ads.SotwRequest(reply.type_url, nonce=reply.nonce, error=fault, version=version, names=names)


class Link:
    """A stream and an Envoy talking until nobody has anything left to say; keeps every reply."""

    def __init__(self, kind: ads.Kind, snapshot: ads.Snapshot | None = None) -> None:
        self.envoy = Envoy(kind)
        self.replies: list[ads.Reply] = []
        self.connect(snapshot)

    def connect(self, snapshot: ads.Snapshot | None) -> list[ads.Reply]:
        self.stream = ads.Stream(self.envoy.kind)
        if snapshot is not None:
            self.stream.on_snapshot(snapshot)
        return self._talk(self.envoy.first_requests(), [])

    def push(self, snapshot: ads.Snapshot) -> list[ads.Reply]:
        """Returns what was sent until the push had settled."""
        return self._talk([], self.stream.on_snapshot(snapshot))

    def _talk(self, requests: list[ads.Request], replies: list[ads.Reply]) -> list[ads.Reply]:
        sent: list[ads.Reply] = []
        while requests or replies:
            while replies:
                sent.append(replies.pop(0))
                requests += self.envoy.take(sent[-1])
            if requests:
                replies += self.stream.on_request(requests.pop(0))
        self.replies += sent
        return sent


def names(replies: Iterable[ads.Reply]) -> list[str]:
    """What was sent, for comparison: "+a,b" for resources, "-a" for removals, "+" for an empty reply."""
    return [
        "-" + ",".join(reply.removed) if reply.removed else "+" + ",".join(r.name for r in reply.resources)
        for reply in replies
    ]
