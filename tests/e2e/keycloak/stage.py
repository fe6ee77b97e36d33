"""Envoys before an identity provider: the outbound one that exchanges, the inbound one whose keys are refreshed."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from kagenti.core.envoy import Proxy, bootstrap, exchange_script, layout, resources
from kagenti.core.jwks import NO_KEYS
from kagenti.xds.fetch import JwksClient
from kagenti.xds.keys import Keyring
from tests.component.envoy import binary
from tests.component.envoy.app import App
from tests.component.envoy.conftest import Stage
from tests.component.envoy.loopback import Loopback
from tests.component.envoy.peers import Dns, Echo, certificates
from tests.e2e.keycloak.providers import Provider
from tests.e2e.plane.waiting import wait_until
from tests.unit.core.envoy import proxies

JSON = Any  # settings, a part of Envoy's configuration

_FOLDERS: Final = ("shared", "opt", "var/run/secrets/kagenti")
IDP_TOKEN: Final = "var/run/secrets/kagenti/idp-token"


@dataclass
class Outbound(Stage):
    """The app's view of the outbound listener; the provider is any."""

    oidc: Provider


@contextmanager
def exchanging(folder: Path, provider: Provider, *, script: str = exchange_script.SCRIPT) -> Iterator[Outbound]:
    """Runs the outbound listener in a real Envoy whose identity provider is this one."""
    files = folder / "files"
    for name in _FOLDERS:
        (files / name).mkdir(parents=True)
    roots, leaf = certificates(folder, "api.tool.example")
    with Dns() as dns, Echo("plain") as plain, Echo("secure", leaf) as secure, Echo("dialled") as dialled:
        made = Outbound(provider, dns, plain, secure, dialled, files, folder)
        where = {"dialled": dialled.port, "tls_port": secure.port, "roots": roots, "files": files, "script": script}
        with Loopback(folder, made.proxy(), dns=dns, **where) as made.envoy:
            yield made
        assert "eyJ" not in made.envoy.log()  # no token was ever logged: a JWT begins with {" in base64


class Inbound:
    """The inbound listener in a real Envoy before an app; ``give`` replaces its keys while it serves.

    Args:
        folder: For its files.
        values: Settings of the cluster layer.
    """

    def __init__(self, folder: Path, values: JSON) -> None:
        self._folder, self._values = folder, values
        self.port, self._outbound, self._status = binary.free_ports(3)
        self._keys = folder / "keys.json"

    def __enter__(self) -> Self:
        self._app = App().__enter__()
        self.give(NO_KEYS)
        proxy = self._proxy(NO_KEYS)
        config = binary.inlined(
            bootstrap(proxy.settings, proxy.values, installation=proxy.installation), resources(proxy)
        )
        config = _changed(config, self._on_loopback)
        self.envoy = binary.Envoy(config, self._folder, status=self._status).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.envoy.__exit__()
        self._app.__exit__()

    def give(self, keys: str) -> None:
        """Gives the running Envoy a key set, as an update over ADS would."""
        (body,) = (one.body for one in resources(self._proxy(keys)) if one.name == layout.JWT)
        extension = {"@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", **body}
        partial = self._keys.with_suffix(".partial")
        partial.write_text(json.dumps({"resources": [extension]}))
        partial.replace(self._keys)  # Envoy watches for moves

    def get(self, token: str) -> int:
        """Returns the status of a request with this token."""
        return self.envoy.get("/", self.port, authorization=f"Bearer {token}")[0]

    def becomes(self, status: int, token: str) -> None:
        """Waits until a request with this token is answered so."""
        wait_until(
            lambda: self.get(token) == status, 10, lambda: f"{self.get(token)}, not {status}; {self.envoy.log()}"
        )

    def _proxy(self, keys: str) -> Proxy:
        ports = {"proxyPort": self._outbound, "inboundProxyPort": self.port}
        values = {f"{layout.INTERCEPTION}.{key}": value for key, value in ports.items()} | self._values
        return proxies.proxy(values, port_mapping={self.port: self._app.port}, keys=keys)

    def _on_loopback(self, node: JSON) -> JSON:
        """Nothing intercepts here, so the dialled port is Envoy's own; and the keys come by file."""
        if node.get("name") == layout.INBOUND and "filter_chains" in node:
            chains = [chain for chain in node["filter_chains"] if "filter_chain_match" not in chain]
            return {**node, "filter_chains": chains}
        if node.get("name") == layout.JWT and "typed_config" in node:
            source = {"path_config_source": {"path": str(self._keys)}, "initial_fetch_timeout": "0s"}
            types = [node["typed_config"]["@type"]]
            return {"name": layout.JWT, "config_discovery": {"config_source": source, "type_urls": types}}
        return node


class Refresh:
    """Our control plane's fetching of one URL's keys for an inbound Envoy; it polls when told, not by the clock."""

    def __init__(self, url: str, inbound: Inbound) -> None:
        self._url, self._inbound = url, inbound

    def __enter__(self) -> Self:
        self._runner = asyncio.Runner()
        self._runner.run(self._begin())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._end())
        self._runner.close()

    def poll(self) -> None:
        """Lets the next fetch happen now, and gives Envoy what has changed."""
        self._runner.run(self._once())

    async def _begin(self) -> None:
        self._due, self._done = asyncio.Queue[None](), asyncio.Queue[None]()
        # Keycloak is on loopback here, so the cluster's config has to name it (spec 05).
        self._client = await JwksClient(providers=lambda: (self._url,)).__aenter__()
        self._keyring = Keyring(self._client, logger=logging.getLogger(__name__), sleep=self._sleep)
        self._keyring.on_change(lambda url: self._inbound.give(self._keyring.get(url) or NO_KEYS))
        assert self._keyring.lease(self._url, namespace="team1")
        await self._done.get()

    async def _once(self) -> None:
        self._due.put_nowait(None)
        await self._done.get()
        assert self._keyring.fault(self._url) == ""

    async def _end(self) -> None:
        self._keyring.release(self._url, namespace="team1")
        await self._client.__aexit__()

    async def _sleep(self, _: float) -> None:
        self._done.put_nowait(None)
        await self._due.get()


def _changed(node: JSON, change: Any) -> JSON:  # Any: JSON to JSON
    if isinstance(node, dict):
        return change({key: _changed(value, change) for key, value in node.items()})
    return [_changed(item, change) for item in node] if isinstance(node, list | tuple) else node
