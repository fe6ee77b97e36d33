"""Life of a process: becoming ready, reloading under load, draining, and dying when a part of it does."""

import asyncio
import base64
from collections.abc import Callable

import aiohttp
import pytest

from kagenti import errors
from tests.component.webhook.conftest import FakeFeed, Running
from tests.unit.webhook.conftest import Authority
from tests.unit.xds.waiting import eventually

JSON = {"Content-Type": "application/json"}
Make = Callable[..., Running]


async def _post(session: aiohttp.ClientSession) -> aiohttp.ClientResponse:
    async with session.post("/mutate/pods", data=b"{}", headers=JSON) as response:
        await response.read()
        return response


async def _missing(session: aiohttp.ClientSession) -> tuple[int, list[str]]:
    async with session.get("/readyz") as response:
        return response.status, (await response.json())["missing"]


async def test_not_ready_says_what_is_missing(running: Make) -> None:
    """Readiness names the cache and the cure; it holds as soon as the cache does."""
    feed = FakeFeed()
    feed.lacking = "CRD agentruntimes.kagenti.io is missing: run kagenti crds --apply"
    async with running(feeds=[feed]) as webhook, webhook.session() as session:
        assert await _missing(session) == (503, [feed.lacking])
        feed.lacking = ""
        await webhook.ready()
        assert await _missing(session) == (200, [])


class TestReload:
    """A new pair on disk, without a restart."""

    async def test_open_connections_live_through_it(self, running: Make, authority: Authority) -> None:
        """A keep-alive connection goes on; the next handshake shows the new leaf; no review fails."""
        async with running() as webhook, webhook.session() as session:
            before = (await _post(session)).connection
            assert before is None  # released to the pool, still open
            authority.issue(days=60).write(webhook.folder)
            await eventually(lambda: webhook.process.certificates.reloads == 1)
            assert (await _post(session)).status == 200
            async with webhook.session() as fresh:
                assert (await _post(fresh)).status == 200
            assert [line["message"] for line in webhook.logged].count("certificate reloaded") == 1

    async def test_mismatched_pair_changes_nothing_but_a_log_line(self, running: Make, authority: Authority) -> None:
        """New handshakes still succeed while the files on disk do not fit together."""
        async with running() as webhook:
            (webhook.folder / "tls.crt").write_bytes(authority.issue().certificate)
            await eventually(lambda: webhook.process.certificates.failures == 1)
            for _ in range(3):
                async with webhook.session() as session:
                    assert (await _post(session)).status == 200
            async with webhook.session() as session, session.get("/metrics") as response:
                assert "kagenti_webhook_certificate_reload_failures_total 1.0" in await response.text()


class TestDraining:
    """SIGTERM: readiness fails, reviews are served with Connection: close, then the process ends with 0."""

    async def test_serves_on_and_asks_to_leave(self, running: Make) -> None:
        """An open connection gets its answer and is closed; new ones are still taken."""
        async with running(shutdown_grace=0.5) as webhook, webhook.session() as session:
            await webhook.ready()
            assert (await _post(session)).headers.get("Connection") is None
            webhook.stop.set()
            await eventually(lambda: webhook.process.door.draining)
            assert await _missing(session) == (503, ["shutting down"])
            response = await _post(session)
            assert (response.status, response.headers["Connection"]) == (200, "close")
            assert await asyncio.wait_for(webhook.task, 10) == 0

    async def test_review_in_hand_is_finished(self, running: Make) -> None:
        """A review that is being decided when the grace ends still gets its answer."""
        started, gate = asyncio.Event(), asyncio.Event()

        async def entry(body: bytes, busy: bool) -> bytes:
            started.set()
            await gate.wait()
            return b'{"done": true}'

        async with (
            running(entries={"/mutate/pods": entry}, shutdown_grace=0.3) as webhook,
            webhook.session() as session,
        ):
            post = asyncio.create_task(_post(session))
            await started.wait()
            webhook.stop.set()
            await eventually(lambda: webhook.process.door.draining)
            gate.set()
            assert (await post).status == 200


