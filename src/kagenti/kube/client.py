"""Raw requests to one API server: bytes in and bytes out, each with the token of its moment; refusals as our errors."""

import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Self

import aiohttp
import orjson

from kagenti import errors
from kagenti.kube.answers import refusal
from kagenti.kube.connection import Connection

JSON = Any  # a Kubernetes Status as received, or a manifest

# The kubelet rewrites a projected token at 80 % of its life; a minute's delay in reading it is far within that.
_TOKEN_AGE: Final = 60.0
DEFAULT_TIMEOUT: Final = 10.0


class _Token:
    """The bearer token of a connection, read again as its file is rotated."""

    def __init__(self, connection: Connection) -> None:
        self._file = connection.token_file
        self._text, self._read = connection.token, -_TOKEN_AGE

    def current(self) -> str:
        if self._file is not None and time.monotonic() - self._read > _TOKEN_AGE:
            self._text, self._read = self._file.read_text().strip(), time.monotonic()
        return self._text


def _session(connection: Connection, *middlewares: aiohttp.ClientMiddlewareType) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(ssl=connection.tls or False, limit=0, keepalive_timeout=60)
    # trust_env stays off: a proxy variable must not send our token elsewhere.
    return aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=None), middlewares=middlewares
    )


def open_session(connection: Connection, *, user_agent: str) -> aiohttp.ClientSession:
    """Returns a session for a library that makes its own requests: each one carries the token of its moment.

    To be called on the event loop that will use it, and closed there.
    """
    token = _Token(connection)

    async def authorize(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        request.headers["User-Agent"] = user_agent
        if text := token.current():
            request.headers["Authorization"] = f"Bearer {text}"
        return await handler(request)

    return _session(connection, authorize)


class KubeClient:
    """Requests to one API server over keep-alive connections; an async context manager."""

    def __init__(self, connection: Connection, *, user_agent: str = "kagenti") -> None:
        self._connection = connection
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None
        self._token = _Token(connection)

    async def __aenter__(self) -> Self:
        self._session = _session(self._connection)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def _headers(self, accept: str, content_type: str) -> dict[str, str]:
        headers = {"Accept": accept, "User-Agent": self._user_agent, "Accept-Encoding": "identity"}
        if content_type:
            headers["Content-Type"] = content_type
        token = self._token.current()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    @asynccontextmanager
    async def stream(self, path: str, params: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """Opens a GET whose body is read as it comes; the caller bounds the waiting, and may leave before its end."""
        session = self._require_session()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=DEFAULT_TIMEOUT)
        async with session.get(
            self._connection.server + path,
            params=params,
            headers=self._headers("application/json", ""),
            timeout=timeout,
        ) as answer:
            with _dropped_if_left(answer):
                yield answer

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "",
        accept: str = "application/json",
        timeout: float = DEFAULT_TIMEOUT,
    ) -> bytes:
        """Returns the body of a 2xx answer within ``timeout`` seconds; raises the ClusterError that the answer means."""
        session = self._require_session()
        try:
            async with session.request(
                method,
                self._connection.server + path,
                params=params,
                data=body,
                headers=self._headers(accept, content_type),
                timeout=aiohttp.ClientTimeout(total=timeout),
            ) as answer:
                with _dropped_if_left(answer):
                    text = await answer.read()
                if answer.status >= 300:  # HTTP: not a success
                    raise refusal(answer.status, text, what=f"{method} {path}", headers=answer.headers)
                return text
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            said = str(problem) or type(problem).__name__
            raise errors.Unreachable(
                f"{method} {path} got no answer from the API server: {said}; try again"
            ) from problem

    async def get(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        accept: str = "application/json",
        timeout: float = DEFAULT_TIMEOUT,
    ) -> bytes:
        """Returns the body of a GET; ``accept`` is for what is no object of Kubernetes."""
        return await self.request("GET", path, params=params, accept=accept, timeout=timeout)

    async def post(self, path: str, body: JSON, *, timeout: float = DEFAULT_TIMEOUT) -> bytes:
        """Returns the body of the answer to a POST of one object."""
        return await self.request(
            "POST", path, body=orjson.dumps(body), content_type="application/json", timeout=timeout
        )

    async def apply(self, path: str, manifest: JSON, *, manager: str, timeout: float = DEFAULT_TIMEOUT) -> bytes:
        """Returns the object after a forced server-side apply (Kubernetes: "Server-Side Apply", field management).

        ``manager`` owns afterwards exactly the fields that the manifest names; those it owned before and does not name
        any more are removed. ``metadata.uid`` in the manifest makes the write fail (Conflict) for another object of that
        name, but for the status of a custom resource: there the API server puts the stored metadata in its place unread
        (apiextensions-apiserver, statusStrategy.PrepareForUpdate), and the answer's uid is what tells.
        """
        return await self.request(
            "PATCH",
            path,
            params={"fieldManager": manager, "force": "true"},
            body=as_yaml(manifest),
            content_type="application/apply-patch+yaml",  # there is no other type for it
            timeout=timeout,
        )

    @property
    def server(self) -> str:
        """URL of the API server."""
        return self._connection.server

    def _require_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise errors.Defect("KubeClient is used outside its async with block")
        return self._session


@contextmanager
def _dropped_if_left(answer: aiohttp.ClientResponse) -> Iterator[None]:
    """Ends the connection of an answer that is left before its end, without waiting for the peer.

    Closing would first exchange TLS shutdowns, which a peer may never answer, and which nobody waits for: aiohttp
    forgets a connection that it does not keep.
    """
    try:
        yield
    finally:
        connection = answer.connection  # None once the body has been read to its end
        if connection is not None and connection.transport is not None:
            connection.transport.abort()


# Characters that stand as they are in JSON, but that YAML 1.1 refuses (section 5.1) or reads as a line break (5.4).
_NOT_OF_YAML: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def as_yaml(manifest: JSON) -> bytes:
    """Returns a manifest as JSON that is YAML too: an agent's card may hold any character there is."""
    text = orjson.dumps(manifest).decode()
    return _NOT_OF_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()
