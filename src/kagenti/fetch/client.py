"""One GET from a server that nobody vouches for: whatever it does costs bounded time, memory and attention.

No redirects, no proxy of the environment, no credentials or cookies, nothing compressed, so many bytes and seconds
(spec 05, 06). Neither the answer nor an error's text is repeated: both may carry what the server sent.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver

from kagenti.core.untrusted import Refused

_CHUNK: Final = 16 * 1024
_SMALL: Final = 64 * 1024  # bytes: what most answers are; larger ones wait for one of few places
_LARGE_AT_ONCE: Final = 8  # so that hostile servers hold megabytes, not hundreds of them
_OK, _NOT_MODIFIED, _NOT_FOUND = 200, 304, 404  # RFC 9110
_LONGEST_ETAG: Final = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """What one fetch may cost: bytes of its body, seconds from dialling to the last byte, and how many run at once."""

    bytes: int
    seconds: float
    at_once: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer: its body, None where it has not changed since the ``etag`` that was sent along."""

    body: bytes | None
    etag: str = ""


class Fetcher:
    """A client of untrusted servers; an async context manager.

    Args:
        limits: What a fetch may cost.
        accept: Media types that are asked for.
        resolver: Resolves, and refuses, names; None where only addresses are dialled.
        verify: Gives what certificates are checked with, at each fetch, since it may have changed: a context, True for the
            system's roots; False checks nothing, and https proves nothing about the peer.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        accept: str,
        resolver: AbstractResolver | None = None,
        verify: Callable[[], ssl.SSLContext | bool] = lambda: True,
    ) -> None:
        self._limits, self._accept, self._resolver, self._verify = limits, accept, resolver, verify
        self._slots = asyncio.Semaphore(limits.at_once)
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # A connection is not kept: the next fetch resolves and judges anew, and servers cannot hold ours open.
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            use_dns_cache=False,
            force_close=True,
            limit=self._limits.at_once,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # no proxy, no .netrc
            auto_decompress=False,  # what is not inflated cannot be a bomb
            headers={"Accept": self._accept, "Accept-Encoding": "identity"},
            skip_auto_headers=("User-Agent",),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str, *, etag: str = "") -> Answer:
        """Returns the answer to one GET.

        Args:
            url: http or https; its address has been judged, or is judged by the resolver.
            etag: The mark of what the caller has; an unchanged answer has no body then.

        Raises:
            Refused: NotFound, Redirect, BadStatus, Encoded, TooLarge, Timeout, Tls, Unreachable or BadAnswer.
        """
        async with self._slots:
            try:
                async with asyncio.timeout(self._limits.seconds):
                    return await self._get(url, etag)
            except TimeoutError as error:
                raise Refused("Timeout", f"no complete answer within {self._limits.seconds:g} s") from error
            except aiohttp.ClientConnectorCertificateError as error:
                raise Refused("Tls", "the server's certificate does not verify") from error
            except aiohttp.ClientSSLError as error:
                raise Refused("Tls", "no TLS connection could be made") from error
            except aiohttp.ClientConnectorError as error:
                raise Refused("Unreachable", "no connection could be made") from error
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise Refused("BadAnswer", f"no valid HTTP answer ({type(error).__name__})") from error

    async def _get(self, url: str, etag: str) -> Answer:
        assert self._session is not None, "used outside its async with block"  # noqa: S101  # a defect of ours
        headers = {"If-None-Match": etag} if etag else None
        async with self._session.get(url, headers=headers, allow_redirects=False, ssl=self._verify()) as answer:
            if answer.status == _NOT_MODIFIED and etag:
                return Answer(None, etag)
            _check(answer.status, answer.headers)
            return Answer(await self._body(answer.content), _etag(answer.headers.get("ETag", "")))

    async def _body(self, content: aiohttp.StreamReader) -> bytes:
        """Returns the body; more than the limit is not read to its end."""
        read = bytearray()
        if await self._read(content, read, min(_SMALL, self._limits.bytes)):
            async with self._large:
                if await self._read(content, read, self._limits.bytes):
                    raise Refused("TooLarge", f"the answer is larger than {self._limits.bytes // 1024} KiB")
        return bytes(read)

    async def _read(self, content: aiohttp.StreamReader, read: bytearray, limit: int) -> bool:
        """Reads on; returns whether there is more than that."""
        while len(read) <= limit:
            chunk = await content.read(min(_CHUNK, limit + 1 - len(read)))
            if not chunk:
                return False
            read += chunk
        return True


def _check(status: int, headers: Mapping[str, str]) -> None:
    if status == _NOT_FOUND:
        raise Refused("NotFound", "answered 404")
    if 300 <= status < 400 and status != _NOT_MODIFIED:
        raise Refused("Redirect", f"answered {status}, a redirect, which is never followed")
    if status != _OK:
        raise Refused("BadStatus", f"answered {status}")
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused("Encoded", "the answer is compressed although that was not asked for")


def _etag(text: str) -> str:
    return text if len(text) <= _LONGEST_ETAG and text.isascii() and text.isprintable() else ""
