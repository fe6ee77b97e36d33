"""The wired process: a small API server, real gRPC over TLS, a client that behaves as Envoy does."""

import asyncio
import json
import logging
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import orjson
import pytest

from kagenti import errors
from kagenti.core.ads import EXTENSION, ROUTE
from kagenti.kube import KubeClient
from kagenti.kube.client import connect
from kagenti.xds.config import XdsConfig
from kagenti.xds.fetch import Fetched
from kagenti.xds.parts import Caches, Parts
from kagenti.xds.process import Process
from tests.oidc import Key
from tests.unit.core.envoy.proxies import KEYS
from tests.unit.webhook.conftest import make_authority
from tests.unit.xds.apiserver import ApiServer, api_server
from tests.unit.xds.bench import SHORT
from tests.unit.xds.cluster import RECEIPT, SIGNER, jwks, token
from tests.unit.xds.waiting import eventually
from tests.xds_client import Client

JSON = Any  # API objects

AUTHORITY = make_authority()
OWNER: JSON = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather", "uid": "d-1", "controller": True}
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather"}


def _live_token(signer: Key = SIGNER, **overrides: JSON) -> str:
    return token(signer, **({"exp": int(time.time()) + 3600, "nbf": 0} | overrides))


def _pod(name: str = "weather-1", uid: str = "pod-1", *, receipt: str = RECEIPT, owner: JSON = OWNER) -> JSON:
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
        client.open(self.channel, _live_token() if text is None else text)
        return client

    def condition(self, kind: str = "AgentRuntimeConfig", name: str = "default", namespace: str = "team1") -> JSON:
        found = self.api.status(kind, namespace, name).get("conditions") or [{}]
        return found[0].get("status"), found[0].get("reason"), found[0].get("message")

    async def page(self, path: str, *, debug: bool = False) -> str:
        port = self.process.debug_port if debug else self.process.status_port
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
            return await response.text()


@asynccontextmanager
async def _plane(folder: Path) -> AsyncIterator[Plane]:
    certificate, key = AUTHORITY.issue().write(folder / "tls")
    config = XdsConfig(certificate, key, "xds-1", host="127.0.0.1", port=0, status_port=0, debug_port=0,
                       shutdown_grace=0.1, poll=0.05)  # fmt: skip

    async def fetch(url: str, *, etag: str = "") -> Fetched:
        return Fetched(KEYS)

    async with api_server(folder) as (api, kubeconfig):
        api.put("Namespace", "team1")
        api.put("Pod", "weather-1", namespace="team1", **_pod())
        api.reads["/openid/v1/jwks"] = jwks(SIGNER)
        async with KubeClient(connect(str(kubeconfig))) as client:
            logger = logging.Logger("kagenti.xds", logging.CRITICAL)
            process = Parts(config, client, Caches(client, logger), fetch=fetch, logger=logger).process([])
            stop = asyncio.Event()
            task = asyncio.create_task(process.serve(stop))
            await eventually(lambda: task.done() or (process.port and not process.missing()))
            plane = Plane(api, process)
            try:
                yield plane
            finally:
                await plane.channel.close()
                stop.set()
                assert await asyncio.wait_for(task, 10) == 0


def _inbound(envoy: Client) -> bytes:
    return envoy.held[ROUTE].get("inbound", ("", b""))[1] + envoy.held[EXTENSION].get("jwt", ("", b""))[1]


async def test_from_a_change_to_status(tmp_path: Path) -> None:
    """A pod's token opens its stream; a changed audience reaches it; status says so; nothing else is resent."""
    async with _plane(tmp_path) as plane:
        plane.configure(audience="https://one.example")
        plane.api.put("AgentRuntime", "weather", namespace="team1", spec={"targetRef": TARGET})
        envoy = plane.envoy()
        await envoy.until(lambda: b"https://one.example" in _inbound(envoy))
        await eventually(lambda: plane.condition()[:2] == ("True", "Propagated"))
        (entry,) = plane.api.status("AgentRuntime", "team1", "weather")["propagation"]
        assert (entry["replica"], entry["acked"], len(entry["revision"])) == ("xds-1", 1, 12)
        before = envoy.resources
        plane.configure(audience="https://two.example")
        await envoy.until(lambda: b"https://two.example" in _inbound(envoy))
        assert envoy.resources - before <= 2
        await eventually(
            lambda: (
                plane.api.status("AgentRuntime", "team1", "weather")["propagation"][0]["revision"] != entry["revision"]
            )
        )
        await eventually(lambda: plane.condition("AgentRuntime", "weather")[:2] == ("True", "Propagated"))


