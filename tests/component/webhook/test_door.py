"""The HTTP side over real TLS: paths, methods, limits, hostile bodies and client certificates."""

import asyncio
import io
import ssl
from collections.abc import Callable

import aiohttp
import orjson
import pytest

from tests.component.webhook.conftest import Running
from tests.unit.webhook.conftest import Authority
from tests.unit.xds.waiting import eventually

JSON = {"Content-Type": "application/json"}
Make = Callable[..., Running]


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "message"),
    [
        ("POST", "/mutate/pods?timeout=5s", JSON, b"{}", 200, None),
        ("POST", "/mutate/pods", {"Content-Type": "application/json; charset=utf-8"}, b"{}", 200, None),
        ("GET", "/mutate/pods", {}, None, 405, "/mutate/pods takes POST of an AdmissionReview, not GET"),
        ("POST", "/healthz", JSON, b"{}", 405, "/healthz takes GET, not POST"),
        (
            "GET", "/", {}, None, 404,
            "no such path; there are /healthz, /metrics, /mutate/pods, /readyz",
        ),
        (
            "POST", "/mutate/pods", {"Content-Type": "text/plain"}, b"{}", 415,
            'Content-Type is "text/plain", want "application/json"',
        ),
        (
            "POST", "/mutate/pods", JSON, b" " * (10 * 1024 * 1024), 413,
            "the body is larger than 8388608 bytes; no object of a cluster is",
        ),
    ],
)  # fmt: skip
async def test_paths_and_limits(
    running: Make, method: str, path: str, headers: dict[str, str], body: bytes | None, status: int, message: str | None
) -> None:
    """What is no review gets one clean answer, and is counted."""
    async with running() as webhook, webhook.session() as session:
        async with session.request(method, path, data=io.BytesIO(body) if body else None, headers=headers) as response:
            answer = await response.json()
        assert response.status == status
        if message is not None:
            assert answer == {"code": status, "message": message}
            assert webhook.metrics.refused == {status: 1}
        async with session.get("/healthz") as response:
            assert response.status == 200


async def test_large_body_without_a_length_is_refused(running: Make) -> None:
    """A chunked body is counted while it is read."""

    async def chunks():
        for _ in range(20):
            yield b" " * 1024

    async with (
        running(body_limit=4096) as webhook,
        webhook.session() as session,
        session.post("/mutate/pods", data=chunks(), headers=JSON) as response,
    ):
        assert response.status == 413


async def test_busy_is_told_to_the_entry(running: Make) -> None:
    """Past the limit of decisions at once an entry still gets the body, so that it can answer with the uid."""
    gate = asyncio.Event()
    busy: list[bool] = []

    async def entry(body: bytes, is_busy: bool) -> bytes:
        busy.append(is_busy)
        await gate.wait()
        return b"{}"

    async with running(concurrency=1, entries={"/mutate/pods": entry}) as webhook, webhook.session() as session:
        posts = [asyncio.create_task(_status(session)) for _ in range(4)]
        await eventually(lambda: len(busy) == 4)
        gate.set()
        assert await asyncio.gather(*posts) == [200] * 4
        assert busy == [False, True, True, True]
        assert webhook.metrics.in_flight == 0


async def test_connections_that_send_no_body_keep_nobody_out(running: Make) -> None:
    """Headers alone take no part of the concurrency, and their seats go to those who come later."""
    busy: list[bool] = []

    async def entry(body: bytes, is_busy: bool) -> bytes:
        busy.append(is_busy)
        return b"{}"

    async with running(concurrency=2, entries={"/mutate/pods": entry}) as webhook:
        idle = [await _headers_only(webhook, "/mutate/pods") for _ in range(12)]
        await eventually(lambda: webhook.metrics.refused[503] == 4)
        async with webhook.session() as session:
            assert [await _status(session) for _ in range(3)] == [200] * 3
        assert busy == [False] * 3
        for writer in idle:
            writer.close()


async def test_advisory_entries_take_no_room_from_pods(running: Make) -> None:
    """However many advisory reviews are being decided, a pod's review is not told that the process is busy."""
    gate = asyncio.Event()
    seen: list[tuple[str, bool]] = []

    async def advise(body: bytes, is_busy: bool) -> bytes:
        seen.append(("advise", is_busy))
        await gate.wait()
        return b"{}"

    async def mutate(body: bytes, is_busy: bool) -> bytes:
        seen.append(("pods", is_busy))
        return b"{}"

    entries = {"/mutate/pods": mutate, "/advise": advise}
    async with running(concurrency=4, entries=entries) as webhook, webhook.session() as session:
        posts = [asyncio.create_task(_status(session, "/advise")) for _ in range(8)]
        await eventually(lambda: len(seen) == 8)
        assert await _status(session) == 200
        gate.set()
        await asyncio.gather(*posts)
    assert seen[0] == ("advise", False)
    assert set(seen[1:8]) == {("advise", True)}
    assert seen[8] == ("pods", False)


