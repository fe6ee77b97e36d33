"""Keys that the real Envoy takes."""

from pathlib import Path

from kagenti.core import jwks
from kagenti.core.envoy import layout
from tests.component.envoy import binary
from tests.component.envoy.app import App
from tests.component.envoy.entrance import Entrance, _config
from tests.unit.core.envoy import proxies


def test_nobodys_key_is_taken_and_then_no_token(tmp_path: Path) -> None:
    """An empty set it would refuse, and go on with the keys that are too old."""
    port, outbound, status = binary.free_ports(3)
    ports = {f"{layout.INTERCEPTION}.proxyPort": outbound, f"{layout.INTERCEPTION}.inboundProxyPort": port}
    with App() as app:
        proxy = proxies.proxy(ports, port_mapping={port: app.port}, bypasses=(), keys=jwks.NO_KEYS)
        with binary.Envoy(_config(proxy, proxy), tmp_path, status=status) as envoy:
            entrance = Entrance(envoy, proxy, port)
            assert entrance.get(token=entrance.token())[0] == 401
