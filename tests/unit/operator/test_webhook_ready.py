"""When pods may be evicted: only once the registered webhook says itself that it is ready."""

import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from kagenti import errors
from kagenti.core.rollout import Webhook
from kagenti.operator.webhook_ready import WebhookReadiness
from tests.e2e.plane.certificates import mint_authority

JSON = Any  # a raw MutatingWebhookConfiguration

PODS = {"resources": ["pods"], "operations": ["CREATE"]}
AUTHORITY, OTHER = mint_authority("authority"), mint_authority("another")


class Answers:
    """The API server: the configuration, or the error that reading it raises; counts the reads."""

    def __init__(self, answer: JSON) -> None:
        self.answer, self.reads = answer, 0

    async def get(self, path: str, *, timeout: float) -> bytes:
        """Returns it."""
        assert path.endswith("/kagenti-injector")
        assert timeout > 0
        self.reads += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return orjson.dumps(self.answer)


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


async def ask(answer: JSON) -> tuple[Webhook, str | None]:
    """What is found of the webhook, and its scope."""
    readiness = WebhookReadiness(Answers(answer), mode="cr")
    return await readiness(), readiness.scope


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


UNREGISTERED: list[tuple[str, JSON, str, str | None]] = [
    ("not registered", errors.NotFound("no"), "does not exist", ""),
    ("registered without our entry", {"metadata": {"name": "kagenti-injector"}}, "has no entry", ""),
    ("the API server does not answer", errors.Unreachable("no answer"), "cannot be read: no answer", None),
]


@pytest.mark.parametrize(("why", "answer", "missing", "scope"), UNREGISTERED, ids=[row[0] for row in UNREGISTERED])
async def test_what_is_not_registered_is_not_ready(why: str, answer: JSON, missing: str, scope: str | None) -> None:
    """Each row; of an API server that is away nothing is known of whom the webhook is called for."""
    found, known = await ask(answer)
    assert not found.ready, why
    assert missing in found.missing
    assert known == scope


async def test_many_who_want_to_know_are_one_question() -> None:
    """An answer counts for a moment."""
    api, seconds = Answers(errors.NotFound("no")), [0.0]
    readiness = WebhookReadiness(api, mode="cr", now=lambda: seconds[0])
    for _ in range(5):
        await readiness()
    assert api.reads == 1
    seconds[0] = 0.5
    await readiness()
    assert api.reads == 2
