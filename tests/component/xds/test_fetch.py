"""Fetching keys from hostile servers: real sockets on loopback, one server per trick."""

import asyncio
import contextlib
import json
import logging
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from kagenti import errors
from kagenti.core.untrusted import Refused
from kagenti.xds.fetch import Fetched, JwksClient
from kagenti.xds.roots import Roots
from tests.component.fetch.hostile import (
    BOMB,
    Serve,
    answer,
    cut,
    dripping,
    endless,
    endless_headers,
    nonsense,
    server,
    silent,
)
from tests.component.xds.wired import AUTHORITY
from tests.unit.core.test_jwks import EC, RSA
from tests.unit.webhook.conftest import make_authority
from tests.unit.xds.waiting import eventually

GOOD: Final = json.dumps({"keys": [RSA]}).encode()
KEYS: Final = json.dumps({"keys": [RSA]}, sort_keys=True, separators=(",", ":"))


async def _fetch(serve: Serve, *, seconds: float = 2.0, **kwargs: Any) -> Fetched:
    async with server(serve) as origin, JwksClient(providers=lambda: [origin], seconds=seconds) as client:
        return await client(f"{origin}/certs", **kwargs)


async def _refused(serve: Serve, *, seconds: float = 2.0) -> Refused:
    with pytest.raises(Refused) as refused:
        await _fetch(serve, seconds=seconds)
    assert "secret" not in str(refused.value)
    return refused.value


async def test_good_keys_with_their_etag() -> None:
    """Canonical text, and the mark by which the next fetch is cheap."""
    assert await _fetch(answer(GOOD, 'ETag: "7"')) == Fetched(KEYS, '"7"')


async def test_unchanged_keys_are_not_sent_again() -> None:
    """If-None-Match is sent, 304 is understood; a 304 that nobody asked for is an error."""
    requests: list[bytes] = []
    async with (
        server(answer(b"", status="304 Not Modified"), requests=requests) as origin,
        JwksClient(providers=lambda: [origin]) as client,
    ):
        assert await client(f"{origin}/certs", etag='"7"') == Fetched(None, '"7"')
        assert b'If-None-Match: "7"' in requests[0]
        with pytest.raises(Refused, match="304"):
            await client(f"{origin}/certs")


async def test_sends_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no cookie, no credentials, no name and version of the client."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    requests: list[bytes] = []
    async with (
        server(answer(GOOD, "Set-Cookie: a=b"), requests=requests) as origin,
        JwksClient(providers=lambda: [origin]) as client,
    ):
        await client(f"{origin}/certs")
        await client(f"{origin}/certs")
    heads = {line.partition(":")[0].lower() for line in requests[1].decode().split("\r\n")[1:] if line}
    assert heads == {"host", "accept", "accept-encoding", "connection"}


@pytest.mark.parametrize(
    ("serve", "code", "reason"),
    [
        (answer(b"", "Location: http://127.0.0.1/", status="302 Found"), "Redirect", "a redirect is never followed"),
        (answer(b"secret", status="500 Secret"), "BadStatus", "an error"),
        (answer(GOOD, status="206 Partial Content"), "BadStatus", "part of an answer"),
        (answer(b"<html>secret</html>"), "NotJson", "a page"),
        (answer(b'{"secret": 1}'), "NotAKeySet", "other JSON"),
        (answer(b"\xff\xfe{}"), "NotJson", "not UTF-8"),
        (answer(b'{"keys": [{"kty": "oct", "k": "secret"}]}'), "NoUsableKey", "a symmetric key"),
        (answer(b" " * 300_000), "TooLarge", "too large, and it says so"),
        (answer(BOMB, "Content-Encoding: gzip"), "Encoded", "a bomb is never inflated"),
        (endless, "TooLarge", "too large without saying so"),
        (nonsense, "BadAnswer", "another protocol"),
        (cut(GOOD[:20]), "BadAnswer", "cut off"),
        (endless_headers, "BadAnswer", "headers without end"),
    ],
)
async def test_tricks_are_refused(serve: Serve, code: str, reason: str) -> None:
    """Each has its bounded code, and the message quotes nothing that the server said."""
    assert (await _refused(serve)).code == code, reason


@pytest.mark.parametrize("serve", [silent, dripping])
async def test_slow_servers_get_two_seconds(serve: Serve) -> None:
    """The whole fetch is bounded, not each byte of it."""
    begun = time.monotonic()
    assert (await _refused(serve, seconds=0.2)).code == "Timeout"
    assert time.monotonic() - begun < 2


