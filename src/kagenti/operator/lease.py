"""Who leads: one Lease (coordination.k8s.io/v1), held by renewing it, given back on exit.

The clock of other machines is never believed: a Lease counts as abandoned when it has not changed for its duration as seen
from here (client-go's rule). Whoever cannot renew in time stops leading before anybody else may begin.
"""

import asyncio
import datetime
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import orjson

from kagenti import errors

JSON = Any  # a Lease

NAME: Final = "kagenti-operator"
_API: Final = "coordination.k8s.io/v1"
_RENEWALS: Final = 4  # a lease's length
_RETRIES: Final = 16  # a lease's length, once a renewal has failed
_SHARE: Final = 0.5  # of the time that is left: a request that gets no answer leaves room for another
_SAFETY: Final = 0.7  # of a lease's length: who has not renewed by then stops


class Requests(Protocol):
    """Raw requests; raises ClusterError."""

    async def request(
        self, method: str, path: str, *, body: bytes | None = None, content_type: str = "", timeout: float = 10.0
    ) -> bytes:
        """Returns the body of a 2xx answer."""


class Lost(Exception):
    """The Lease is somebody else's, or could not be renewed in time."""


class Lease:
    """One candidate. ``now`` (monotonic), ``sleep`` and ``clock`` (aware) are the clock, for tests."""

    def __init__(
        self,
        client: Requests,
        *,
        namespace: str,
        identity: str,
        seconds: int,
        logger: logging.Logger,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._client, self._identity, self._seconds, self._logger = client, identity, seconds, logger
        self._now, self._sleep, self._clock = now, sleep, clock
        self._collection = f"/apis/{_API}/namespaces/{namespace}/leases"
        self._namespace = namespace
        self._held: JSON = None
        self._seen: tuple[str, float] = ("", 0.0)
        self._written = 0.0
        self.holder = ""
        self.last_contact = now()

    @property
    def held(self) -> bool:
        """Whether this candidate leads."""
        return self._held is not None

    async def acquire(self) -> None:
        """Waits until the Lease is ours."""
        while not await self._tried():
            await self._sleep(self._seconds / _RENEWALS)

    async def keep(self) -> None:
        """Renews until cancelled; raises Lost when others may lead."""
        pause = self._seconds / _RENEWALS
        while True:
            await self._sleep(min(pause, self._left()))
            left = self._left()
            if left <= 0:
                self._held = None
                raise Lost(f"the Lease could not be renewed for {self._seconds * _SAFETY:g} s")
            asked = self._now()
            try:
                self._held = await self._renewed(self._held, left * _SHARE)
            except errors.ClusterError as problem:
                self._logger.warning("lease not renewed", extra={"fields": {"problem": str(problem)}})
                pause = self._seconds / _RETRIES
                continue
            self._written = self.last_contact = asked
            pause = self._seconds / _RENEWALS

    def _left(self) -> float:
        """Returns the seconds for which nobody else may begin, less a margin; counted from before our last write was sent."""
        return max(self._written + self._seconds * _SAFETY - self._now(), 0.0)

    async def _renewed(self, held: JSON, timeout: float) -> JSON:
        """Returns the Lease after a renewal; both requests together take twice the time-out at most.

        Raises:
            Lost: It is another's.
            ClusterError: It was not renewed now. It may be a version further and still ours: a write of ours whose answer
                did not come through, at a time that nobody knows, so that it counts for nothing.
        """
        try:
            return await self._put(held, self._spec(held["spec"]), timeout=timeout)
        except errors.NotFound:
            found = None
        except errors.Conflict:
            found = await self._read(timeout)
            if found is not None and (found.get("spec") or {}).get("holderIdentity") == self._identity:
                self._held = found
                raise
        self._held = None
        raise Lost("the Lease was taken away" if found is None else "another replica holds the Lease")

    async def release(self) -> None:
        """Gives the Lease back, so that others need not wait for its end; a failure only costs them that wait."""
        held, self._held = self._held, None
        if held is None:
            return
        spec = {**held["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._time()}
        try:
            await self._put(held, spec, timeout=2.0)
        except errors.ClusterError as problem:
            self._logger.warning("lease not given back", extra={"fields": {"problem": str(problem)}})

    async def _tried(self) -> bool:
        try:
            found = await self._read(self._seconds / 2)
            self._written = self._now()
            if found is None:
                self._held = await self._create()
            elif self._free(found):
                self._held = await self._put(found, self._spec(found["spec"]), timeout=self._seconds / 2)
        except errors.Conflict:
            return False  # another candidate was faster
        except errors.ClusterError as problem:
            self._logger.warning("lease cannot be read or written", extra={"fields": {"problem": str(problem)}})
            return False
        self.last_contact = self._now()
        if self.held:
            self.holder = self._identity
        return self.held

    def _free(self, found: JSON) -> bool:
        """Whether the Lease may be taken: nobody's, ours from an earlier life, or unchanged for its whole duration."""
        spec, version = found.get("spec") or {}, found["metadata"]["resourceVersion"]
        self.holder = spec.get("holderIdentity") or ""
        if self._seen[0] != version:
            self._seen = (version, self._now())
        if self.holder in ("", self._identity):
            return True
        return self._now() - self._seen[1] >= float(spec.get("leaseDurationSeconds") or self._seconds)

    async def _read(self, timeout: float) -> JSON | None:
        try:
            return orjson.loads(await self._client.request("GET", f"{self._collection}/{NAME}", timeout=timeout))
        except errors.NotFound:
            return None

    async def _create(self) -> JSON:
        metadata = {"name": NAME, "namespace": self._namespace}
        lease = {"apiVersion": _API, "kind": "Lease", "metadata": metadata, "spec": self._spec({})}
        return await self._send("POST", self._collection, lease, timeout=self._seconds / 2)

    async def _put(self, lease: JSON, spec: JSON, *, timeout: float) -> JSON:
        """Writes over exactly that version of the Lease; raises Conflict for another."""
        return await self._send("PUT", f"{self._collection}/{NAME}", {**lease, "spec": spec}, timeout=timeout)

    async def _send(self, method: str, path: str, lease: JSON, *, timeout: float) -> JSON:
        body = orjson.dumps(lease)
        answer = await self._client.request(method, path, body=body, content_type="application/json", timeout=timeout)
        return orjson.loads(answer)

    def _spec(self, before: JSON) -> JSON:
        mine = before.get("holderIdentity") == self._identity
        now = self._time()
        transitions = int(before.get("leaseTransitions") or 0)
        return {
            **before,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._seconds,
            "renewTime": now,
            "acquireTime": before.get("acquireTime") or now if mine else now,
            "leaseTransitions": transitions if mine or not before else transitions + 1,
        }

    def _time(self) -> str:
        return self._clock().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
