"""The wired process: a watch that is late, and a real process from its start to SIGTERM."""

import asyncio
import base64
import dataclasses
import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from tests.unit.webhook.conftest import Authority, eventually
from tests.unit.webhook.test_reviews import pod, review

from kagenti import errors
from kagenti.core.store import InitApply, InitDone, Store
from kagenti.kube import KINDS, Kind, StoredObject
from kagenti.webhook import WebhookConfig
from kagenti.webhook.journal import Journal
from kagenti.webhook.process import Process
from kagenti.webhook.start import assemble

SET = "/apis/apps/v1/namespaces/team1/replicasets/weather-5d8f"
RUNTIMES = "/apis/kagenti.io/v1alpha1/namespaces/team1/agentruntimes"


class ApiServer:
    """Answers GETs from a table and remembers them."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def get(self, path: str, *, params: Mapping[str, str] | None = None, timeout: float = 1.0) -> bytes:
        self.asked.append(path)
        if path not in self.answers:
            raise errors.NotFound(path)
        return orjson.dumps(self.answers[path])


class LateWatch:
    """A reflector whose first list came before anything existed, and whose watch then says nothing."""

    relists, last_event, problem, following = 1, 0.0, "", True

    def __init__(self, kind: Kind, store: Store[StoredObject]) -> None:
        if kind.name == "Namespace":
            store.apply(InitApply(KINDS["Namespace"].decode(b'{"metadata": {"name": "team1"}}')))
        store.apply(InitDone())

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def follow(self) -> None:
        raise NotImplementedError


@pytest.fixture
def config(tmp_path: Path, authority: Authority) -> WebhookConfig:
    certificate, key = authority.issue().write(tmp_path / "tls")
    return WebhookConfig(certificate, key, host="127.0.0.1", port=0, shutdown_grace=0.0, poll=0.01)


def _assembled(config: WebhookConfig, server: ApiServer) -> Process:
    journal = Journal(logging.Logger("kagenti.webhook"))
    return assemble(config, server, journal=journal, reflect=LateWatch)


async def test_pod_does_not_slip_through_a_late_watch(config: WebhookConfig) -> None:
    """AgentRuntime applied, its watch event not here yet, pod created: injected, because the miss was asked about."""
    top = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather", "uid": "d-1", "controller": True}
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather"}
    runtime = {"metadata": {"name": "weather", "namespace": "team1"}, "spec": {"type": "agent", "targetRef": reference}}
    server = ApiServer(
        {
            SET: {"metadata": {"name": "weather-5d8f", "uid": "rs-1", "ownerReferences": [top]}},
            RUNTIMES: {"metadata": {}, "items": [runtime]},
        }
    )
    entry = _assembled(config, server).entries["/mutate/pods"]
    for _ in range(2):
        answer = orjson.loads(await entry(orjson.dumps(review(pod())), False))["response"]
        assert "envoy-proxy" in base64.b64decode(answer["patch"]).decode()
    assert server.asked == [SET, RUNTIMES, RUNTIMES]  # the owner once, a miss every time


async def test_assembled_process_becomes_ready_and_counts(config: WebhookConfig, authority: Authority) -> None:
    """The parts fit: readiness, metrics of caches and reads, and a clean end."""
    process = _assembled(config, ApiServer({}))
    stop = asyncio.Event()
    serving = asyncio.create_task(process.serve(stop))
    await eventually(lambda: process.port and process.readiness().ready)
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=authority.pem.decode()))
    async with (
        aiohttp.ClientSession(f"https://127.0.0.1:{process.port}", connector=connector) as session,
        session.get("/metrics") as response,
    ):
        text = await response.text()
    stop.set()
    assert await asyncio.wait_for(serving, 10) == 0
    for series in ('cache_objects{resource="agentruntimes"} 0.0', 'api_reads_total{call="strict"} 0.0'):
        assert f"kagenti_webhook_{series}" in text


async def test_pods_carry_the_xds_ca_that_is_in_its_file(
    config: WebhookConfig, tmp_path: Path, authority: Authority, other_authority: Authority
) -> None:
    """Renewed while the process serves: the next pod gets the new one, without a restart."""
    file = tmp_path / "xds-ca.crt"
    file.write_bytes(authority.pem)
    process = _assembled(dataclasses.replace(config, xds_ca=file), ApiServer({}))
    found = pod(labels={"kagenti.io/inject": "enabled"}, owner=None)

    async def carried() -> bytes:
        answer = orjson.loads(await process.entries["/mutate/pods"](orjson.dumps(review(found)), False))["response"]
        return base64.b64decode(answer["patch"])

    stop = asyncio.Event()
    serving = asyncio.create_task(process.serve(stop))
    await eventually(lambda: process.readiness().ready)
    assert _line(authority) in await carried()
    file.write_bytes(other_authority.pem)
    await eventually(
        lambda: process.authorities is not None and process.authorities.pem == other_authority.pem.decode()
    )
    patch = await carried()
    stop.set()
    assert await asyncio.wait_for(serving, 10) == 0
    assert (_line(other_authority) in patch, _line(authority) in patch) == (True, False)


def _line(authority: Authority) -> bytes:
    """A line of the certificate that stands in no other: base64, which JSON and YAML leave as it is."""
    return authority.pem.splitlines()[3]


def test_start_without_a_certificate_says_which(tmp_path: Path) -> None:
    """One sentence: the file, and what to do."""
    config = WebhookConfig(tmp_path / "tls.crt", tmp_path / "tls.key")
    with pytest.raises(
        errors.ManifestError, match=r'cannot read ".*tls\.crt": No such file or directory; mount the Secret'
    ):
        assemble(config, ApiServer({}), journal=Journal(logging.Logger("x", logging.INFO)), reflect=LateWatch)