class TestSupervision:
    """A part that ends takes the process with it: a webhook never decides from a dead cache."""

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [(RuntimeError("boom"), "a reflector crashed"), (None, "a reflector returned, which is as bad")],
    )
    async def test_dead_feed_ends_the_process(self, running: Make, fault: Exception | None, reason: str) -> None:
        """Exit code 1 and a log line that names the part."""
        feed = FakeFeed()
        feed.fault = fault
        async with running(feeds=[feed]) as webhook:
            feed.die.set()
            assert await asyncio.wait_for(webhook.task, 10) == 1, reason
            (line,) = [line for line in webhook.logged if line["level"] == "critical"]
            assert line["part"] == "cache of agentruntimes"


class TestTrust:
    """Readiness against the live caBundle."""

    async def test_unread_wrong_then_right_bundle(
        self, running: Make, authority: Authority, other_authority: Authority
    ) -> None:
        """Not ready until the bundle in the cluster verifies our leaf."""
        bundle = {"pem": other_authority.pem}

        async def configuration() -> object:
            if not bundle["pem"]:
                raise errors.NotFound("gone")
            client = {"url": "https://localhost", "caBundle": base64.b64encode(bundle["pem"]).decode()}
            return {"metadata": {"name": "kagenti-injector"}, "webhooks": [{"name": "one", "clientConfig": client}]}

        def missing() -> str:
            return " ".join(webhook.process.readiness().missing)

        async with running(configuration=configuration, webhook_configuration="kagenti-injector") as webhook:
            await eventually(lambda: "does not verify the serving certificate" in missing())
            bundle["pem"] = b""
            await eventually(lambda: "MutatingWebhookConfiguration kagenti-injector does not exist" in missing())
            bundle["pem"] = authority.pem
            await webhook.ready()

    async def test_a_leaf_that_only_a_handshake_shows_to_be_useless(self, running: Make, authority: Authority) -> None:
        """Signed by the bundle's CA, for that name, within its dates; and for clients, which an API server refuses."""
        client = {"url": "https://localhost", "caBundle": base64.b64encode(authority.pem).decode()}

        async def configuration() -> object:
            return {"metadata": {"name": "kagenti-injector"}, "webhooks": [{"name": "one", "clientConfig": client}]}

        def missing() -> str:
            return " ".join(webhook.process.readiness().missing)

        async with running(configuration=configuration, webhook_configuration="kagenti-injector") as webhook:
            await webhook.ready()
            assert "kagenti_webhook_trusted 1.0" in webhook.process.metrics.render().decode()
            authority.issue(client=True).write(webhook.process.config.certificate.parent)
            await eventually(lambda: "a handshake with our own port fails: unsuitable certificate purpose" in missing())
            assert "kagenti_webhook_trusted 0.0" in webhook.process.metrics.render().decode()

    async def test_what_cannot_be_compared_ends_nothing(self, running: Make, authority: Authority) -> None:
        """An answer of no known form keeps a new replica out, and leaves one that serves as it is."""
        client = {"url": "https://localhost", "caBundle": base64.b64encode(authority.pem).decode()}
        good = {"metadata": {"name": "kagenti-injector"}, "webhooks": [{"name": "one", "clientConfig": client}]}
        answers: list[object] = [{"webhooks": [7]}]
        reads = 0

        async def configuration() -> object:
            nonlocal reads
            reads += 1
            return answers[-1]

        def missing() -> str:
            return " ".join(webhook.process.readiness().missing)

        async with running(configuration=configuration, webhook_configuration="kagenti-injector") as webhook:
            await eventually(lambda: "cannot be compared with the serving certificate" in missing())
            answers.append(good)
            await webhook.ready()
            answers.append("no object")
            seen = reads
            await eventually(lambda: reads >= seen + 2)
            assert webhook.process.readiness().ready
