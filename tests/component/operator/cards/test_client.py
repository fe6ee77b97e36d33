"""Asking hostile agents: real sockets on loopback, which is opened here as the administrator may open it."""

import asyncio
import ipaddress
import json
import ssl
import time
from pathlib import Path
from typing import Any, Final

import pytest

from kagenti.core import cards
from kagenti.core.cards import AgentPod, Port
from kagenti.operator.cards.client import CardClient, NoCard, Reply
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
from tests.unit.core.cards.given import pod
from tests.unit.webhook.conftest import make_authority
from tests.unit.xds.waiting import eventually

GOOD: Final = json.dumps({"name": "Weather", "secret": 1}).encode()
LOOPBACK: Final = (ipaddress.ip_network("127.0.0.0/8"),)
NEW, OLD = cards.endpoint.PATHS


def _pod(origin: str, **given: Any) -> AgentPod:
    return pod("weather-a", ip="127.0.0.1", ports=(Port(int(origin.rpartition(":")[2])),), **given)


async def _ask(serve: Serve, *, seconds: float = 2.0, endpoint: Any = None, **kwargs: Any) -> Reply:
    async with server(serve) as origin, CardClient(networks=LOOPBACK, seconds=seconds) as client:
        return await client.ask(_pod(origin), endpoint or {}, **kwargs)


async def _refused(serve: Serve, *, seconds: float = 2.0) -> NoCard:
    with pytest.raises(NoCard) as refused:
        await _ask(serve, seconds=seconds)
    assert "secret" not in str(refused.value)
    return refused.value


def _by_path(**served: Serve) -> Serve:
    """Serves by the last word of the path; 404 for all else."""

    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        path = request.split(b" ")[1].decode()
        known = {NEW: served.get("new"), OLD: served.get("old")}
        await (known.get(path) or answer(b"secret", status="404 Not Found"))(request, writer)

    return serve


class TestPaths:
    """The new path, the old one on 404 only, or the one that the spec names."""

    async def test_new_before_old(self) -> None:
        """Both are served: the old one is not asked."""
        reply = await _ask(_by_path(new=answer(GOOD, 'ETag: "7"'), old=answer(b"old")))
        assert (reply.url.partition("/.")[2], reply.answer.body, reply.answer.etag) == (
            "well-known/agent-card.json", GOOD, '"7"',
        )  # fmt: skip

    async def test_old_on_404(self) -> None:
        """Agents that are older than A2A 0.3."""
        reply = await _ask(_by_path(old=answer(GOOD)))
        assert (reply.url.endswith(OLD), reply.answer.body) == (True, GOOD)

    async def test_other_errors_are_final(self) -> None:
        """An agent in trouble is not asked twice as often."""
        with pytest.raises(NoCard) as refused:
            await _ask(_by_path(new=answer(b"", status="500 Oops"), old=answer(GOOD)))
        assert (refused.value.refused.code, refused.value.url.endswith(NEW)) == ("BadStatus", True)

    async def test_neither(self) -> None:
        """Both are named."""
        with pytest.raises(NoCard, match=r"agent\.json: answered 404, and so was .*agent-card\.json") as refused:
            await _ask(_by_path())
        assert refused.value.refused.code == "NotFound"

    async def test_the_specs_own(self) -> None:
        """No other is asked then."""
        with pytest.raises(NoCard, match=r"card: answered 404$"):
            await _ask(_by_path(new=answer(GOOD), old=answer(GOOD)), endpoint={"path": "/.well-known/card"})

    async def test_an_etag_goes_to_the_url_that_it_came_from(self) -> None:
        """304 has no body; another URL is asked anew."""
        requests: list[bytes] = []
        unchanged = answer(b"", status="304 Not Modified")
        async with server(unchanged, requests=requests) as origin, CardClient(networks=LOOPBACK) as client:
            reply = await client.ask(_pod(origin), {}, known=(f"{origin}{NEW}", '"7"'))
            assert (reply.answer.body, reply.answer.etag) == (None, '"7"')
            with pytest.raises(NoCard, match="answered 304"):
                await client.ask(_pod(origin), {}, known=("http://127.0.0.2/", '"7"'))
        assert [b"If-None-Match" in request for request in requests] == [True, False]


async def test_sends_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the environment, no cookie, no credentials, no name and version."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    requests: list[bytes] = []
    async with (
        server(answer(GOOD, "Set-Cookie: a=b"), requests=requests) as origin,
        CardClient(networks=LOOPBACK) as client,
    ):
        await client.ask(_pod(origin), {})
        await client.ask(_pod(origin), {})
    heads = {line.partition(":")[0].lower() for line in requests[1].decode().split("\r\n")[1:] if line}
    assert heads == {"host", "accept", "accept-encoding", "connection"}