async def _headers_only(webhook: Running, path: str) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection(
        "127.0.0.1", webhook.process.port, ssl=webhook.client_context(), server_hostname="localhost"
    )
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    writer.write(head.encode())
    await writer.drain()
    return writer


async def _status(session: aiohttp.ClientSession, path: str = "/mutate/pods") -> int:
    async with session.post(path, data=b"{}", headers=JSON) as response:
        await response.read()
        return response.status


async def test_garbage_on_the_wire_leaves_the_process_alive(running: Make) -> None:
    """Bytes that are no HTTP, and bytes that are no TLS, end one connection only."""
    async with running() as webhook:
        hostile = ((webhook.client_context(), b"\x00\xff" * 99 + b"\r\n\r\n"), (None, b"\x16\x03\x01 no hello\n"))
        for context, data in hostile:
            name = "localhost" if context else None
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", webhook.process.port, ssl=context, server_hostname=name
            )
            writer.write(data)
            writer.write_eof() if context is None else None
            async with asyncio.timeout(5):
                await reader.read()
            writer.close()
        async with webhook.session() as session, session.get("/healthz") as response:
            assert response.status == 200


class TestClientCertificate:
    """With a client CA only the API server may post; kubelets still probe without a certificate."""

    @pytest.fixture
    def make(self, running: Make, tmp_path, authority: Authority) -> Callable[[], Running]:
        client_ca = tmp_path / "client-ca.crt"
        client_ca.write_bytes(authority.pem)
        return lambda: running(client_ca=client_ca)

    async def test_probes_need_none_and_reviews_do(self, make: Callable[[], Running]) -> None:
        """No certificate: 200 for a probe, 401 for a review."""
        async with make() as webhook, webhook.session() as session:
            async with session.get("/healthz") as response:
                assert response.status == 200
            async with session.post("/mutate/pods", data=b"{}", headers=JSON) as response:
                assert (response.status, (await response.json())["code"]) == (401, 401)

    async def test_good_one_is_let_in(self, make: Callable[[], Running], authority: Authority) -> None:
        """One of the client CA posts."""
        pair = authority.issue(name="kube-apiserver", client=True)
        async with make() as webhook, webhook.session(pair) as session:
            assert await _status(session) == 200

    async def test_foreign_one_ends_the_handshake(
        self, make: Callable[[], Running], other_authority: Authority
    ) -> None:
        """One of another CA gets no HTTP answer at all."""
        pair = other_authority.issue(name="kube-apiserver", client=True)
        async with make() as webhook, webhook.session(pair) as session:
            with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
                await _status(session)


async def test_metrics_and_readiness_share_the_port(running: Make) -> None:
    """Prometheus and kubelet use the port of the reviews."""
    async with running() as webhook, webhook.session() as session:
        await webhook.ready()
        async with session.get("/metrics") as response:
            assert "kagenti_webhook_certificate_seconds_left" in await response.text()
        async with session.get("/readyz") as response:
            assert (response.status, orjson.loads(await response.read())) == (200, {"ready": True, "missing": []})


@pytest.mark.parametrize(
    ("reason", "version", "header", "stays"),
    [
        ("the rule", "1.1", "", True),
        ("the client leaves", "1.1", "Connection: close\r\n", False),
        ("an old client", "1.0", "", False),
        ("an old client that would stay", "1.0", "Connection: keep-alive\r\n", False),
    ],
)
async def test_an_answer_says_whether_the_connection_stays(
    running: Make, reason: str, version: str, header: str, stays: bool
) -> None:
    """And the server does what it says: the next review is answered, or the connection ends."""
    body = b"{}"
    head = f"POST /mutate/pods HTTP/{version}\r\nHost: x\r\n{header}Content-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    async with running() as webhook, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", webhook.process.port, ssl=webhook.client_context(), server_hostname="localhost"
        )
        writer.write(request)
        answered = await reader.readuntil(b"}")
        assert answered.startswith(b"HTTP/1.1 200 OK\r\n"), reason
        assert (b"Connection: close" in answered) is not stays, reason
        if stays:
            writer.write(request)
            assert await reader.readuntil(b"}") == answered, reason
        else:
            assert await reader.read() == b"", reason
        writer.close()
