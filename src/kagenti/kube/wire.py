"""What the API server sends, as far as we read it: lists, watches, owner references; objects stay raw until their kind reads them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Generic

import msgspec

from kagenti import errors
from kagenti.core.store import Apply, Delete, WatchEvent
from kagenti.core.workload import OwnerReference
from kagenti.kube.kinds import Kind, T

_INITIAL_END: Final = "k8s.io/initial-events-end"


class Reference(msgspec.Struct, rename="camel"):
    """One owner reference as it stands in metadata."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


def controller(references: Iterable[Reference]) -> OwnerReference | None:
    """Returns the controller reference (Kubernetes: at most one has ``controller: true``)."""
    for found in references:
        if found.controller:
            return OwnerReference(found.api_version, found.kind, found.name, found.uid)
    return None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] = []


class _BookmarkMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    annotations: dict[str, str] = {}


class _Bookmark(msgspec.Struct):
    metadata: _BookmarkMeta


class _Status(msgspec.Struct):
    code: int = 0
    message: str = ""


_events = msgspec.json.Decoder(_Event)
_lists = msgspec.json.Decoder(_List)
_bookmarks = msgspec.json.Decoder(_Bookmark)
_statuses = msgspec.json.Decoder(_Status)


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Where the stream stands; ``initial_end`` closes a streamed list."""

    resource_version: str
    initial_end: bool = False


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; ``more`` is the token of the next one, empty on the last."""

    objects: list[T]
    resource_version: str
    more: str


def decode_event(line: bytes, kind: Kind[T]) -> WatchEvent[T] | Bookmark:
    """Returns what one line of a watch says; raises Gone for 410, Unreachable for other errors and for bad JSON."""
    try:
        event = _events.decode(line)
        if event.type == "BOOKMARK":
            metadata = _bookmarks.decode(event.object).metadata
            return Bookmark(metadata.resource_version, initial_end=metadata.annotations.get(_INITIAL_END) == "true")
        if event.type == "ERROR":
            status = _statuses.decode(event.object)
            failure = errors.Gone if status.code == 410 else errors.Unreachable  # HTTP: gone
            raise failure(f"the watch of {kind.plural} ended with {status.code}: {status.message}")
        found = kind.decode(event.object)
    except msgspec.DecodeError as problem:
        raise errors.Unreachable(f"the watch of {kind.plural} sent a line that cannot be read: {problem}") from problem
    return Delete(found) if event.type == "DELETED" else Apply(found)


def decode_page(body: bytes, kind: Kind[T]) -> Page[T]:
    """Returns one page; raises Unreachable for what is no list: a proxy's page of maintenance, for one."""
    try:
        found = _lists.decode(body)
        objects = [kind.decode(item) for item in found.items]
    except msgspec.DecodeError as problem:
        raise errors.Unreachable(
            f"the list of {kind.plural} cannot be read: {problem}; is a proxy answering?"
        ) from problem
    return Page(objects, found.metadata.resource_version, found.metadata.continue_)