@pytest.mark.parametrize(
    ("serve", "code", "reason"),
    [
        (answer(b"", "Location: http://169.254.169.254/latest", status="302 Found"), "Redirect", "metadata server"),
        (answer(b"secret", status="500 Secret"), "BadStatus", "an error with a body"),
        (answer(BOMB, "Content-Encoding: gzip"), "Encoded", "a bomb is never inflated"),
        (answer(b" " * (1024 * 1024 + 1)), "TooLarge", "too large, and it says so"),
        (endless, "TooLarge", "too large without saying so"),
        (nonsense, "BadAnswer", "another protocol"),
        (cut(GOOD[:10]), "BadAnswer", "cut off"),
        (endless_headers, "BadAnswer", "headers without end"),
    ],
)
async def test_tricks_are_refused(serve: Serve, code: str, reason: str) -> None:
    """Each has its bounded code, and the message quotes nothing that the agent said."""
    assert (await _refused(serve)).refused.code == code, reason


async def test_a_mebibyte_is_read() -> None:
    """The limit is of the answer; what of it is kept is judged later."""
    assert len((await _ask(answer(b" " * 1024 * 1024))).answer.body or b"") == 1024 * 1024


@pytest.mark.parametrize("serve", [silent, dripping])
async def test_slow_agents_get_their_seconds(serve: Serve) -> None:
    """The whole fetch is bounded, not each byte of it."""
    begun = time.monotonic()
    assert (await _refused(serve, seconds=0.1)).refused.code == "Timeout"
    assert time.monotonic() - begun < 2


async def test_large_answers_wait_for_few_places() -> None:
    """Eight agents that stop after 64 KiB hold all eight: a ninth answer of that size waits for them, a small one does not."""
    go_on = asyncio.Event()

    async def stops(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n" + b" " * 100_000)
        await go_on.wait()
        writer.write(b" ")

    async with server(stops) as slow, server(answer(b" " * 100_000)) as large, server(answer(GOOD)) as good:
        async with CardClient(networks=LOOPBACK, seconds=10) as client, asyncio.TaskGroup() as group:
            holding = [group.create_task(client.ask(_pod(slow), {})) for _ in range(8)]
            await eventually(client._fetcher._large.locked)
            ninth = group.create_task(client.ask(_pod(large), {}))
            assert (await client.ask(_pod(good), {})).answer.body == GOOD
            assert not any(task.done() for task in (ninth, *holding))
            go_on.set()
        assert {len(task.result().answer.body or b"") for task in (ninth, *holding)} == {100_000, 100_001}


async def _fails(client: CardClient, found: AgentPod) -> str:
    with pytest.raises(NoCard) as refused:
        await client.ask(found, {})
    return refused.value.refused.code


@pytest.mark.parametrize("networks", [(), (ipaddress.ip_network("10.0.0.0/8"),)])
async def test_forbidden_addresses_are_not_dialled(networks: Any) -> None:
    """Not a byte is sent."""
    requests: list[bytes] = []
    async with server(answer(GOOD), requests=requests) as origin, CardClient(networks=networks) as client:
        assert await _fails(client, _pod(origin)) == "ForbiddenAddress"
    assert requests == []


async def test_https_with_whatever_certificate(tmp_path: Path) -> None:
    """None is for a pod's address; what is fetched is untrusted either way."""
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(*make_authority().issue().write(tmp_path))

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await answer(GOOD)(b"", writer)
        await writer.drain()
        writer.close()

    async with (
        await asyncio.start_server(speak, "127.0.0.1", 0, ssl=served) as agent,
        CardClient(networks=LOOPBACK) as client,
    ):
        origin = f"http://127.0.0.1:{agent.sockets[0].getsockname()[1]}"
        reply = await client.ask(_pod(origin), {"scheme": "https"})
    assert (reply.url, reply.answer.body) == (origin.replace("http", "https") + NEW, GOOD)


async def test_ipv6() -> None:
    """In brackets, and dialled as it stands."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await answer(GOOD)(b"", writer)
        writer.close()

    networks = (ipaddress.ip_network("::1/128"),)
    async with await asyncio.start_server(speak, "::1", 0) as agent, CardClient(networks=networks) as client:
        port = agent.sockets[0].getsockname()[1]
        reply = await client.ask(pod("a", ip="::1", ports=(Port(port),)), {})
    assert (reply.url, reply.answer.body) == (f"http://[::1]:{port}{NEW}", GOOD)


async def test_https_without_tls() -> None:
    """The scheme is the spec's; the agent speaks plain HTTP, and says so to the handshake."""

    def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\nsecret")
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as plain, CardClient(networks=LOOPBACK) as client:
        origin = f"http://127.0.0.1:{plain.sockets[0].getsockname()[1]}"
        with pytest.raises(NoCard, match="no TLS connection") as refused:
            await client.ask(_pod(origin), {"scheme": "https"})
    assert refused.value.refused.code == "Tls"


async def test_nobody_listens() -> None:
    """A closed port is no more than that."""
    async with server(silent) as origin:
        pass
    async with CardClient(networks=LOOPBACK) as client:
        assert await _fails(client, _pod(origin)) == "Unreachable"