async def test_a_private_authority_is_trusted_beside_the_systems(tmp_path: Path) -> None:
    """``--idp-ca``: without it the certificate does not verify; a file that comes to hold another CA is read again."""
    stranger, file = make_authority("stranger"), tmp_path / "ca.crt"
    file.write_bytes(stranger.pem)
    roots = Roots(file, logging.getLogger("test"), poll=0.01)
    certificate, key = AUTHORITY.issue().write(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with server(answer(GOOD), context=context) as origin, asyncio.TaskGroup() as group:
        watching = group.create_task(roots.run())
        async with JwksClient(providers=lambda: [origin], verify=roots.context) as client:
            with pytest.raises(Refused) as refused:
                await client(f"{origin}/certs")
            before = roots.context()
            file.write_bytes(stranger.pem + AUTHORITY.pem)
            await eventually(lambda: roots.context() is not before)
            fetched = await client(f"{origin}/certs")
        watching.cancel()
    assert (refused.value.code, fetched.keys) == ("Tls", KEYS)


def test_without_a_file_the_systems_roots_stand_alone() -> None:
    """And a file that cannot be used ends the start, with what to do."""
    roots = Roots(None, logging.getLogger("test"), poll=1)
    assert roots.context().get_ca_certs() == ssl.create_default_context().get_ca_certs()
    with pytest.raises(errors.ManifestError, match="mount the CA certificates of the identity providers there"):
        Roots(Path("/nowhere/ca.crt"), logging.getLogger("test"), poll=1)


async def test_nobody_listens() -> None:
    """A closed port is no more than that."""
    async with server(silent) as origin:
        pass
    async with JwksClient(providers=lambda: [origin]) as client:
        with pytest.raises(Refused) as refused:
            await client(f"{origin}/certs")
    assert refused.value.code in ("Unreachable", "Timeout")


class TestAddresses:
    """Where nobody is asked, whatever the URL looks like."""

    @staticmethod
    async def _code(url: str, providers: Sequence[str] = ()) -> str:
        async with JwksClient(providers=lambda: providers) as client:
            with pytest.raises(Refused) as refused:
                await client(url)
        return refused.value.code

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0x7f.0.0.1", "169.254.169.254", "[fe80::1]"])
    async def test_forbidden_before_a_byte_is_sent(self, host: str) -> None:
        """Literals and names alike."""
        requests: list[bytes] = []
        async with server(answer(GOOD), requests=requests) as origin:
            code = await self._code(f"http://{host}:{origin.rpartition(':')[2]}/certs")
        assert (code in ("ForbiddenAddress", "Unreachable"), requests) == (True, [])

    @pytest.mark.parametrize(
        ("provider", "trusted"),
        [("http://localhost:{}", True), ("http://localhost:{}/realms/a", True), ("http://localhost:1", False),
         ("https://localhost:{}", False), ("http://127.0.0.1:{}", False)],
    )  # fmt: skip
    async def test_only_the_very_origin_is_trusted(self, provider: str, trusted: bool) -> None:
        """policy.identityProviders opens scheme, host and port, and nothing beside them."""
        requests: list[bytes] = []
        async with server(answer(GOOD), requests=requests) as origin:
            port = origin.rpartition(":")[2]
            async with JwksClient(providers=lambda: [provider.format(port)]) as client:
                with contextlib.nullcontext() if trusted else pytest.raises(Refused, match="loopback"):
                    await client(f"http://localhost:{port}/certs")
        assert bool(requests) is trusted

    async def test_the_api_server_is_never_asked(self) -> None:
        """Its address and port, by name or by number."""
        async with JwksClient(providers=tuple, api_servers=lambda: {("10.96.0.1", 443)}) as client:
            with pytest.raises(Refused, match="API server"):
                await client("https://10.96.0.1/openid/v1/jwks")

    async def test_credentials_in_the_url_are_refused(self) -> None:
        """They would be sent to whoever answers."""
        assert await self._code("http://user:secret@idp.example/certs") == "BadUrl"


async def test_one_bad_key_does_not_spoil_the_set() -> None:
    """What proxies get is always acceptable to them."""
    body = json.dumps({"keys": [{"kty": "oct", "k": "secret"}, EC, RSA]}).encode()
    fetched = await _fetch(answer(body))
    assert fetched.keys is not None
    assert [key["kid"] for key in json.loads(fetched.keys)["keys"]] == ["b", "a"]
