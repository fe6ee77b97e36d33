"""When pods may be evicted: what the registered webhook says of itself, asked over TLS."""

import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.e2e.plane.certificates import mint_authority
from tests.unit.operator.test_webhook_ready import ask

JSON = Any  # a raw MutatingWebhookConfiguration

PODS = {"resources": ["pods"], "operations": ["CREATE"]}
AUTHORITY, OTHER = mint_authority("authority"), mint_authority("another")


def configuration(port: int, authority: bytes = AUTHORITY.certificate_pem) -> JSON:
    """One entry, by URL."""
    client = {"url": f"https://127.0.0.1:{port}/mutate/pods", "caBundle": base64.b64encode(authority).decode()}
    return {
        "metadata": {"name": "kagenti-injector"},
        "webhooks": [{"name": "inject-cr.kagenti.io", "clientConfig": client, "rules": [PODS]}],
    }


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The webhook's certificate."""
    folder: Path = tmp_path_factory.mktemp("tls")
    certificate, key = AUTHORITY.issue("webhook", dns=["localhost"], ips=["127.0.0.1"])
    (folder / "tls.pem").write_bytes(certificate + key)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "tls.pem")
    return made


@asynccontextmanager
async def webhook(context: ssl.SSLContext, status: int, body: bytes) -> AsyncIterator[int]:
    """A webhook that says that of itself; yields its port."""

    async def answer(request: web.BaseRequest) -> web.Response:
        assert request.path == "/readyz"
        return web.Response(status=status, body=body)

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


SAYS: list[tuple[str, int, bytes, str]] = [
    ("ready", 200, b"{}", ""),
    ("says what is missing", 503, b'{"missing": ["caches are being warmed"]}', "caches are being warmed"),
    ("says nothing of use", 500, b"<html>", "HTTP 500"),
    ("sends us elsewhere", 302, b"{}", "HTTP 302"),
]


@pytest.mark.parametrize(("why", "status", "body", "missing"), SAYS, ids=[row[0] for row in SAYS])
async def test_it_is_as_ready_as_it_says(
    context: ssl.SSLContext, why: str, status: int, body: bytes, missing: str
) -> None:
    """Each row: the answer of /readyz, and what is said to be missing."""
    async with webhook(context, status, body) as port:
        found, scope = await ask(configuration(port))
    assert (found.ready, bool(found.missing)) == (not missing, bool(missing)), why
    assert missing in found.missing
    assert scope


async def test_a_certificate_that_the_api_server_would_refuse_is_no_webhook(context: ssl.SSLContext) -> None:
    """The caBundle of the configuration alone is trusted."""
    async with webhook(context, 200, b"{}") as port:
        found, _ = await ask(configuration(port, OTHER.certificate_pem))
    assert not found.ready
    assert "does not answer" in found.missing


async def test_nobody_there_is_no_webhook() -> None:
    """Port 1 of loopback has no server."""
    found, _ = await ask(configuration(1))
    assert not found.ready
