"""The wired process for tests: a small API server, real gRPC over TLS, clients that behave as Envoy does."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiohttp
import grpc
import grpc.aio

from kagenti.kube import KubeClient
from kagenti.kube.connection import connect
from kagenti.xds import propagation
from kagenti.xds.config import XdsConfig
from kagenti.xds.fetch import Fetched
from kagenti.xds.parts import Caches, Parts
from kagenti.xds.process import Process
from tests.component.xds.apiserver import ApiServer, api_server
from tests.oidc import Key
from tests.unit.core.envoy.proxies import KEYS
from tests.unit.webhook.conftest import make_authority
from tests.unit.xds.bench import SHORT
from tests.unit.xds.cluster import RECEIPT, SIGNER, jwks, token
from tests.unit.xds.waiting import eventually
from tests.xds_client import Client

JSON = Any  # API objects

AUTHORITY = make_authority()
OWNER: JSON = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather", "uid": "d-1", "controller": True}
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather"}


def live_token(signer: Key = SIGNER, **overrides: JSON) -> str:
    return token(signer, **({"exp": int(time.time()) + 3600, "nbf": 0} | overrides))


def pod(name: str = "weather-1", uid: str = "pod-1", *, receipt: str = RECEIPT, owner: JSON = OWNER) -> JSON:
    metadata = {
        "uid": uid,
        "labels": {"kagenti.io/managed": "true"},
        "annotations": {"kagenti.io/injected": receipt},
        "ownerReferences": [owner],
    }
    return {"metadata": metadata, "spec": {"serviceAccountName": "weather"}, "status": {"phase": "Running"}}


class Plane:
    """One process with its API server, and Envoys for it."""

    def __init__(self, api: ApiServer, process: Process) -> None:
        self.api, self.process = api, process
        self.fetched: list[str] = []
        credentials = grpc.ssl_channel_credentials(AUTHORITY.pem)
        options = [("grpc.ssl_target_name_override", "localhost")]
        self.channel = grpc.aio.secure_channel(f"127.0.0.1:{process.port}", credentials, options)

    def configure(self, **values: JSON) -> None:
        spec: dict[str, Any] = {}
        for key, value in values.items():
            node = spec
            *parents, last = SHORT[key].split(".")
            for part in parents:
                node = node.setdefault(part, {})
            node[last] = value
        self.api.put("AgentRuntimeConfig", namespace="team1", spec=spec)

    def envoy(self, text: str | None = None, *, node_id: str = "team1/weather-1/pod-1", **fields: Any) -> Client:
        client = Client(node_id=node_id, **fields)
        client.open(self.channel, live_token() if text is None else text)
        return client

    def condition(self, kind: str = "AgentRuntimeConfig", name: str = "default", namespace: str = "team1") -> JSON:
        found = self.api.status(kind, namespace, name).get("conditions") or [{}]
        return found[0].get("status"), found[0].get("reason"), found[0].get("message")

    async def page(self, path: str, *, debug: bool = False) -> str:
        port = self.process.debug_port if debug else self.process.status_port
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
            return await response.text()


@asynccontextmanager
async def plane(folder: Path, *, keys: str = KEYS) -> AsyncIterator[Plane]:
    """Runs one process, its API server and what is listed there; ``keys`` are those of every identity provider."""
    certificate, key = AUTHORITY.issue().write(folder / "tls")
    config = XdsConfig(certificate, key, "xds-1", host="127.0.0.1", port=0, status_port=0, debug_port=0,
                       shutdown_grace=0.1, poll=0.05)  # fmt: skip

    async def fetch(url: str, *, etag: str = "") -> Fetched:
        return Fetched(keys)

    async with api_server(folder) as (api, kubeconfig):
        api.put("Namespace", "team1")
        api.put("Pod", "weather-1", namespace="team1", **pod())
        api.reads["/openid/v1/jwks"] = jwks(SIGNER)
        # Status at once: that it is written once a second at most is test_propagation's, on a clock of its own.
        at_once = patch.object(propagation, "INTERVAL", 0.0)
        async with KubeClient(connect(str(kubeconfig))) as client:
            logger = logging.Logger("kagenti.xds", logging.CRITICAL)
            process = Parts(config, client, Caches(client, logger), fetch=fetch, logger=logger).process([])
            stop = asyncio.Event()
            with at_once:
                task = asyncio.create_task(process.serve(stop))
                await eventually(lambda: task.done() or (process.port and not process.missing()))
                made = Plane(api, process)
                try:
                    yield made
                finally:
                    await made.channel.close()
                    stop.set()
                    assert await asyncio.wait_for(task, 30) == 0