async def test_a_refusal_becomes_a_condition(tmp_path: Path) -> None:
    """One readable line, and the last good policy stays; the next good one heals it."""
    async with _plane(tmp_path) as plane:

        def judge(type_url: str, name: str, payload: bytes) -> str:
            return "Only a single wildcard domain is permitted" if b"https://bad.example" in payload else ""

        plane.configure(audience="https://good.example")
        envoy = plane.envoy(judge=judge)
        await envoy.until(lambda: b"https://good.example" in _inbound(envoy))
        plane.configure(audience="https://bad.example")
        await eventually(lambda: plane.condition()[:2] == ("False", "Rejected"))
        assert "1 of 1 proxies refused the configuration" in plane.condition()[2]
        assert plane.condition()[2].endswith("Only a single wildcard domain is permitted")
        assert b"https://good.example" in _inbound(envoy)
        assert 'kagenti_xds_proxies{verdict="rejected"} 1.0' in await plane.page("/metrics")
        plane.configure(audience="https://fine.example")
        await eventually(lambda: plane.condition()[:2] == ("True", "Propagated"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no bearer token"),
        (_live_token(exp=int(time.time()) - 1), "expired"),
        (_live_token(aud=["https://kubernetes.default.svc"]), "audience"),
        (_live_token(Key("stranger")), "API server"),
        ("opaque", ""),
    ],
    ids=["none", "expired", "audience", "stranger", "opaque"],
)
async def test_nobody_without_a_pods_token(tmp_path: Path, text: str, said: str) -> None:
    """UNAUTHENTICATED with a reason, and no resource at all."""
    async with _plane(tmp_path) as plane:
        plane.api.reads["/apis/authentication.k8s.io/v1/tokenreviews"] = {"status": {"authenticated": False}}
        envoy = plane.envoy(text)
        code, details = await envoy.ended()
        assert (code, said in details, envoy.resources) == (grpc.StatusCode.UNAUTHENTICATED, True, 0)


async def test_nobody_elses_snapshot(tmp_path: Path) -> None:
    """Another pod's node id is refused, its token gives its own snapshot, and a pod is its workload's alone."""
    other = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "payroll", "uid": "d-2", "controller": True}
    async with _plane(tmp_path) as plane:
        plane.api.put("Pod", "payroll-1", namespace="team1", **_pod(uid="pod-2", owner=other))
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "payroll"}
        secret = {"identity": {"inbound": {"validation": {"audience": "https://payroll.example"}}}}
        plane.api.put("AgentRuntime", "payroll", namespace="team1", spec={"targetRef": target} | secret)
        forged = plane.envoy(node_id="team1/payroll-1/pod-2")
        assert (await forged.ended())[0] == grpc.StatusCode.UNAUTHENTICATED
        mine = plane.envoy()
        await mine.until(lambda: bool(_inbound(mine)))
        assert b"https://payroll.example" not in _inbound(mine)


