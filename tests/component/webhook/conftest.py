"""A served webhook on loopback, and a feed that a test controls; certificates and clock are those of the unit tests."""

import asyncio
import datetime
import io
import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from kagenti import tls
from kagenti.journal import JsonFormatter
from kagenti.kube import FeedState
from kagenti.webhook import journal
from kagenti.webhook.config import WebhookConfig
from kagenti.webhook.metrics import Metrics
from kagenti.webhook.process import Process
from tests.unit.webhook.conftest import (
    Authority,
    Pair,
    authority,
    clock,
    other_authority,
    pytest_asyncio_loop_factories,
)
from tests.unit.webhook.test_start import config
from tests.unit.xds.waiting import eventually

__all__ = ["authority", "clock", "config", "other_authority", "pytest_asyncio_loop_factories"]


class FakeFeed:
    """A cache whose state a test sets; ``die`` ends its task."""

    def __init__(self, resource: str = "agentruntimes") -> None:
        self.resource = resource
        self.lacking = ""
        self.die = asyncio.Event()
        self.fault: Exception | None = None

    def missing(self) -> str:
        return self.lacking

    def state(self) -> FeedState:
        return FeedState(objects=0, age=0.0, relists=0)

    async def run(self) -> None:
        await self.die.wait()
        if self.fault is not None:
            raise self.fault


async def echo_entry(body: bytes, busy: bool) -> bytes:
    """An entry that answers with what it was given."""
    return orjson.dumps({"got": len(body), "busy": busy})


class Running:
    """One process served on loopback, with a client that trusts it."""

    def __init__(self, folder: Path, authority: Authority, **overrides: Any) -> None:
        self.folder, self.authority = folder, authority
        self.first = authority.issue()
        certificate, key = self.first.write(folder)
        entries = overrides.pop("entries", {"/mutate/pods": echo_entry})
        configuration = overrides.pop("configuration", None)
        self.feeds = overrides.pop("feeds", [FakeFeed()])
        config = WebhookConfig(
            certificate, key, host="127.0.0.1", port=0, **({"shutdown_grace": 0.0, "poll": 0.01} | overrides)
        )
        self.log = io.StringIO()
        logger = logging.Logger("kagenti.webhook", logging.INFO)
        handler = logging.StreamHandler(self.log)
        handler.setFormatter(JsonFormatter())
        logger.addHandler(handler)
        certificates = tls.Certificates(
            tls.Files(certificate, key, config.client_ca), report=logger.warning, now=self.now
        )
        self.metrics = Metrics(
            feeds=lambda: {feed.resource: feed.state() for feed in self.feeds},
            reads=dict,
            certificate=lambda: (
                certificates.leaf.seconds_left(self.now()),
                certificates.reloads,
                certificates.failures,
            ),
        )
        self.process = Process(
            config,
            journal=journal.Journal(logger),
            certificates=certificates,
            feeds=self.feeds,
            metrics=self.metrics,
            entries=entries(self) if callable(entries) else entries,
            now=self.now,
            configuration=configuration,
        )
        self.stop = asyncio.Event()

    @staticmethod
    def now() -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.process.port}"

    @property
    def logged(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.log.getvalue().splitlines()]

    def client_context(self, pair: Pair | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        if pair is not None:
            context.load_cert_chain(*pair.write(self.folder / "client"))
        return context

    def session(self, pair: Pair | None = None, **options: Any) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=self.client_context(pair), family=socket.AF_INET, limit=0)
        return aiohttp.ClientSession(self.url, connector=connector, **options)

    async def __aenter__(self) -> "Running":
        self.task = asyncio.create_task(self.process.serve(self.stop))
        await eventually(lambda: self.process.port != 0 or self.task.done())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        async with asyncio.timeout(10):
            await self.task

    async def ready(self) -> None:
        await eventually(lambda: self.process.readiness().ready)


@pytest.fixture
def running(tmp_path: Path, authority: Authority) -> Callable[..., Running]:
    """Makes a process with overrides of its config and parts, to be entered with ``async with``."""
    return lambda **overrides: Running(tmp_path / "tls", authority, **overrides)


@pytest.fixture(autouse=True)
def _collector(collector: None) -> None:
    """Every test here may serve a process."""
