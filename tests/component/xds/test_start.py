"""The wired process: a small API server, real gRPC over TLS, a client that behaves as Envoy does."""

import asyncio
import json
import logging
import ssl
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from kagenti import errors
from kagenti.core.ads import EXTENSION, ROUTE
from kagenti.kube import KubeClient
from kagenti.kube.connection import connect
from kagenti.xds.config import XdsConfig
from kagenti.xds.fetch import Fetched
from kagenti.xds.parts import Caches, Parts
from tests.component.xds.apiserver import api_server
from tests.component.xds.wired import AUTHORITY, TARGET, live_token, plane, pod
from tests.oidc import Key
from tests.unit.core.envoy.proxies import KEYS
from tests.unit.xds.waiting import eventually
from tests.xds_client import Client

pytestmark = pytest.mark.usefixtures("collector")

JSON = Any  # API objects


def _inbound(envoy: Client) -> bytes:
    return envoy.held[ROUTE].get("inbound", ("", b""))[1] + envoy.held[EXTENSION].get("jwt", ("", b""))[1]


async def test_from_a_change_to_status(tmp_path: Path) -> None:
    """A pod's token opens its stream; a changed audience reaches it; status says so; nothing else is resent."""
    async with plane(tmp_path) as found:
        found.configure(audience="https://one.example")
        found.api.put("AgentRuntime", "weather", namespace="team1", spec={"targetRef": TARGET})
        envoy = found.envoy()
        await envoy.until(lambda: b"https://one.example" in _inbound(envoy))
        await eventually(lambda: found.condition()[:2] == ("True", "Propagated"))
        (entry,) = found.api.status("AgentRuntime", "team1", "weather")["propagation"]
        assert (entry["replica"], entry["acked"], len(entry["revision"])) == ("xds-1", 1, 12)
        before = envoy.resources
        found.configure(audience="https://two.example")
        await envoy.until(lambda: b"https://two.example" in _inbound(envoy))
        assert envoy.resources - before <= 2
        await eventually(
            lambda: (
                found.api.status("AgentRuntime", "team1", "weather")["propagation"][0]["revision"] != entry["revision"]
            )
        )
        await eventually(lambda: found.condition("AgentRuntime", "weather")[:2] == ("True", "Propagated"))


async def test_a_refusal_becomes_a_condition(tmp_path: Path) -> None:
    """One readable line, and the last good policy stays; the next good one heals it."""
    async with plane(tmp_path) as found:

        def judge(type_url: str, name: str, payload: bytes) -> str:
            return "Only a single wildcard domain is permitted" if b"https://bad.example" in payload else ""

        found.configure(audience="https://good.example")
        envoy = found.envoy(judge=judge)
        await envoy.until(lambda: b"https://good.example" in _inbound(envoy))
        found.configure(audience="https://bad.example")
        await eventually(lambda: found.condition()[:2] == ("False", "Rejected"))
        assert "1 of 1 proxies refused the configuration" in found.condition()[2]
        assert found.condition()[2].endswith("Only a single wildcard domain is permitted")
        assert b"https://good.example" in _inbound(envoy)
        assert 'kagenti_xds_proxies{verdict="rejected"} 1.0' in await found.page("/metrics")
        found.configure(audience="https://fine.example")
        await eventually(lambda: found.condition()[:2] == ("True", "Propagated"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no bearer token"),
        (live_token(exp=int(time.time()) - 1), "expired"),
        (live_token(aud=["https://kubernetes.default.svc"]), "audience"),
        (live_token(Key("stranger")), "API server"),
        ("opaque", ""),
    ],
    ids=["none", "expired", "audience", "stranger", "opaque"],
)
async def test_nobody_without_a_pods_token(tmp_path: Path, text: str, said: str) -> None:
    """UNAUTHENTICATED with a reason, and no resource at all."""
    async with plane(tmp_path) as found:
        found.api.reads["/apis/authentication.k8s.io/v1/tokenreviews"] = {"status": {"authenticated": False}}
        envoy = Client(node_id="team1/weather-1/pod-1")
        code, details = await envoy.refusal(found.channel, text)
        assert (code, said in details, envoy.resources) == (grpc.StatusCode.UNAUTHENTICATED, True, 0)