async def test_pages_show_it(tmp_path: Path) -> None:
    """Streams, snapshots and key sets on loopback, without a token or a key in them."""
    async with _plane(tmp_path) as plane:
        envoy = plane.envoy()
        await envoy.until(lambda: bool(_inbound(envoy)))
        streams = json.loads(await plane.page("/debug/streams", debug=True))
        snapshots = json.loads(await plane.page("/debug/snapshots", debug=True))
        keys = json.loads(await plane.page("/debug/keys", debug=True))
        assert [found["pod"] for found in streams] == ["team1/weather-1"]
        assert snapshots[0]["workload"] == "Deployment team1/weather"
        assert {"Cluster", "TypedExtensionConfig", "RouteConfiguration"} == set(snapshots[0]["resources"])
        assert keys[0]["url"].endswith("/protocol/openid-connect/certs")
        text = json.dumps([streams, snapshots, keys])
        assert KEYS not in text
        metrics = await plane.page("/metrics")
        for series in ('proxies{verdict="', "acknowledge_seconds_bucket", 'cache_objects{resource="pods"} 1.0'):
            assert f"kagenti_xds_{series}" in metrics


async def test_a_renewed_certificate_is_served(tmp_path: Path) -> None:
    """New handshakes see it; open streams live on."""
    async with _plane(tmp_path) as plane:
        envoy = plane.envoy()
        await envoy.until(lambda: bool(_inbound(envoy)))
        AUTHORITY.issue(days=60).write(tmp_path / "tls")
        await eventually(lambda: plane.process.certificates.reloads == 1)
        context = ssl.create_default_context(cadata=AUTHORITY.pem.decode())
        context.set_alpn_protocols(["h2"])
        _, writer = await asyncio.open_connection(
            "127.0.0.1", plane.process.port, ssl=context, server_hostname="localhost"
        )
        served = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        assert ssl.DER_cert_to_PEM_cert(served).encode() in plane.process.certificates.pair.certificate
        assert envoy.status is None


_PROGRAM = """
import sys, json
from pathlib import Path
from kagenti.xds import config, start
given = json.loads(sys.argv[1])
paths = {key: Path(given.pop(key)) for key in ("certificate", "key")}
sys.exit(start.main(config.XdsConfig(**paths, **given)))
"""


def _launch(folder: Path, **overrides: Any) -> subprocess.Popen[str]:
    """Starts a real process without a cluster, its log piped."""
    certificate, key = AUTHORITY.issue().write(folder / "tls")
    kubeconfig = folder / "kubeconfig"
    cluster: Mapping[str, Any] = {"server": "http://127.0.0.1:9"}  # the discard port: nobody listens
    kubeconfig.write_bytes(
        orjson.dumps({
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "current-context": "x",
            "clusters": [{"name": "x", "cluster": cluster}],
            "users": [{"name": "x", "user": {}}],
        })
    )  # fmt: skip
    given = {"certificate": str(certificate), "key": str(key), "kubeconfig": str(kubeconfig), "replica": "xds-1"}
    arguments = given | {"host": "127.0.0.1", "port": 0, "status_port": 0, "debug_port": 0, "shutdown_grace": 0.1}
    command = [sys.executable, "-c", _PROGRAM, orjson.dumps(arguments | overrides).decode()]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONWARNINGS": "error"})


def test_sigterm_ends_a_real_process_with_0(tmp_path: Path) -> None:
    """It serves although no API server is there, hands over on SIGTERM, and every line of its log is JSON."""
    with _launch(tmp_path) as process:
        assert process.stderr is not None
        lines = [orjson.loads(process.stderr.readline())]
        assert lines[0]["message"] == "serving"
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=20)[1]
        lines += [orjson.loads(line) for line in rest.splitlines()]
        assert process.returncode == 0, rest
        assert "handing streams over" in [line["message"] for line in lines]


async def test_start_without_a_certificate_says_which(tmp_path: Path) -> None:
    """One sentence: the file, and what to do."""
    config = XdsConfig(tmp_path / "tls.crt", tmp_path / "tls.key", "xds-1")
    async with api_server(tmp_path) as (_, kubeconfig), KubeClient(connect(str(kubeconfig))) as client:
        logger = logging.Logger("test")

        async def fetch(url: str, *, etag: str = "") -> Fetched:
            return Fetched(None)

        with pytest.raises(errors.ManifestError, match=r'cannot read ".*tls\.crt": No such file'):
            Parts(config, client, Caches(client, logger), fetch=fetch, logger=logger)
