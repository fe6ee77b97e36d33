"""The webhook's test bench: self-made certificates, a feed that a test controls, and a served process on loopback."""

import asyncio
import datetime
import io
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kagenti import tls
from kagenti.journal import JsonFormatter
from kagenti.kube import FeedState
from kagenti.webhook import journal
from kagenti.webhook.config import WebhookConfig
from kagenti.webhook.metrics import Metrics
from kagenti.webhook.process import Process

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path) -> tuple[Path, Path]:
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = folder / "tls.crt", folder / "tls.key"
        certificate.write_bytes(self.certificate)
        key.write_bytes(self.key)
        return certificate, key


@dataclass(frozen=True)
class Authority:
    """A CA that issues leaves for localhost."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, *, name: str = "localhost", days: float = 30, client: bool = False) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = (
            _builder(name, self.certificate.subject, key, days=days)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        return Pair(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), _pem(key))


def _builder(
    name: str, issuer: x509.Name | None, key: ec.EllipticCurvePrivateKey, *, days: float
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=90))
        .not_valid_after(NOW + datetime.timedelta(days=days))
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make_authority(name: str = "kagenti test") -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(name, None, key, days=365)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The CA that tests trust."""
    return make_authority()


@pytest.fixture(scope="session")
def other_authority() -> Authority:
    """A CA that nobody trusts."""
    return make_authority("somebody else")


@pytest.fixture
def clock() -> Callable[[], datetime.datetime]:
    """A clock that stands still."""
    return lambda: NOW


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


async def eventually(condition: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Waits until the condition holds; fails at the deadline."""
    async with asyncio.timeout(seconds):
        while not condition():  # conditions of other people's state have no event
            await asyncio.sleep(0.005)


@pytest.fixture
def running(tmp_path: Path, authority: Authority) -> Callable[..., Running]:
    """Makes a process with overrides of its config and parts, to be entered with ``async with``."""
    return lambda **overrides: Running(tmp_path / "tls", authority, **overrides)


@pytest.fixture(autouse=True)
def _collector(collector: None) -> None:
    """Every test here may serve a process."""


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Runs these tests on the loop of production: its TLS differs from that of asyncio's own."""
    return {"uvloop": uvloop.new_event_loop}
