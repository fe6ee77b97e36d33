"""TokenReview: asks the API server about tokens that cannot be verified here, few at a time and once each.

Only where the cluster's key set is not to be had, or tokens are opaque; then every connect costs one call (facts §7).
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import jwt
import orjson
from cachetools import TLRUCache

from kagenti import errors
from kagenti.xds.session import Refused
from kagenti.xds.tokens import Claims
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a TokenReview, and the payload of a token

PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"

_AT_ONCE: Final = 8  # a storm of 5,000 connects waits in our queue, not in the API server's
_BUDGET: Final = 5.0  # seconds, the wait for a turn included; Envoy comes again
_ROOM: Final = 10_000
_REFUSED_FOR: Final = 30.0  # seconds: a token that is refused stays so, but for one that is not valid yet
_OPAQUE_FOR: Final = 300.0  # seconds that a token without a readable end is taken for valid
_POD_NAME: Final = "authentication.kubernetes.io/pod-name"
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"
_ACCOUNT: Final = "system:serviceaccount:"


class Post(Protocol):
    """Writes one object; raises ClusterError."""

    async def post(self, path: str, body: JSON, *, timeout: float) -> bytes:
        """Returns the answer."""


_Answer = Claims | str
"""What a review said: the pod, or why not."""


class TokenReviewer:
    """Reviews by the hash of the token, remembered until the token ends; ``clock`` is in seconds since the epoch."""

    def __init__(self, client: Post, *, clock: Callable[[], float] = time.time) -> None:
        self._client, self._clock = client, clock
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._known: TLRUCache[bytes, _Answer] = TLRUCache(_ROOM, ttu=_until, timer=clock)
        self._asking: dict[bytes, asyncio.Task[_Answer]] = {}
        self.reviews = 0

    async def review(self, token: str) -> Claims:
        """Returns the claims of a token that the API server accepts for our audience.

        Raises:
            Refused: It does not, or the token is not bound to a pod.
            errors.ClusterError: It gave no answer in time.
        """
        digest = hashlib.sha256(token.encode()).digest()
        answer = self._known.get(digest)
        if answer is None:
            task = self._asking.get(digest)
            if task is None:
                task = self._asking[digest] = asyncio.create_task(self._ask(digest, token))
                task.add_done_callback(lambda done: self._forget(digest, done))
            answer = await asyncio.shield(task)
        if isinstance(answer, str):
            raise Refused(answer)
        return answer

    def _forget(self, digest: bytes, done: asyncio.Task[_Answer]) -> None:
        self._asking.pop(digest, None)
        if not done.cancelled():
            done.exception()  # whoever asked has it; nobody may be left to

    async def _ask(self, digest: bytes, token: str) -> _Answer:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [wellknown.XDS_AUDIENCE]},
        }
        try:
            async with asyncio.timeout(_BUDGET), self._slots:
                self.reviews += 1
                status = orjson.loads(await self._client.post(PATH, body, timeout=_BUDGET)).get("status") or {}
        except (TimeoutError, orjson.JSONDecodeError) as error:
            raise errors.Unreachable("the API server did not review the token in time; try again") from error
        answer = self._known[digest] = _judge(status, expires_at=_end_of(token, now=self._clock()))
        return answer


def _until(_: bytes, answer: _Answer, now: float) -> float:
    return now + _REFUSED_FOR if isinstance(answer, str) else answer.expires_at


def _judge(status: Mapping[str, JSON], *, expires_at: float) -> _Answer:
    if status.get("authenticated") is not True:
        return "the API server does not accept the token"
    if wellknown.XDS_AUDIENCE not in (status.get("audiences") or ()):
        return f'the token is not for audience "{wellknown.XDS_AUDIENCE}"'  # an API server without audiences says none
    user = status.get("user") or {}
    namespace, _, account = str(user.get("username") or "").removeprefix(_ACCOUNT).partition(":")
    extra = user.get("extra") or {}
    name, uid = _only(extra.get(_POD_NAME)), _only(extra.get(_POD_UID))
    if not str(user.get("username") or "").startswith(_ACCOUNT) or not (namespace and account and name and uid):
        return "the token is not bound to a pod; use a projected service-account token"
    return Claims(namespace, account, name, uid, expires_at)


def _only(values: JSON) -> str:
    return str(values[0]) if isinstance(values, list) and len(values) == 1 else ""


def _end_of(token: str, *, now: float) -> float:
    """Returns when a reviewed token ends, as far as can be seen; an opaque one is asked about again soon."""
    try:
        end = jwt.decode(token, options={"verify_signature": False}).get("exp")
    except (jwt.PyJWTError, ValueError, RecursionError):
        end = None
    return float(end) if isinstance(end, int | float) else now + _OPAQUE_FOR
