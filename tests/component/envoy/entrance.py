"""A caller's view of a running Envoy: the inbound listener before an app, without interception.

The dialled port is therefore Envoy's own; the chains that refuse it are left out, and it is the mapped port.
"""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from kagenti.core.envoy import Proxy, bootstrap, layout, resources
from tests.component.envoy import binary
from tests.component.envoy.app import App
from tests.oidc import Key
from tests.unit.core.envoy import proxies

JSON = Any  # claims, settings

KEY: Final = Key("inbound")
_DEADLINE: Final = 10.0


class Entrance:
    """Sends requests to the inbound port, and makes the tokens for them."""

    def __init__(self, envoy: binary.Envoy, proxy: Proxy, port: int) -> None:
        self.envoy, self.proxy, self.port = envoy, proxy, port

    def claims(self, **changed: JSON) -> dict[str, JSON]:
        """Returns the claims of a good token, changed; None leaves a claim out."""
        now = int(time.time())
        issuer = self.proxy.settings.text(f"{layout.VALIDATION}.issuer")
        made = {"iss": issuer, "aud": self.proxy.values.audience, "iat": now, "exp": now + 300, "sub": "alice"}
        made |= {"scope": "openid agent:invoke agent:stream"}
        return {key: value for key, value in (made | changed).items() if value is not None}

    def token(self, key: Key = KEY, **changed: JSON) -> str:
        """Returns a token that is good but for these claims."""
        return key.sign(self.claims(**changed))

    def get(self, path: str = "/", token: str | None = None, *, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Returns status and body."""
        authorization = {"authorization": f"Bearer {token}"} if token else {}
        return self.envoy.get(path, self.port, method, **(authorization | headers))

    def raw(self, head: bytes, *, whole: bool = False) -> bytes:
        """Returns what comes back for bytes, up to the end of the headers, or of the connection."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=_DEADLINE) as connection:
            connection.sendall(head)
            while (whole or b"\r\n\r\n" not in answer) and (part := connection.recv(65536)):
                answer += part
        return answer


@contextmanager
def entered(
    folder: Path, values: JSON, *, bypasses: tuple[str, ...] = (), jwt_values: JSON = None
) -> Iterator[Entrance]:
    """Runs an Envoy before an app.

    ``bypasses`` are probe paths on the mapped port; ``/elsewhere`` is one on another. With ``jwt_values`` the extension
    ``jwt`` is of those settings, as while an update has arrived by half.
    """
    port, outbound, status = binary.free_ports(3)
    interception = {"proxyPort": outbound, "inboundProxyPort": port}
    ports = {f"{layout.INTERCEPTION}.{key}": value for key, value in interception.items()}
    keys = json.dumps({"keys": [KEY.jwk()]})
    with App() as app:
        probes = (*((path, port) for path in bypasses), ("/elsewhere", 1))
        pod: JSON = {"port_mapping": {port: app.port}, "bypasses": probes, "keys": keys}
        proxy = proxies.proxy({**ports, **values}, **pod)
        other = proxies.proxy({**ports, **(jwt_values or values)}, **pod)
        with binary.Envoy(_config(proxy, other), folder, status=status) as envoy:
            yield Entrance(envoy, proxy, port)


def _config(proxy: Proxy, jwt_of: Proxy) -> JSON:
    """Returns the configuration without the chains that refuse Envoy's own port, the only one there is here."""
    jwt = [each for each in resources(jwt_of) if each.name == layout.JWT]
    rest = [each for each in resources(proxy) if each.name != layout.JWT]
    config = binary.inlined(bootstrap(proxy.settings, proxy.values, installation=proxy.installation), [*rest, *jwt])
    for listener in config["static_resources"]["listeners"]:
        if listener["name"] == layout.INBOUND:
            chains = listener["filter_chains"]
            listener["filter_chains"] = [each for each in chains if "filter_chain_match" not in each]
    return config
