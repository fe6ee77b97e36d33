"""``kagenti xds`` under its rendered account on the real API server: tokens, owners, watches, status by server-side apply."""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import orjson
import pytest

from kagenti.core.ads import EXTENSION, ROUTE
from tests.e2e.installed import RELEASE_NAMESPACE, ROOT, Options, rendered
from tests.e2e.plane.certificates import mint_authority
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.ports import free_port
from tests.e2e.plane.waiting import wait_until
from tests.oidc import Oidc
from tests.xds_client import Client

JSON = Any  # API objects

NAMESPACE = "xds-team"
RECEIPT = orjson.dumps(
    {"layout": 1, "settings": {}, "containers": ["envoy-proxy"], "portMapping": {"8080": 8081}}
).decode()


STARTED: list[subprocess.Popen[bytes]] = []


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Ends the servers of a test that failed before it could."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
            process.wait(10)


@dataclass
class Server:
    """One process ``kagenti xds``."""

    plane: ControlPlane
    kubeconfig: Path
    folder: Path
    replica: str

    def __post_init__(self) -> None:
        self.port, self.status_port, self.debug_port = free_port(), free_port(), free_port()
        self.authority = mint_authority("kagenti xDS")
        self.log = self.folder / f"{self.replica}.log"
        certificate, key = self.authority.issue("kagenti-xds", dns=["localhost"], ips=["127.0.0.1"])
        for name, content in (("crt", certificate), ("key", key)):
            (self.folder / f"{self.replica}.{name}").write_bytes(content)
        command = [sys.executable, "-m", "kagenti", "xds", "--host", "127.0.0.1", "--replica", self.replica]
        command += ["--port", str(self.port), "--status-port", str(self.status_port)]
        command += ["--debug-port", str(self.debug_port), "--kubeconfig", str(self.kubeconfig)]
        command += ["--tls-cert", str(self.folder / f"{self.replica}.crt")]
        command += ["--tls-key", str(self.folder / f"{self.replica}.key"), "--shutdown-grace", "0.5"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=dict(os.environ))
        STARTED.append(self.process)
        wait_until(lambda: self.page("/readyz"), 30, lambda: f"not ready: {self.log.read_text()[-2000:]}")

    def page(self, path: str, *, debug: bool = False) -> str:
        """Returns the body of a 200 answer; empty for another one."""
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        port = self.debug_port if debug else self.status_port
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:  # loopback
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return ""

    def stop(self) -> int:
        """Ends it gently; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    @asynccontextmanager
    async def channel(self) -> Any:
        """A channel over TLS."""
        pem = self.authority.certificate_pem
        credentials = grpc.ssl_channel_credentials(pem if isinstance(pem, bytes) else pem.encode())
        options = [("grpc.ssl_target_name_override", "localhost")]
        async with grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options) as found:
            yield found


@pytest.fixture(scope="module")
def provider() -> Iterator[Oidc]:
    """An identity provider on loopback: only policy.identityProviders opens the way to it."""
    with Oidc() as found:
        yield found


@pytest.fixture(scope="module")
def plane(provider: Oidc) -> Iterator[ControlPlane]:
    """A plane of its own with our kinds, the rendered rights of kagenti-xds, and a workload with a receipt."""
    with ControlPlane() as found:
        found.kubectl("apply", "--server-side", "-f", str(ROOT / "generated" / "crds"))
        found.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
        for name in (RELEASE_NAMESPACE, NAMESPACE):
            found.kubectl("create", "namespace", name)
        kinds = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding")
        documents = [document for document in rendered(Options()) if document["kind"] in kinds]
        apply(found, *documents, cluster_config(provider), deployment("weather"), deployment("payroll"))
        found.kubectl("create", "serviceaccount", "weather", "-n", NAMESPACE)
        found.kubectl("create", "serviceaccount", "payroll", "-n", NAMESPACE)
        yield found


@pytest.fixture(scope="module")
def kubeconfig(plane: ControlPlane) -> Path:
    """The account of the xDS server, as the chart makes it."""
    return Path(plane.service_account_kubeconfig(RELEASE_NAMESPACE, "kagenti-xds"))


def apply(plane: ControlPlane, *documents: JSON) -> None:
    """Applies documents server-side."""
    text = orjson.dumps({"apiVersion": "v1", "kind": "List", "items": documents}).decode()
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)


def cluster_config(provider: Oidc) -> JSON:
    """Returns the cluster layer: the provider's keys, trusted by origin."""
    validation = {"jwksUrl": provider.jwks_url, "issuer": provider.issuer}
    spec = {"identity": {"inbound": {"validation": validation}}, "policy": {"identityProviders": [provider.issuer]}}
    return ours("AgentRuntimeClusterConfig", "default", spec)


