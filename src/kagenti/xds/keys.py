"""The key sets of all proxies: fetched here once per URL, so that no pod needs a way to its identity provider.

A set is cached by its exact URL and used only by workloads whose own settings name that URL for their own issuer, so that
nobody's URL vouches for somebody else's issuer. The last good set is kept for a day, alerted about after an hour, then
refused; there are no fallback keys (spec 05).
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import random
from typing import Any, Final

from kagenti.core.jwks import NO_KEYS
from kagenti.core.untrusted import Refused
from kagenti.xds.fetch import Fetch

POLL: Final = 30.0
"""Seconds between two fetches of one URL, up to a fifth less: the longest that a key of a rotated realm is unknown."""
ALERT_AFTER: Final = 3600.0
"""Seconds without a good answer after which a URL counts as stale."""
KEPT: Final = 24 * 3600.0
"""Seconds for which the last good set is used."""
MOST_URLS: Final = 16
"""URLs that the workloads of one namespace may name."""

_JITTER: Final = 0.2
_FIRST_RETRY: Final = 1.0  # seconds, doubled up to POLL, while there is no set at all: new pods wait for it


@dataclass(slots=True)
class _Known:
    """One URL: who names it, its last good set and since when, and what is wrong now."""

    url: str
    namespaces: Counter[str] = field(default_factory=Counter)
    keys: str | None = None
    etag: str = ""
    good_at: float = 0.0
    fault: str = ""
    failures: int = 0
    told: str | None = None
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class KeyState:
    """One URL for people: ``age`` in seconds since the last good answer, None before the first; ``fault`` one line."""

    url: str
    namespaces: tuple[str, ...]
    age: float | None
    fault: str

    def shown(self) -> Mapping[str, Any]:  # Any: values of a JSON page
        """Returns it in the API's words."""
        return {"url": self.url, "namespaces": self.namespaces, "age": self.age, "fault": self.fault}


class Keyring:
    """The key sets of one process. ``sleep``, ``now`` (monotonic) and ``jitter`` are the clock and the dice, for tests.

    Args:
        fetch: Fetches one set.
        logger: The log; one line when a URL begins to fail and when it recovers.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        logger: logging.Logger,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random,
    ) -> None:
        self._fetch, self._logger = fetch, logger
        self._sleep, self._now, self._jitter = sleep, now, jitter
        self._known: dict[str, _Known] = {}
        self._urls: dict[str, set[str]] = {}
        self._listeners: list[Callable[[str], None]] = []
        self.outcomes: Counter[str] = Counter()

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Calls ``listener`` with a URL whenever what proxies should have from it is another than before."""
        self._listeners.append(listener)

    def lease(self, url: str, *, namespace: str) -> bool:
        """Begins to keep a URL for one more user of that namespace; False where the namespace names too many."""
        urls = self._urls.setdefault(namespace, set())
        if url not in urls and len(urls) >= MOST_URLS:
            return False
        urls.add(url)
        known = self._known.get(url)
        if known is None:
            known = self._known[url] = _Known(url)
            known.task = asyncio.create_task(self._poll(known), name=f"keys of {url}")
        known.namespaces[namespace] += 1
        return True

    def release(self, url: str, *, namespace: str) -> None:
        """Ends what one successful ``lease`` began; the last one ends the polling and forgets the set."""
        known = self._known[url]
        known.namespaces[namespace] -= 1
        if known.namespaces[namespace] > 0:
            return
        del known.namespaces[namespace]
        self._urls[namespace].discard(url)
        if not self._urls[namespace]:
            del self._urls[namespace]
        if not known.namespaces:
            del self._known[url]
            if known.task is not None:
                known.task.cancel()

    def get(self, url: str) -> str | None:
        """Returns the set that proxies should have: None while none is known, an empty one once it is too old."""
        known = self._known.get(url)
        return None if known is None else self._text(known)

    def fault(self, url: str) -> str:
        """Returns why the last fetch of a URL failed, one line; empty when it did not."""
        known = self._known.get(url)
        return known.fault if known is not None else ""

    def states(self) -> Iterable[KeyState]:
        """Yields every URL that is kept, in order."""
        for url, known in sorted(self._known.items()):
            yield KeyState(url, tuple(sorted(known.namespaces)), self._age(known), known.fault)

    def counts(self) -> Mapping[str, int]:
        """Returns the number of URLs by state: fresh, stale (over an hour), expired (over a day), unknown (no set yet)."""
        found = Counter({"fresh": 0, "stale": 0, "expired": 0, "unknown": 0})
        found.update(self._state(known) for known in self._known.values())
        return found

    async def run(self) -> None:
        """Keeps the sets until cancelled, then ends every poll."""
        try:
            await asyncio.Event().wait()
        finally:
            tasks = [known.task for known in self._known.values() if known.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _poll(self, known: _Known) -> None:
        while True:
            await self._once(known)
            if known.told != (text := self._text(known)):
                known.told = text
                for listener in self._listeners:
                    listener(known.url)
            await self._sleep(self._pause(known))

    async def _once(self, known: _Known) -> None:
        try:
            fetched = await self._fetch(known.url, etag=known.etag)
        except Refused as refused:
            self._failed(known, refused.code, str(refused))
        except Exception as defect:  # one URL must not end the process; it is logged as ours to mend
            self._logger.exception("defect in fetching keys", extra={"fields": {"url": known.url}})
            self._failed(known, "Defect", f"defect: {type(defect).__name__}")
        else:
            self._succeeded(known, fetched.keys, fetched.etag)

    def _succeeded(self, known: _Known, keys: str | None, etag: str) -> None:
        self.outcomes["ok" if keys is not None else "notModified"] += 1
        if known.fault:
            self._logger.info("keys are fetched again", extra={"fields": {"url": known.url}})
        known.good_at, known.fault, known.failures, known.etag = self._now(), "", 0, etag
        if keys is not None:
            known.keys = keys

    def _failed(self, known: _Known, code: str, message: str) -> None:
        self.outcomes[code] += 1
        known.failures += 1
        if message != known.fault:
            fields: dict[str, Any] = {"url": known.url, "reason": message}  # Any: values of a log line
            self._logger.warning("keys cannot be fetched", extra={"fields": fields})
        known.fault = message

    def _pause(self, known: _Known) -> float:
        pause = POLL if known.keys is not None else min(_FIRST_RETRY * 2 ** min(known.failures - 1, 10), POLL)
        return pause * (1 - _JITTER * self._jitter())

    def _age(self, known: _Known) -> float | None:
        return self._now() - known.good_at if known.keys is not None else None

    def _state(self, known: _Known) -> str:
        age = self._age(known)
        if age is None:
            return "unknown"
        if age > KEPT:
            return "expired"
        return "stale" if age > ALERT_AFTER else "fresh"

    def _text(self, known: _Known) -> str | None:
        return NO_KEYS if self._state(known) == "expired" else known.keys
