"""Fetches key sets from servers that a namespace may name: nothing about them can be trusted.

How a fetch is bounded is ``kagenti.fetch``; here, what is asked: the address that a name resolves to is judged and is the
one that is dialled, so that a second answer of the DNS changes nothing (spec 05).
"""

import asyncio
import functools
import socket
import ssl
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, Protocol, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from kagenti.core import jwks
from kagenti.core.settings.identity_provider import origin_of
from kagenti.core.untrusted import literal
from kagenti.fetch import Fetcher, Limits

SECONDS: Final = 2.0
"""Seconds for one fetch, name resolution and body included (spec 05)."""
_AT_ONCE: Final = 64  # fetches in flight: servers that answer nothing hold theirs for two seconds
_RESOLVERS: Final = 32  # threads of their own: a name server that never answers must not hold up the API client
_ACCEPT: Final = "application/json, application/jwk-set+json"
_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

ApiServers = Collection[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer: the usable keys as canonical JSON, None where they have not changed since ``etag``."""

    keys: str | None
    etag: str = ""


class Fetch(Protocol):
    """Fetches one key set."""

    async def __call__(self, url: str, *, etag: str = "") -> Fetched:
        """Returns the keys; raises Refused, whose message quotes nothing that the server said."""


class JwksClient:
    """The client of one process; an async context manager.

    Args:
        providers: Reads ``policy.identityProviders`` of the cluster's config: their very origins are trusted, so that
            their addresses are not judged (a demo's provider listens on loopback).
        api_servers: Reads the addresses and ports of the API server, which is never asked.
        verify: Gives the context that certificates are checked with; at each fetch, since it may have changed.
        seconds: For one fetch.
    """

    def __init__(
        self,
        *,
        providers: Callable[[], Sequence[str]],
        api_servers: Callable[[], ApiServers] = tuple,
        verify: Callable[[], ssl.SSLContext | bool] = lambda: True,
        seconds: float = SECONDS,
    ) -> None:
        self._providers = providers
        self._api_servers = api_servers
        self._verify = verify
        self._limits = Limits(jwks.MOST_BYTES, seconds, _AT_ONCE)
        self._fetchers: dict[bool, Fetcher] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for trusted, resolver in ((True, aiohttp.ThreadedResolver()), (False, _Guard(self._api_servers))):
            fetcher = Fetcher(self._limits, accept=_ACCEPT, resolver=resolver, verify=self._verify)
            self._fetchers[trusted] = await self._stack.enter_async_context(fetcher)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def __call__(self, url: str, *, etag: str = "") -> Fetched:
        """Returns the keys of a URL within the time; see ``Fetch``."""
        parts = jwks.location(url)
        trusted = any(origin_of(url) == origin_of(provider) for provider in self._providers())
        host = parts.hostname or ""
        if not trusted and literal(host) is not None:
            jwks.refuse_address(host, jwks.port_of(parts), api_servers=self._api_servers())
        answer = await self._fetchers[trusted].get(url, etag=etag)
        return Fetched(None if answer.body is None else jwks.clean(answer.body), answer.etag)


class _Guard(AbstractResolver):
    """Resolves a name and refuses it as a whole when one of its addresses must not be dialled."""

    def __init__(self, api_servers: Callable[[], ApiServers]) -> None:
        self._pool = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="jwks-resolver")
        self._api_servers = api_servers

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        ask = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, family=family)
        found = []
        for kind, _, proto, _, address in await asyncio.get_running_loop().run_in_executor(self._pool, ask):
            dialled = str(address[0])
            jwks.refuse_address(dialled, port, api_servers=self._api_servers())
            found.append(
                ResolveResult(hostname=host, host=dialled, port=port, family=kind, proto=proto, flags=_NUMERIC)
            )
        return found

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
