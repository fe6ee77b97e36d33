"""Whether a pod created now would be injected: the webhook is registered, answers where it is registered, and is ready.

Asked where the API server would ask: at the address of the live configuration, trusted by its caBundle alone, so that
one question covers the Service, its ready endpoints, the certificate and the caches (docs/decisions/0009).
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import aiohttp
import orjson

from kagenti import errors
from kagenti.core.rollout import Registration, Webhook, registration
from kagenti.core.trigger import Mode

JSON = Any  # a raw MutatingWebhookConfiguration, or the webhook's word about itself

CONFIGURATION: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/kagenti-injector"
MAX_AGE: Final = 0.2
"""Seconds for which an answer counts, so that many workloads ask once: a webhook that ends says so seconds before."""
_BUDGET: Final = 2.0  # seconds for the question; the API server itself gives a review five
_MOST: Final = 64 * 1024  # bytes of an answer that are read


class Get(Protocol):
    """Reads one object as raw bytes; raises ClusterError."""

    async def get(self, path: str, *, timeout: float) -> bytes:
        """Returns the body."""


class WebhookReadiness:
    """Asks at most once per ``MAX_AGE``, however many want to know; ``now`` is monotonic, for tests.

    ``mode`` is the installation's trigger mode; ``by_workload`` says that templates are injected, not pods.
    """

    def __init__(
        self, client: Get, *, mode: Mode, by_workload: bool = False, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._mode, self._by_workload, self._now = client, mode, by_workload, now
        self._lock = asyncio.Lock()
        self._known: Webhook | None = None
        self._asked = float("-inf")
        self._scope: str | None = None

    @property
    def scope(self) -> str | None:
        """A hash of what the live configuration calls the webhook for; None as long as it could not be read."""
        return self._scope

    async def __call__(self) -> Webhook:
        """Returns whether the webhook is ready; never raises for what the cluster says or fails to."""
        async with self._lock:
            if self._known is None or self._now() - self._asked > MAX_AGE:
                self._known = await self._ask()
                self._asked = self._now()
            return self._known

    async def _ask(self) -> Webhook:
        try:
            configuration = orjson.loads(await self._client.get(CONFIGURATION, timeout=_BUDGET))
        except errors.NotFound:
            self._scope = ""
            return Webhook(ready=False, missing="MutatingWebhookConfiguration kagenti-injector does not exist")
        except errors.ClusterError as error:
            return Webhook(ready=False, missing=f"its configuration cannot be read: {error}")
        found = registration(configuration, mode=self._mode, by_workload=self._by_workload)
        if not isinstance(found, Registration):
            self._scope = ""
            return Webhook(ready=False, missing=found)
        self._scope = found.scope
        return await _answer_of(found)


async def _answer_of(registered: Registration) -> Webhook:
    """Returns what the webhook says of itself. A new connection each time: another replica may answer the next pod."""
    try:
        context = ssl.create_default_context(cadata=registered.authority or None)
        timeout = aiohttp.ClientTimeout(total=_BUDGET)
        async with (
            # trust_env stays off: the API server does not ask our proxy either.
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), timeout=timeout) as session,
            session.get(registered.url, allow_redirects=False) as answer,
        ):
            return _judged(answer.status, await answer.content.read(_MOST))
    except (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError) as problem:
        said = str(problem) or type(problem).__name__
        return Webhook(ready=False, missing=f"it does not answer at {registered.url}: {said}")


def _judged(status: int, body: bytes) -> Webhook:
    if status == 200:  # HTTP: OK
        return Webhook(ready=True)
    return Webhook(ready=False, missing=f"it is not ready ({_missing(body) or f'HTTP {status}'})")


def _missing(body: bytes) -> str:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    missing = said.get("missing") if isinstance(said, Mapping) else None
    return str(missing[0])[:200] if isinstance(missing, list) and missing else ""
