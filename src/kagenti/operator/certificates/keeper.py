"""Keeps one authority: reads what stands in the cluster, asks core what to do next, does it, looks again.

Nothing is remembered but since when a CA has been seen published: whoever takes over begins that wait anew, and goes on from
where the Secrets stand.
"""

import base64
import datetime
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson

from kagenti import errors
from kagenti.core.certificates import (
    BUNDLE,
    CERTIFICATE,
    KEY,
    NEXT_CERTIFICATE,
    NEXT_KEY,
    Certificate,
    Decision,
    Held,
    Rules,
    Step,
    bundle_of,
    decide,
    held,
    patch_of,
    pem_of,
)
from kagenti.operator.certificates.issue import Pair, new_authority, new_leaf

JSON = Any  # a raw Secret or webhook configuration, or a manifest of one

MANAGER: Final = "kagenti-certificates"
"""Field manager of Secrets and caBundles."""
_MOST_STEPS: Final = 8  # of one look: a new installation takes four, two of them to publish


class Requests(Protocol):
    """Raw requests; raises ClusterError."""

    async def get(self, path: str) -> bytes:
        """Returns the body of a GET."""

    async def apply(self, path: str, manifest: JSON, *, manager: str) -> bytes:
        """Returns the object after a forced server-side apply."""

    async def request(
        self, method: str, path: str, *, params: Mapping[str, str], body: bytes, content_type: str
    ) -> bytes:
        """Returns the body of a 2xx answer."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one keeper keeps.

    ``authority`` and ``leaf`` are names of Secrets in ``namespace``, ``names`` the DNS names of the leaf, and
    ``configurations`` the paths of webhook configurations whose caBundle trusts it.
    """

    what: str
    namespace: str
    authority: str
    leaf: str
    common_name: str
    names: frozenset[str]
    rules: Rules
    configurations: tuple[str, ...] = ()

    def path(self, secret: str) -> str:
        """Returns where a Secret is."""
        return f"/api/v1/namespaces/{self.namespace}/secrets/{secret}"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look found: raw objects, None for those that do not exist, and what can be used of them."""

    authority: JSON = field(repr=False)
    leaf: JSON = field(repr=False)
    configurations: Mapping[str, JSON]
    material: Held

    def published(self) -> set[str]:
        """Returns the fingerprints of the CAs that everybody who asks is told of."""
        found = {anchor.fingerprint for anchor in self.material.anchors}
        of_secret = _fingerprints(held(None, self.leaf).anchors)
        return found.intersection(of_secret, *(_fingerprints(bundle_of(one)) for one in self.configurations.values()))


class Keeper:
    """Keeps one authority and its leaf. ``now`` is the clock (aware), ``monotonic`` measures waits, in seconds."""

    def __init__(
        self,
        client: Requests,
        assignment: Assignment,
        *,
        logger: logging.Logger,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.assignment = assignment
        self.steps: Counter[str] = Counter()
        self._client, self._logger, self._now, self._monotonic = client, logger, now, monotonic
        self._since: dict[str, float] = {}
        self._ends: dict[str, datetime.datetime] = {}
        self._faults: tuple[str, ...] = ()
        self._trusted = ""

    @property
    def trusted(self) -> str:
        """The published CAs, PEM, once everybody can have read them; empty until the first look has ended well."""
        return self._trusted

    def seconds_left(self) -> Mapping[str, float]:
        """Returns the seconds until CA and leaf expire, as last seen: ``ca``, ``leaf``."""
        return {what: (ends - self._now()).total_seconds() for what, ends in self._ends.items()}

    async def look(self) -> None:
        """Does what is to be done now.

        Raises:
            errors.ClusterError: Something could not be read or written; what was done until then is sound.
        """
        for _ in range(_MOST_STEPS):
            seen = await self._read()
            decision = self._decide(seen)
            if await self._publish(seen, decision.bundle):
                continue
            if decision.step is Step.KEEP:
                return self._note(seen, decision)
            await self._take(seen, decision)
        raise errors.Defect(f"the certificates of {self.assignment.what} did not settle in {_MOST_STEPS} steps")

    async def _read(self) -> _Seen:
        assignment = self.assignment
        authority = await self._get(assignment.path(assignment.authority))
        leaf = await self._get(assignment.path(assignment.leaf))
        configurations = {path: found for path in assignment.configurations if (found := await self._get(path))}
        live = [anchor for found in configurations.values() for anchor in bundle_of(found)]
        material = held(authority, leaf, live=live)
        if material.faults != self._faults:
            self._faults = material.faults
            for fault in material.faults:
                self._logger.warning("certificate cannot be used", extra={"fields": {"fault": fault}})
        return _Seen(authority, leaf, configurations, material)

    async def _get(self, path: str) -> JSON:
        try:
            return orjson.loads(await self._client.get(path))
        except errors.NotFound:
            return None

    def _decide(self, seen: _Seen) -> Decision:
        now, rules = self._monotonic(), self.assignment.rules
        self._since = {one: self._since.get(one, now) for one in seen.published()}
        settled = {one for one, since in self._since.items() if now - since >= rules.settle.total_seconds()}
        return decide(seen.material, names=self.assignment.names, now=self._now(), settled=settled, rules=rules)

    async def _publish(self, seen: _Seen, bundle: tuple[Certificate, ...]) -> bool:
        """Tells everybody whom to trust, before the step that needs it; returns whether somebody had not been told."""
        if not bundle:
            return False
        told = [await self._register(path, found, bundle) for path, found in seen.configurations.items()]
        data = (seen.leaf or {}).get("data") or {}
        text = _encoded(pem_of(bundle).encode())
        behind = seen.material.leaf is not None and data.get(BUNDLE) != text
        if behind:
            pair = {key: data[key] for key in (CERTIFICATE, KEY)}
            await self._write(self.assignment.leaf, seen.leaf, {**pair, BUNDLE: text})
        return behind or any(told)

    async def _register(self, path: str, configuration: JSON, bundle: tuple[Certificate, ...]) -> bool:
        """Writes the caBundle of one configuration; returns whether another stood there."""
        patch = patch_of(configuration, bundle)
        if patch is None:
            return False
        body, kind = orjson.dumps(patch), "application/json-patch+json"
        await self._client.request("PATCH", path, params={"fieldManager": MANAGER}, body=body, content_type=kind)
        self._tell("caBundle published", path.rpartition("/")[2], f"{len(bundle)} CAs")
        return True

    async def _take(self, seen: _Seen, decision: Decision) -> None:
        assignment, step = self.assignment, decision.step
        if step is Step.ISSUE_LEAF:
            await self._write(assignment.leaf, seen.leaf, self._issued(seen, decision.bundle))
        else:
            await self._write(assignment.authority, seen.authority, self._signing(seen.authority, step))
        self.steps[step] += 1
        self._tell(step, assignment.leaf if step is Step.ISSUE_LEAF else assignment.authority, decision.reason)

    def _signing(self, secret: JSON, step: Step) -> Mapping[str, str]:
        """Returns the data of the CA's Secret after a step."""
        data = (secret or {}).get("data") or {}
        if step is Step.PROMOTE_SUCCESSOR:
            return {CERTIFICATE: data[NEXT_CERTIFICATE], KEY: data[NEXT_KEY]}
        assignment = self.assignment
        made = new_authority(assignment.common_name, life=assignment.rules.authority_life, now=self._now())
        crt, key = _encoded(made.certificate), _encoded(made.key)
        if step is Step.CREATE_AUTHORITY:
            return {CERTIFICATE: crt, KEY: key}
        return {CERTIFICATE: data[CERTIFICATE], KEY: data[KEY], NEXT_CERTIFICATE: crt, NEXT_KEY: key}

    def _issued(self, seen: _Seen, bundle: tuple[Certificate, ...]) -> Mapping[str, str]:
        """Returns the data of the leaf's Secret with a new leaf in it."""
        data = seen.authority["data"]
        authority = Pair(*(base64.b64decode(data[key]) for key in (CERTIFICATE, KEY)))
        life = self.assignment.rules.leaf_life
        made = new_leaf(self.assignment.names, authority=authority, life=life, now=self._now())
        crt, key = _encoded(made.certificate), _encoded(made.key)
        return {CERTIFICATE: crt, KEY: key, BUNDLE: _encoded(pem_of(bundle).encode())}

    async def _write(self, name: str, before: JSON, data: Mapping[str, str]) -> None:
        """Writes a Secret, over exactly the version that was read; raises Conflict for another."""
        metadata = (before or {}).get("metadata") or {}
        version = {key: metadata[key] for key in ("uid", "resourceVersion") if key in metadata}
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": self.assignment.namespace,
                "labels": {"app.kubernetes.io/name": "kagenti", "app.kubernetes.io/component": "certificates"},
                **version,
            },
            "type": (before or {}).get("type") or "kubernetes.io/tls",  # a type never changes
            "data": dict(data),
        }
        await self._client.apply(self.assignment.path(name), manifest, manager=MANAGER)

    def _note(self, seen: _Seen, decision: Decision) -> None:
        """Keeps what is shown, and who is trusted once those who read it from files can have done so."""
        found = {"ca": seen.material.signing, "leaf": seen.material.leaf}
        self._ends = {what: certificate.ends for what, certificate in found.items() if certificate is not None}
        now, settle = self._monotonic(), self.assignment.rules.settle.total_seconds()
        told = all(now - self._since.get(one.fingerprint, now) >= settle for one in decision.bundle)
        if told or not self._trusted:
            self._trusted = pem_of(decision.bundle)

    def _tell(self, message: str, name: str, reason: str) -> None:
        fields = {"of": self.assignment.what, "object": name, "reason": reason}
        self._logger.info(message, extra={"fields": fields})


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _fingerprints(bundle: tuple[Certificate, ...]) -> set[str]:
    return {certificate.fingerprint for certificate in bundle}
