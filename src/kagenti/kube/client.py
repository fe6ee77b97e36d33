"""Raw requests to one API server: addresses and credentials from a kubeconfig or the pod, bytes in and bytes out."""

import base64
import os
import re
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import orjson

from kagenti import errors

JSON = Any  # a kubeconfig, or a Kubernetes Status as received

_POD_CREDENTIALS: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# The kubelet rewrites a projected token at 80 % of its life; a minute's delay in reading it is far within that.
_TOKEN_AGE: Final = 60.0
DEFAULT_TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the API server is and who we are: ``token_file`` is read again as it is rotated."""

    server: str
    tls: ssl.SSLContext | None
    token: str = ""
    token_file: Path | None = None


def connect(kubeconfig: str = "") -> Connection:
    """Returns the connection of a kubeconfig (argument, KUBECONFIG, home) or of the pod; raises UsageError without one."""
    if not kubeconfig and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _from_pod()
    for path in (kubeconfig, os.environ.get("KUBECONFIG", ""), str(Path.home() / ".kube" / "config")):
        if path and Path(path).exists():
            return _from_kubeconfig(Path(path))
        if path == kubeconfig and kubeconfig:
            raise errors.UsageError(f"kubeconfig {kubeconfig!r} does not exist; name another with --kubeconfig")
    raise errors.UsageError("no cluster: not in a pod, and no kubeconfig found; set KUBECONFIG or use --kubeconfig")


def _from_pod() -> Connection:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    context = ssl.create_default_context(cafile=str(_POD_CREDENTIALS / "ca.crt"))
    return Connection(f"https://{host}:{port}", context, token_file=_POD_CREDENTIALS / "token")


def _from_kubeconfig(path: Path) -> Connection:
    config = _load(path)
    try:
        chosen = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], chosen["cluster"])["cluster"]
        user = _named(config["users"], chosen["user"]).get("user") or {}
        server = str(cluster["server"])
    except (KeyError, TypeError) as problem:
        raise errors.UsageError(
            f"kubeconfig {str(path)!r} has no usable current context: {problem}; mend it"
        ) from problem
    if "exec" in user or "auth-provider" in user:
        user = {"token": _plugin_token(path)}
    token_file = user.get("tokenFile")
    return Connection(
        server=server.rstrip("/"),
        tls=_context(cluster, user, base=path.parent) if server.startswith("https") else None,
        token=user.get("token") or "",
        token_file=Path(token_file) if token_file else None,
    )


def _load(path: Path) -> JSON:
    text = path.read_bytes()
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        from ruamel.yaml import YAML  # lazily: the webhook in a pod never needs it
        from ruamel.yaml.error import YAMLError

        try:
            return YAML(typ="safe", pure=True).load(text)
        except YAMLError as problem:
            raise errors.UsageError(f"kubeconfig {str(path)!r} is not YAML: {problem}; mend it") from problem


def _named(entries: list[JSON], name: str) -> JSON:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise KeyError(name)


def _plugin_token(path: Path) -> str:
    """Returns the token of an exec plugin or auth provider, through the official client (it takes over a second)."""
    import asyncio

    from kubernetes.aio import client, config

    async def load() -> str:
        configuration = client.Configuration()
        await config.load_kube_config(  # type: ignore[no-untyped-call]  # the official client has no types
            config_file=str(path), client_configuration=configuration
        )
        value: str = (configuration.api_key or {}).get("authorization", "") or configuration.api_key.get(
            "BearerToken", ""
        )
        return value.removeprefix("Bearer ")

    return asyncio.run(load())


def _context(cluster: Mapping[str, JSON], user: Mapping[str, JSON], *, base: Path) -> ssl.SSLContext:
    authority = cluster.get("certificate-authority-data")
    file = cluster.get("certificate-authority")
    context = ssl.create_default_context(
        cadata=base64.b64decode(authority).decode() if authority else None,
        cafile=str(base / file) if file and not authority else None,
    )
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if user.get("client-certificate-data"):
        _load_inline(context, user)
    elif user.get("client-certificate"):
        context.load_cert_chain(str(base / user["client-certificate"]), str(base / user["client-key"]))
    return context


def _load_inline(context: ssl.SSLContext, user: Mapping[str, JSON]) -> None:
    """Loads an inline client certificate; the ssl module reads files only."""
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(
            base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"])
        )
        pair.flush()
        context.load_cert_chain(pair.name)


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


_BY_STATUS: Final[Mapping[int, type[errors.ClusterError]]] = {
    401: errors.Forbidden,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    410: errors.Gone,
}


def refusal(status: int, body: bytes, *, what: str, headers: Mapping[str, str]) -> errors.ClusterError:
    """Returns the error that an answer of the API server means, with the server's own words."""
    message = f"{what} was answered {status}: {_said(body)}"
    if status == 429:  # HTTP: too many requests
        return errors.TooManyRequests(message, retry_after=_seconds(headers.get("Retry-After", "")))
    if status == 422 and _is_about_uid(body):  # HTTP: unprocessable; a precondition says 409, an immutable field this
        return errors.Conflict(message)
    return _BY_STATUS.get(status, errors.Unreachable)(message)


def _is_about_uid(body: bytes) -> bool:
    """Whether a write is refused because the object of that name is another one than the writer knew."""
    try:
        causes = orjson.loads(body)["details"]["causes"]
        return any(cause["field"] == "metadata.uid" for cause in causes)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return False


def _said(body: bytes) -> str:
    try:
        status = orjson.loads(body)
        return str(status["message"])[:500]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return body[:200].decode(errors="replace")


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() else None
