"""Fetches key sets from servers that a namespace may name: hardened, because nothing about them can be trusted.

No redirects, no proxy of the environment, no credentials or cookies, 256 KiB, two seconds; the address that a name
resolves to is judged and is the one that is dialled, so that a second answer of the DNS changes nothing (spec 05).
"""

import asyncio
import functools
import socket
import ssl
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from kagenti.core import jwks
from kagenti.core.jwks import Refused
from kagenti.core.settings.identity_provider import origin_of

SECONDS: Final = 2.0
"""Seconds for one fetch, name resolution and body included (spec 05)."""
_AT_ONCE: Final = 64  # fetches in flight: servers that answer nothing hold theirs for two seconds
_RESOLVERS: Final = 32  # threads of their own: a name server that never answers must not hold up the API client
_CHUNK: Final = 16 * 1024
_HEADERS: Final = {"Accept": "application/json, application/jwk-set+json", "Accept-Encoding": "identity"}
_OK, _NOT_MODIFIED = 200, 304  # RFC 9110
_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_LONGEST_ETAG: Final = 256

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
        self._seconds = seconds
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def __aenter__(self) -> Self:
        self._sessions = {
            True: _session(aiohttp.ThreadedResolver()),
            False: _session(_Guard(self._api_servers)),
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self._sessions.values():
            await session.close()

    async def __call__(self, url: str, *, etag: str = "") -> Fetched:
        """Returns the keys of a URL within the time; see ``Fetch``."""
        parts = jwks.location(url)
        trusted = any(origin_of(url) == origin_of(provider) for provider in self._providers())
        host = parts.hostname or ""
        if not trusted and jwks.literal(host) is not None:
            jwks.refuse_address(host, jwks.port_of(parts), api_servers=self._api_servers())
        async with self._slots:
            return await self._bounded(self._sessions[trusted], url, etag)

    async def _bounded(self, session: aiohttp.ClientSession, url: str, etag: str) -> Fetched:
        try:
            async with asyncio.timeout(self._seconds):
                return await _get(session, url, etag, self._verify())
        except TimeoutError as error:
            raise Refused("Timeout", f"no complete answer within {self._seconds:g} s") from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise Refused("Tls", "the server's certificate does not verify") from error
        except aiohttp.ClientConnectorError as error:
            raise Refused("Unreachable", "no connection could be made") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Neither the error's text nor the answer is repeated: both may carry what the server sent.
            raise Refused("BadAnswer", f"no valid HTTP answer ({type(error).__name__})") from error


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


def _session(resolver: AbstractResolver) -> aiohttp.ClientSession:
    # A connection is not kept: the next poll resolves and judges anew.
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True, limit=_AT_ONCE)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,  # no proxy, no .netrc
        auto_decompress=False,  # what is not inflated cannot be a bomb
        headers=_HEADERS,
        skip_auto_headers=("User-Agent",),
    )


async def _get(session: aiohttp.ClientSession, url: str, etag: str, verify: ssl.SSLContext | bool) -> Fetched:  # noqa: FBT001  # aiohttp's own type
    headers = {"If-None-Match": etag} if etag else None
    async with session.get(url, headers=headers, allow_redirects=False, ssl=verify) as answer:
        if answer.status == _NOT_MODIFIED and etag:
            return Fetched(None, etag)
        if answer.status != _OK:
            raise Refused(
                "Status", f"answered {answer.status}" + (", a redirect" if 300 <= answer.status < 400 else "")
            )
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Refused("Encoded", "the answer is compressed although that was not asked for")
        return Fetched(jwks.clean(await _body(answer)), _etag(answer.headers.get("ETag", "")))


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """Returns the body, at most one byte more than is allowed."""
    read = bytearray()
    while len(read) <= jwks.MOST_BYTES:
        chunk = await answer.content.read(min(_CHUNK, jwks.MOST_BYTES + 1 - len(read)))
        if not chunk:
            break
        read += chunk
    return bytes(read)


def _etag(text: str) -> str:
    return text if len(text) <= _LONGEST_ETAG and text.isascii() and text.isprintable() else ""
