"""The wired process, from its start to its end."""

import asyncio
import base64
import dataclasses
import ssl
from pathlib import Path

import aiohttp
import orjson

from kagenti.webhook import WebhookConfig
from tests.unit.webhook.conftest import Authority
from tests.unit.webhook.test_reviews import pod, review
from tests.unit.webhook.test_start import ApiServer, assembled
from tests.unit.xds.waiting import eventually


async def test_assembled_process_becomes_ready_and_counts(config: WebhookConfig, authority: Authority) -> None:
    """The parts fit: readiness, metrics of caches and reads, and a clean end."""
    process = assembled(config, ApiServer({}))
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
    process = assembled(dataclasses.replace(config, xds_ca=file), ApiServer({}))
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
