"""The process: ``kc.sh start-dev`` on loopback, with a home and data of its own that go with it."""

import http.client
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final, Self

from tests.e2e.keycloak.distribution import Distribution
from tests.e2e.plane.ports import free_port
from tests.e2e.plane.processes import Process
from tests.e2e.plane.waiting import wait_until

_START_SECONDS: Final = 600.0  # 15 s alone on two processors, minutes among a dozen busy neighbours
_LOOK: Final = 5.0  # seconds one look may take


class Keycloak:
    """One server with an empty master realm; a context manager that leaves nothing behind.

    Args:
        distribution: What to run.
        truststore: PEM file of the authorities that it believes besides those of Java, for providers with https.
    """

    def __init__(self, distribution: Distribution, *, truststore: Path | None = None) -> None:
        self._distribution, self._truststore = distribution, truststore
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.administrator, self.password = "admin", secrets.token_urlsafe(24)
        self.seconds = 0.0
        """What its start took."""

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="kagenti-keycloak-"))
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_process"):
            self._process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Returns the end of what it said."""
        return self._process.tail()

    def _start(self) -> None:
        begin = time.monotonic()
        home = self.folder / "home"
        self._distribution.home(home)
        options = ["--http-host=127.0.0.1", f"--http-port={self._port}", "--log-level=warn"]
        options += [f"--truststore-paths={self._truststore}"] if self._truststore else []
        first = {"KC_BOOTSTRAP_ADMIN_USERNAME": self.administrator, "KC_BOOTSTRAP_ADMIN_PASSWORD": self.password}
        log = self.folder / "log"
        self._process: Process = self._distribution.start(home, *options, log=log, environment=first)
        wait_until(self._ready, _START_SECONDS, self._process.tail)
        self.seconds = time.monotonic() - begin

    def _ready(self) -> bool:
        self._process.check()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_LOOK)
        try:
            connection.request("GET", "/realms/master")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
