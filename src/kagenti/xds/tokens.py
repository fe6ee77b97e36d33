"""Bearer token → the claims of a pod, verified locally against the cluster's own key set.

A projected token names its pod (Kubernetes: "Managing Service Accounts", bound tokens). Its issuer is not compared: the
keys are those that the API server itself publishes, and the audience is ours alone. No message carries a token.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import jwt
import orjson

from kagenti import errors
from kagenti.xds.session import Refused
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # claims as they stand in a token

JWKS_PATH: Final = "/openid/v1/jwks"
"""Where an API server publishes its keys (Kubernetes: "Service account issuer discovery")."""

_JWK_SET: Final = "application/jwk-set+json"  # RFC 7517 section 8.5.2; an API server answers application/json with 406
# An API server's key is rotated by people; a withdrawn one is forgotten after five minutes at the latest.
_MOST_AGE: Final = 300.0
_LEAST_AGE: Final = 10.0  # seconds between two fetches, whatever kids callers make up
_BUDGET: Final = 2.0
_SKEW: Final = 5.0  # seconds that the API server's clock may be ahead of ours
_LONGEST: Final = 16 * 1024
# What API servers sign with (kube-apiserver --service-account-signing-key-file: RSA or ECDSA); never a shared secret.
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")


class Get(Protocol):
    """Reads one path as raw bytes; raises ClusterError."""

    async def get(self, path: str, *, accept: str, timeout: float) -> bytes:
        """Returns the body, of that media type."""


class Unverifiable(Exception):  # an answer, not a fault: somebody else may know better
    """The token cannot be judged here: it is opaque, or signed by a key that is not published."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The pod that a token names, and when the token ends (seconds since the epoch)."""

    namespace: str
    service_account: str
    pod_name: str
    pod_uid: str
    expires_at: float


class ClusterKeys:
    """The cluster's key set, fetched again when a token names a key that it does not have; ``now`` is monotonic."""

    def __init__(self, client: Get, *, logger: logging.Logger, now: Callable[[], float] = time.monotonic) -> None:
        self._client, self._logger, self._now = client, logger, now
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._asked_at = -_MOST_AGE
        self._asking = asyncio.Lock()
        self.fetches = 0
        self.problem = "the cluster's keys have not been read yet"

    async def get(self, kid: str) -> jwt.PyJWK | None:
        """Returns the key of that id, or None where the cluster publishes none such."""
        if self._age() >= _MOST_AGE or (kid not in self._keys and self._age() >= _LEAST_AGE):
            await self._refresh()
        return self._keys.get(kid)

    def _age(self) -> float:
        return self._now() - self._asked_at

    async def _refresh(self) -> None:
        """Fetches once, however many callers wait; on failure the last set stays in force."""
        asked_at = self._asked_at
        async with self._asking:
            if self._asked_at != asked_at:
                return  # somebody else has asked meanwhile
            self._asked_at = self._now()
            self.fetches += 1
            try:
                self._keys = _by_id(await self._client.get(JWKS_PATH, accept=_JWK_SET, timeout=_BUDGET))
            except (errors.ClusterError, orjson.JSONDecodeError, jwt.PyJWTError) as error:
                self._say(f"the cluster's keys cannot be read: {type(error).__name__}")
            else:
                self._say("" if self._keys else "the API server publishes no key for tokens")

    def _say(self, problem: str) -> None:
        if problem and problem != self.problem:
            self._logger.warning("cluster keys", extra={"fields": {"problem": problem}})
        self.problem = problem


class TokenVerifier:
    """Verifies tokens without asking anybody; ``clock`` is in seconds since the epoch."""

    def __init__(self, keys: ClusterKeys, *, clock: Callable[[], float] = time.time) -> None:
        self._keys, self._clock = keys, clock

    async def verify(self, token: str) -> Claims:
        """Returns the claims of a valid token for us that is bound to a pod.

        Raises:
            Refused: It is not valid, whoever were asked.
            Unverifiable: It may be valid, but not by the cluster's published keys.
        """
        if len(token) > _LONGEST:
            raise Refused("the token is too long to be one")
        unverified = _unverified(token)
        if unverified is None:
            if not self._keys.problem:
                raise Refused("the token is not one that this cluster signs")
            raise Unverifiable("the token is no JWT, and the cluster's keys are not known")
        claims_of(unverified.payload, now=self._clock())  # what it says of itself is enough to refuse it
        key = await self._keys.get(unverified.kid)
        if key is None:
            raise Unverifiable("the token is not signed by a key that the cluster publishes")
        return claims_of(_verified(token, key), now=self._clock())


@dataclass(frozen=True, slots=True)
class _Unverified:
    kid: str
    payload: JSON


def _unverified(token: str) -> _Unverified | None:
    """Returns what a token says of itself, or None where it is no JWT of a kind that we can verify."""
    try:
        read = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):  # brackets in brackets, thousands deep
        return None
    header = read["header"]
    kid = header.get("kid")
    if header.get("alg") not in _ALGORITHMS or not isinstance(kid, str):
        return None
    return _Unverified(kid, read["payload"])


def _verified(token: str, key: jwt.PyJWK) -> JSON:
    """Returns the payload of a token whose signature holds; its times and audience are judged by ``claims_of``."""
    try:
        options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
        return jwt.decode(token, key, algorithms=[key.algorithm_name], options=options)  # Any: a TypedDict of theirs
    except jwt.PyJWTError as error:
        raise Refused("the token's signature does not hold") from error


def claims_of(payload: JSON, *, now: float) -> Claims:
    """Returns the claims of a payload, signed or not, if they are those of a pod's token for us at ``now``.

    Raises:
        Refused: They are not; says which one.
    """
    audience = payload.get("aud")
    if wellknown.XDS_AUDIENCE not in (audience if isinstance(audience, list) else [audience]):
        raise Refused(f'the token is not for audience "{wellknown.XDS_AUDIENCE}"')
    expires_at, not_before = payload.get("exp"), payload.get("nbf", 0)
    if not isinstance(expires_at, int | float) or not expires_at > now:
        raise Refused("the token has expired")
    if not isinstance(not_before, int | float) or not_before > now + _SKEW:
        raise Refused("the token is not valid yet")
    bound = payload.get("kubernetes.io")
    bound = bound if isinstance(bound, dict) else {}
    texts = (
        bound.get("namespace"),
        _at(bound, "serviceaccount", "name"),
        _at(bound, "pod", "name"),
        _at(bound, "pod", "uid"),
    )
    if not all(isinstance(text, str) and text for text in texts):
        raise Refused("the token is not bound to a pod; use a projected service-account token")
    namespace, service_account, pod_name, pod_uid = map(str, texts)
    return Claims(namespace, service_account, pod_name, pod_uid, float(expires_at))


def _at(node: Mapping[str, JSON], key: str, member: str) -> JSON:
    inner = node.get(key)
    return inner.get(member) if isinstance(inner, dict) else None


def _by_id(document: bytes) -> Mapping[str, jwt.PyJWK]:
    """Returns the keys that tokens may be signed with; others in the set are none of ours."""
    content = orjson.loads(document)
    found = {}
    for key in content.get("keys") or () if isinstance(content, dict) else ():
        try:
            made = jwt.PyJWK(key if isinstance(key, dict) else {})
        except (jwt.PyJWTError, TypeError, ValueError):
            continue
        if made.key_id and made.algorithm_name in _ALGORITHMS:
            found[made.key_id] = made
    return found
