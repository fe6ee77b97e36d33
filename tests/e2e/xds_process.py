"""The process ``kagenti xds`` as the chart runs it: under its rendered account, with a certificate of the installation's CA."""

import json
import signal
import sys
import urllib.error
import urllib.request
from typing import Any

from tests.e2e.installed import RELEASE_NAMESPACE, Installed
from tests.e2e.plane.ports import free_port
from tests.e2e.plane.processes import Process
from tests.e2e.plane.waiting import wait_until

HOST = f"kagenti-xds.{RELEASE_NAMESPACE}.svc"


def _body(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # our own process
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError):
        return None


class Xds:
    """One replica, listening on an address that pods reach; may be stopped, killed and started again.

    ``program`` is the module that stands for the command ``kagenti``.
    """

    def __init__(
        self,
        installation: Installed,
        *,
        address: str,
        replica: str = "kagenti-xds-0",
        port: int = 15010,
        program: str = "kagenti",
    ) -> None:
        self.installation, self.address, self.port, self.replica = installation, address, port, replica
        self.status_port, self.debug_port = free_port(), free_port()
        folder = installation.folder
        certificate, key = installation.xds_authority.issue("kagenti-xds", dns=[HOST, "localhost"], ips=[address])
        files = folder / f"{replica}.crt", folder / f"{replica}.key"
        for file, content in zip(files, (certificate, key), strict=True):
            file.write_bytes(content)
        self.log = folder / f"{replica}.log"
        kubeconfig = installation.plane.service_account_kubeconfig(RELEASE_NAMESPACE, "kagenti-xds")
        self._command = [sys.executable, "-m", program, "xds", "--host", address, "--port", str(port)]
        self._command += ["--status-port", str(self.status_port), "--debug-port", str(self.debug_port)]
        self._command += ["--tls-cert", str(files[0]), "--tls-key", str(files[1]), "--replica", replica]
        self._command += ["--release-namespace", RELEASE_NAMESPACE, "--kubeconfig", str(kubeconfig)]
        self._command += ["--shutdown-grace", "0.5"]
        self.process: Process | None = None

    def start(self, *, wait: bool = True) -> None:
        """Starts the process, and waits until it is ready."""
        self.process = Process(self.replica, self._command, log=self.log)
        if wait:
            wait_until(self.ready, 40, self.process.tail)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        try:
            self.process.check() if self.process else None
        except RuntimeError:
            return False
        return self.process is not None

    def ready(self) -> bool:
        """Whether /readyz answers 200; raises when the process has ended."""
        if self.process is not None:
            self.process.check()
        return self.page("/readyz") is not None

    def lacks(self) -> str:
        """Returns what /readyz says is missing; empty when it is ready or does not answer."""
        try:
            with urllib.request.urlopen(f"http://{self.address}:{self.status_port}/readyz", timeout=10):
                return ""
        except urllib.error.HTTPError as refused:
            with refused:
                return " ".join(json.load(refused)["missing"])
        except (urllib.error.URLError, OSError):
            return ""

    def page(self, path: str) -> str | None:
        """Returns the body of a 200 answer of the status port, else None."""
        return _body(f"http://{self.address}:{self.status_port}{path}")

    def debug(self, page: str) -> Any:  # Any: JSON
        """Returns a page of ``/debug``, decoded."""
        return json.loads(_body(f"http://127.0.0.1:{self.debug_port}/debug/{page}") or "[]")

    def stop(self) -> None:
        """Ends the process politely."""
        if self.process is not None:
            self.process.stop(patience=20)  # killed, it would leave its entries behind

    def kill(self) -> None:
        """Ends the process as a crash would."""
        if self.process is not None:
            self.process.stop(lambda popen: popen.send_signal(signal.SIGKILL))

    @property
    def pid(self) -> int:
        """Pid of the running process."""
        assert self.process is not None
        return self.process.pid
