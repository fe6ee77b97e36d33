"""One Envoy with its peers for all tests of outbound that need the real thing: started once for each module."""

import http.client
import json
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from kagenti.core.envoy import Proxy, exchange_script
from tests.component.envoy.loopback import Loopback
from tests.component.envoy.peers import Dns, Echo, certificates
from tests.oidc import Client, Oidc
from tests.unit.core.envoy import proxies

JSON = Any  # settings and answers

WEATHER: Final = Client(
    "team1/weather",
    secret="the secret: 100% + &",
    subject="spiffe://cluster.local/ns/team1/sa/weather",
    scopes={"openid": "", "aud-tool": "tool", "aud-other": "other"},
)


@dataclass
class Answered:
    """What the app got: status, text, headers; for a 200 also what reached the server."""

    status: int
    text: str
    headers: Mapping[str, str]
    seen: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """The token that reached the server."""
        return str(self.seen["headers"].get("authorization", "")).removeprefix("Bearer ")


@dataclass
class Stage:
    """The app's view: ``get`` sends a request through the outbound listener; ``files`` holds the pod's credentials."""

    oidc: Oidc
    dns: Dns
    plain: Echo
    secure: Echo
    dialled: Echo
    files: Path
    folder: Path
    envoy: Loopback = field(init=False)

    def settings(self, *rules: JSON, **values: JSON) -> dict[str, JSON]:
        """Returns values of the cluster layer: this provider, these rules; ``a__b`` stands for ``a.b``."""
        made = {"identity.clientRegistration.keycloak.url": self.oidc.url, "identity.spiffe.enabled": False}
        made["identity.outbound.tokenExchange.destinationRules"] = list(rules)
        return made | {key.replace("__", "."): value for key, value in values.items()}

    def proxy(self, *rules: JSON, **values: JSON) -> Proxy:
        """Returns the Envoy of these settings."""
        return proxies.proxy(self.settings(*rules, **values))

    def apply(self, *rules: JSON, **values: JSON) -> None:
        """Gives the running Envoy these settings."""
        self.envoy.apply(self.proxy(*rules, **values))

    def register(self, *, client_id: str = WEATHER.id, secret: str | None = WEATHER.secret) -> None:
        """Puts the credentials where the registration puts them; None leaves the secret out."""
        (self.files / "shared/client-id.txt").write_text(f"{client_id}\n")
        (self.files / "shared/client-secret.txt").unlink(missing_ok=True)
        if secret is not None:
            (self.files / "shared/client-secret.txt").write_text(f"{secret}\n")

    def caller(self, **claims: JSON) -> str:
        """Returns a new token of a caller of this workload."""
        return self.oidc.token(**({"aud": WEATHER.id} | claims))

    def get(self, host: str, token: str | None = None, *, path: str = "/", **headers: str) -> Answered:
        """Sends a request with this Host header, and a Bearer token where one is given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.envoy.port, timeout=10)
        try:
            sent = {"Host": host, **headers} | ({"Authorization": f"Bearer {token}"} if token else {})
            connection.request("GET", path, headers=sent)
            response = connection.getresponse()
            text, got = response.read().decode(), {key.lower(): value for key, value in response.getheaders()}
        finally:
            connection.close()
        return Answered(response.status, text, got, json.loads(text) if response.status == 200 else {})

    def hello(self, server_name: str | None) -> str:
        """Sends a request by TLS with this server name; returns the name of the server, empty when it was closed."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with (
                socket.create_connection(("127.0.0.1", self.envoy.port), 10) as plain,
                context.wrap_socket(plain, server_hostname=server_name) as channel,
            ):
                channel.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                return str(json.loads(_all(channel).partition(b"\r\n\r\n")[2])["server"])
        except OSError:
            return ""

    def raw(self, data: bytes) -> bytes:
        """Sends these bytes and returns all that comes back; empty when the connection was closed."""
        with socket.create_connection(("127.0.0.1", self.envoy.port), 10) as channel:
            try:
                channel.sendall(data)
                return _all(channel)
            except ConnectionError:
                return b""

    def to(self, host: str, server: Echo | None = None) -> str:
        """Returns the host with the port of a server; the plain one unless another is given."""
        return f"{host}:{(server or self.plain).port}"


def _all(channel: socket.socket) -> bytes:
    """Returns what arrives until the end of the answer; Envoy closes only a second later."""
    found = b""
    while not _complete(found) and (part := channel.recv(65536)):
        found += part
    return found


def _complete(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(end and length) and len(body) >= int(length[1])


@pytest.fixture(scope="module")
def script() -> str:
    """The source of the exchange; a module may have another."""
    return exchange_script.SCRIPT


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, script: str) -> Iterator[Stage]:
    """A running Envoy without rules, its peers, and a registered client."""
    with staged(tmp_path_factory.mktemp("envoy"), script) as made:
        yield made


@contextmanager
def staged(folder: Path, script: str) -> Iterator[Stage]:
    """Runs an Envoy with that script, and its peers."""
    files = folder / "files"
    for name in ("shared", "opt", "var/run/secrets/kagenti"):
        (files / name).mkdir(parents=True)
    roots, leaf = certificates(folder, "api.tool.example", "*.wild.example")
    with (
        Oidc(WEATHER, audiences=("tool", "other")) as oidc,
        Dns() as dns,
        Echo("plain") as plain,
        Echo("secure", leaf) as secure,
        Echo("dialled") as dialled,
    ):
        made = Stage(oidc, dns, plain, secure, dialled, files, folder)
        made.register()
        where = {"dialled": dialled.port, "tls_port": secure.port, "roots": roots, "files": files, "script": script}
        with Loopback(folder, made.proxy(), dns=dns, **where) as made.envoy:
            yield made
        # Whatever the tests did: no secret and no token (a JWT begins with {" in base64) was ever logged.
        for secret in (WEATHER.secret, "Bearer ", "eyJ"):
            assert secret not in made.envoy.log()
