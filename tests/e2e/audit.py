"""What the API server's audit log says of a run: who asked for what, which webhooks changed an object, and what a pod cost.

The log is written before an answer leaves the server (mode blocking), so that whoever has the answer finds the line.
"""

import functools
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

JSON = Any  # an audit event

READS = frozenset({"get", "list", "watch"})
OURS = "system:serviceaccount:kagenti-system:"
_NAMESPACE = re.compile(rb'"objectRef":\{[^}]*?"namespace":"([^"]*)"')
# Noted by the API server for every mutating webhook that it called (Kubernetes reference, "Audit Annotations").
_MUTATION = "mutation.webhook.admission.k8s.io/"


@dataclass(frozen=True)
class Request:
    """One request as the audit log has it."""

    user: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    uri: str
    code: int
    at: str
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class Mutation:
    """What the API server noted of one call of one mutating webhook; ``round`` 1 is the reinvocation."""

    round: int
    index: int
    configuration: str
    webhook: str
    mutated: bool


class _Index:
    """Where the lines of each namespace stand in a growing log, so that a look does not read the whole run again."""

    def __init__(self, log: Path) -> None:
        self._log, self._read = log, 0
        self._places: dict[str, list[tuple[int, int]]] = {}  # offset and length

    def lines(self, namespace: str, since: int) -> list[bytes]:
        """Returns the lines of a namespace from a byte of the log on, up to now."""
        with self._log.open("rb") as log:
            self._go_on(log)
            places = [place for place in self._places.get(namespace, ()) if place[0] >= since]
            return [os.pread(log.fileno(), length, offset) for offset, length in places]

    def _go_on(self, log: BinaryIO) -> None:
        log.seek(self._read)
        for line in log:
            if not line.endswith(b"\n"):  # still being written
                return
            found = _NAMESPACE.search(line)
            if found:
                self._places.setdefault(found[1].decode(), []).append((self._read, len(line)))
            self._read += len(line)


_index = functools.cache(_Index)


def lines(log: Path, *, namespace: str = "", since: int = 0) -> Iterator[bytes]:
    """Yields the lines as they were written, of a namespace when given, from a byte of the log on."""
    if namespace:
        yield from _index(log).lines(namespace, since)
        return
    with log.open("rb") as found:
        found.seek(since)
        for line in found:
            if not line.endswith(b"\n"):  # still being written
                return
            yield line


def requests(log: Path, *, user: str = "", namespace: str = "", since: int = 0) -> Iterator[Request]:
    """Yields the requests of users whose name begins so, in a namespace when given, from a byte of the log on."""
    named = f'"username":"{user}'.encode()
    for line in lines(log, namespace=namespace, since=since):
        if named in line:  # a look at the text first: most lines are others', and decoding is dear
            event = orjson.loads(line)
            if event["user"]["username"].startswith(user):
                yield _request(event, event.get("objectRef") or {})


def _request(event: JSON, reference: JSON) -> Request:
    return Request(
        user=event["user"]["username"],
        verb=event["verb"],
        group=reference.get("apiGroup", ""),
        resource=reference.get("resource", ""),
        subresource=reference.get("subresource", ""),
        namespace=reference.get("namespace", ""),
        name=reference.get("name", ""),
        uri=event["requestURI"],
        code=(event.get("responseStatus") or {}).get("code", 0),
        at=event["requestReceivedTimestamp"],
        annotations=event.get("annotations") or {},
    )


def mutations(log: Path, *, resource: str, namespace: str = "", name: str = "") -> list[list[Mutation]]:
    """Returns for each creation of that resource, oldest first, the webhook calls that the API server noted, in their order.

    A controller's pods have no name yet when they are asked for: leave it out for them.
    """
    return [
        sorted(_mutations(request.annotations), key=lambda found: (found.round, found.index))
        for request in requests(log, namespace=namespace)
        if (request.verb, request.resource, request.subresource) == ("create", resource, "")
        and (not name or request.name == name)
    ]


def _mutations(annotations: Mapping[str, str]) -> Iterator[Mutation]:
    """Keys read ``…/round_0_index_2``, values are JSON."""
    for key, value in annotations.items():
        if key.startswith(_MUTATION):
            _, number, _, index = key.removeprefix(_MUTATION).split("_")
            said = orjson.loads(value)
            yield Mutation(int(number), int(index), said["configuration"], said["webhook"], said["mutated"])


@dataclass(frozen=True, order=True)
class Right:
    """A verb on a resource, ``resource/subresource`` or the path of no resource; ``name`` where the rule gives names."""

    group: str
    resource: str
    verb: str
    name: str = ""


def granted(documents: Iterable[JSON], account: str) -> set[Right]:
    """Returns what the rendered roles that are bound to a service account grant it, aggregated roles included."""
    manifests = [
        document
        for document in documents
        if "rules" in document or "roleRef" in document or "aggregationRule" in document
    ]
    bound = {
        (document["roleRef"]["kind"], document["roleRef"]["name"])
        for document in manifests
        if any(subject["name"] == account for subject in document.get("subjects") or ())
    }
    roles = [document for document in manifests if (document["kind"], document["metadata"]["name"]) in bound]
    selectors = [
        selector["matchLabels"].items()
        for role in roles
        for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()
    ]
    roles += [
        document
        for document in manifests
        if document["kind"] == "ClusterRole"
        and any(selector <= document["metadata"]["labels"].items() for selector in selectors)
    ]
    return {right for role in roles for rule in role.get("rules") or () for right in _rights(rule)}


def told(rights: Iterable[Right]) -> list[str]:
    """Returns rights as people read them, in their order."""
    return [f"{right.verb} {right.group}/{right.resource} {right.name}".rstrip() for right in sorted(rights)]


def _rights(rule: JSON) -> Iterator[Right]:
    for verb in rule["verbs"]:
        yield from (Right("", path, verb) for path in rule.get("nonResourceURLs") or ())
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                yield from (Right(group, resource, verb, name) for name in rule.get("resourceNames") or ("",))


def used(found: Iterable[Request], account: str, rights: Iterable[Right]) -> set[Right]:
    """Returns the rights among these that requests of that account of ours needed: what is not there was asked for too."""
    known = set(rights)
    ours = (each for each in found if each.user == f"{OURS}{account}")
    made = [each for each in ours if each.annotations.get("authorization.k8s.io/decision") == "allow"]
    spelled = {
        Right(each.group, f"{each.resource}/{each.subresource}" if each.subresource else each.resource, each.verb, name)
        if each.resource
        else Right("", each.uri.partition("?")[0], each.verb)
        for each in made
        for name in ("", each.name)
    }
    return known & spelled


def calls(log: Path, *, namespace: str, user: str = OURS, since: int = 0) -> Counter[str]:
    """Returns how often that account asked for what in a namespace: ``verb resource`` → count."""
    found = requests(log, user=user, namespace=namespace, since=since)
    return Counter(f"{request.verb} {request.resource}" for request in found)


def calls_per_pod(log: Path, *, namespace: str, user: str = OURS) -> float:
    """Returns the requests of that account in a namespace for each pod that was created there."""
    made = sum(
        (request.verb, request.resource, request.subresource) == ("create", "pods", "")
        and request.code < 300  # HTTP success
        for request in requests(log, namespace=namespace)
    )
    return calls(log, namespace=namespace, user=user).total() / made