async def test_nobody_elses_snapshot(tmp_path: Path) -> None:
    """Another pod's node id is refused, its token gives its own snapshot, and a pod is its workload's alone."""
    other = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "payroll", "uid": "d-2", "controller": True}
    async with plane(tmp_path) as found:
        found.api.put("Pod", "payroll-1", namespace="team1", **pod(uid="pod-2", owner=other))
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "payroll"}
        secret = {"identity": {"inbound": {"validation": {"audience": "https://payroll.example"}}}}
        found.api.put("AgentRuntime", "payroll", namespace="team1", spec={"targetRef": target} | secret)
        forged = Client(node_id="team1/payroll-1/pod-2")
        assert (await forged.refusal(found.channel, live_token()))[0] == grpc.StatusCode.UNAUTHENTICATED
        mine = found.envoy()
        await mine.until(lambda: bool(_inbound(mine)))
        assert b"https://payroll.example" not in _inbound(mine)


async def test_pages_show_it(tmp_path: Path) -> None:
    """Streams, snapshots and key sets on loopback, without a token or a key in them."""
    async with plane(tmp_path) as found:
        envoy = found.envoy()
        await envoy.until(lambda: bool(_inbound(envoy)))
        streams = json.loads(await found.page("/debug/streams", debug=True))
        snapshots = json.loads(await found.page("/debug/snapshots", debug=True))
        keys = json.loads(await found.page("/debug/keys", debug=True))
        assert [found["pod"] for found in streams] == ["team1/weather-1"]
        assert snapshots[0]["workload"] == "Deployment team1/weather"
        assert {"Cluster", "TypedExtensionConfig", "RouteConfiguration"} == set(snapshots[0]["resources"])
        assert keys[0]["url"].endswith("/protocol/openid-connect/certs")
        text = json.dumps([streams, snapshots, keys])
        assert KEYS not in text
        metrics = await found.page("/metrics")
        for series in ('proxies{verdict="', "acknowledge_seconds_bucket", 'cache_objects{resource="pods"} 1.0'):
            assert f"kagenti_xds_{series}" in metrics


async def test_a_renewed_certificate_is_served(tmp_path: Path) -> None:
    """New handshakes see it; open streams live on."""
    async with plane(tmp_path) as found:
        envoy = found.envoy()
        await envoy.until(lambda: bool(_inbound(envoy)))
        AUTHORITY.issue(days=60).write(tmp_path / "tls")
        await eventually(lambda: found.process.certificates.reloads == 1)
        context = ssl.create_default_context(cadata=AUTHORITY.pem.decode())
        context.set_alpn_protocols(["h2"])
        _, writer = await asyncio.open_connection(
            "127.0.0.1", found.process.port, ssl=context, server_hostname="localhost"
        )
        served = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        assert ssl.DER_cert_to_PEM_cert(served).encode() in found.process.certificates.pair.certificate
        assert envoy.status is None


async def test_start_without_a_certificate_says_which(tmp_path: Path) -> None:
    """One sentence: the file, and what to do."""
    config = XdsConfig(tmp_path / "tls.crt", tmp_path / "tls.key", "xds-1")
    async with api_server(tmp_path) as (_, kubeconfig), KubeClient(connect(str(kubeconfig))) as client:
        logger = logging.Logger("test")

        async def fetch(url: str, *, etag: str = "") -> Fetched:
            return Fetched(None)

        with pytest.raises(errors.ManifestError, match=r'cannot read ".*tls\.crt": No such file'):
            Parts(config, client, Caches(client, logger), fetch=fetch, logger=logger)