def ours(kind: str, name: str, spec: JSON, **metadata: JSON) -> JSON:
    """Returns an object of ours."""
    return {"apiVersion": "kagenti.io/v1alpha1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def config(audience: str) -> JSON:
    """Returns the namespace layer."""
    validation = {"audience": audience}
    return ours(
        "AgentRuntimeConfig", "default", {"identity": {"inbound": {"validation": validation}}}, namespace=NAMESPACE
    )


def deployment(name: str) -> JSON:
    """Returns a Deployment whose pods look injected."""
    metadata = {
        "labels": {"app": name, "kagenti.io/managed": "true"},
        "annotations": {"kagenti.io/injected": RECEIPT},
    }
    spec = {"serviceAccountName": name, "containers": [{"name": "app", "image": "example.test/app:1"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": metadata, "spec": spec},
        },
    }


def running_pod(plane: ControlPlane, name: str) -> JSON:
    """Returns the running pod of a Deployment."""
    found: list[JSON] = []

    def running() -> bool:
        text = plane.kubectl("get", "pods", "-n", NAMESPACE, "-l", f"app={name}", "-o", "json")
        found[:] = [pod for pod in orjson.loads(text)["items"] if pod["status"].get("phase") == "Running"]
        return bool(found)

    wait_until(running, 60, lambda: f"no running pod of {name}")
    return found[0]


def token_of(plane: ControlPlane, pod: JSON, *, audience: str = "kagenti-xds") -> str:
    """Returns a token as the kubelet would project it: bound to the pod."""
    metadata = pod["metadata"]
    bound = [
        "--bound-object-kind=Pod",
        f"--bound-object-name={metadata['name']}",
        f"--bound-object-uid={metadata['uid']}",
    ]
    account = pod["spec"]["serviceAccountName"]
    return plane.kubectl("create", "token", account, "-n", NAMESPACE, f"--audience={audience}", *bound).strip()


def status_of(plane: ControlPlane, kind: str, name: str) -> JSON:
    """Returns an object's status: propagation by replica, and the condition's status, reason and message."""
    status = orjson.loads(plane.kubectl("get", kind, name, "-n", NAMESPACE, "-o", "json")).get("status") or {}
    entries = {entry["replica"]: entry for entry in status.get("propagation") or ()}
    condition = next(iter(status.get("conditions") or ()), {})
    return entries, (condition.get("status"), condition.get("reason")), condition.get("message", "")


def held(envoy: Client) -> bytes:
    """Returns what decides about inbound requests."""
    return b"".join(envoy.held[kind].get(name, ("", b""))[1] for kind, name in ((ROUTE, "inbound"), (EXTENSION, "jwt")))


async def until(condition: Any, describe: Any) -> None:
    """Waits in a thread, so that streams go on."""
    await asyncio.to_thread(wait_until, condition, 30, describe)


def node_id(pod: JSON) -> str:
    """Returns the node id that the pod's Envoy has."""
    return f"{NAMESPACE}/{pod['metadata']['name']}/{pod['metadata']['uid']}"


async def test_a_change_reaches_envoy_and_status(plane: ControlPlane, kubeconfig: Path, tmp_path: Path) -> None:
    """By the pod's own token; entry and condition by server-side apply, once per change; gone when the replica goes."""
    apply(plane, config("https://one.example"))
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather"}
    apply(plane, ours("AgentRuntime", "weather", {"targetRef": target}, namespace=NAMESPACE))
    pod = running_pod(plane, "weather")
    server = Server(plane, kubeconfig, tmp_path, "xds-a")
    async with server.channel() as channel:
        envoy = Client(node_id=node_id(pod))
        envoy.open(channel, token_of(plane, pod))
        await envoy.until(lambda: b"https://one.example" in held(envoy), 20)
        describe = lambda: str(status_of(plane, "agentruntime", "weather"))  # noqa: E731  # said twice
        await until(lambda: status_of(plane, "agentruntime", "weather")[1] == ("True", "Propagated"), describe)
        revision = status_of(plane, "agentruntime", "weather")[0]["xds-a"]["revision"]
        apply(plane, config("https://two.example"))
        await envoy.until(lambda: b"https://two.example" in held(envoy), 20)
        await until(
            lambda: (
                status_of(plane, "agentruntime", "weather")[0]["xds-a"]["revision"] != revision
                and status_of(plane, "agentruntime", "weather")[1] == ("True", "Propagated")
            ),
            describe,
        )
        envoy.judge = lambda _, __, payload: "no such filter" if b"https://bad.example" in payload else ""
        apply(plane, config("https://bad.example"))
        await until(lambda: status_of(plane, "agentruntime", "weather")[1] == ("False", "Rejected"), describe)
        assert status_of(plane, "agentruntime", "weather")[2].endswith("no such filter")
        assert b"https://two.example" in held(envoy)
    assert await asyncio.to_thread(server.stop) == 0
    assert status_of(plane, "agentruntime", "weather")[0] == {}


async def test_two_replicas_share_one_object(plane: ControlPlane, kubeconfig: Path, tmp_path: Path) -> None:
    """Each owns its entry; the condition follows from both; a pod that moves is missed by nobody."""
    apply(plane, config("https://three.example"))
    pods = [running_pod(plane, name) for name in ("weather", "payroll")]
    servers = [Server(plane, kubeconfig, tmp_path, name) for name in ("xds-b", "xds-c")]
    async with servers[0].channel() as one, servers[1].channel() as other:
        for channel, pod in ((one, pods[0]), (other, pods[1])):
            envoy = Client(node_id=node_id(pod))
            envoy.open(channel, token_of(plane, pod))
            await envoy.until(lambda: b"https://three.example" in held(envoy), 20)  # noqa: B023  # within the turn

        def acked() -> bool:
            entries, condition, _ = status_of(plane, "agentruntimeconfig", "default")
            counts = {replica: entry["acked"] for replica, entry in entries.items()}
            return (counts, condition) == ({"xds-b": 1, "xds-c": 1}, ("True", "Propagated"))

        await until(acked, lambda: str(status_of(plane, "agentruntimeconfig", "default")))
        manager = orjson.loads(
            plane.kubectl(
                "get", "agentruntimeconfig", "default", "-n", NAMESPACE, "-o", "json", "--show-managed-fields"
            )
        )["metadata"]["managedFields"]
        assert {"kagenti-xds-xds-b", "kagenti-xds-xds-c", "kagenti-xds"} <= {field["manager"] for field in manager}
    for server in servers:
        assert await asyncio.to_thread(server.stop) == 0


async def test_only_a_pods_own_token_opens_its_stream(plane: ControlPlane, kubeconfig: Path, tmp_path: Path) -> None:
    """No token, another audience, another pod's node id, a deleted pod's token: nothing at all."""
    weather, payroll = running_pod(plane, "weather"), running_pod(plane, "payroll")
    good, other_audience = token_of(plane, weather), token_of(plane, weather, audience="somebody-else")
    server = Server(plane, kubeconfig, tmp_path, "xds-d")
    async with server.channel() as channel:
        for text, claimed in (("", weather), (other_audience, weather), (good, payroll), ("opaque", weather)):
            envoy = Client(node_id=node_id(claimed))
            assert (await envoy.refusal(channel, text, 20))[0] == grpc.StatusCode.UNAUTHENTICATED
            assert envoy.resources == 0
        plane.kubectl("delete", "pod", weather["metadata"]["name"], "-n", NAMESPACE, "--grace-period=0", "--force")
        gone = Client(node_id=node_id(weather))

        def forgotten() -> bool:
            page = server.page("/debug/snapshots", debug=True)
            return page != "" and weather["metadata"]["name"] not in page

        await until(forgotten, lambda: server.page("/debug/snapshots", debug=True))
        assert "does not exist" in (await gone.refusal(channel, good, 20))[1]
    assert "eyJ" not in server.log.read_text(), "a token is in the log"
    assert await asyncio.to_thread(server.stop) == 0
