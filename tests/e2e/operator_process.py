"""The process ``kagenti operator`` as the chart runs it: under its rendered account, on loopback."""

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from typing import Any

from tests.e2e.installed import RELEASE_NAMESPACE, Installed
from tests.e2e.plane.ports import free_port
from tests.e2e.plane.processes import Process
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a page
RESTART = "operator.allowRestart=true"
"""The chart's value that lets the operator restart workloads."""


class Operator:
    """One replica; may be stopped, killed and started again."""

    def __init__(
        self,
        installation: Installed,
        identity: str = "kagenti-operator-0",
        *,
        lease_seconds: int = 30,
        extra: tuple[str, ...] = (),
        program: str = "kagenti",
    ) -> None:
        """``program`` is the module that stands for the command ``kagenti``; a Lease as long as an API server may stall here."""
        self.installation, self.identity = installation, identity
        self.status_port = free_port()
        self.log = installation.folder / f"{identity}.log"
        kubeconfig = installation.plane.service_account_kubeconfig(RELEASE_NAMESPACE, "kagenti-operator")
        self._command = [sys.executable, "-m", program, "operator", "--identity", identity, "--host", "127.0.0.1"]
        self._command += ["--status-port", str(self.status_port), "--release-namespace", RELEASE_NAMESPACE]
        self._command += ["--trigger-mode", installation.options.mode, "--target", installation.options.target]
        self._command += ["--kubeconfig", str(kubeconfig)]
        self._command += ["--xds-ca", str(installation.folder / "xds-ca.crt"), "--lease-seconds", str(lease_seconds)]
        self._command += extra
        self._command += ["--allow-restart"] if RESTART in installation.options.extra else []
        self.process: Process | None = None

    def start(self, *, leads: bool = True) -> "Operator":
        """Starts the process; waits until it leads and has read everything, or until it stands by."""
        if self.process is None:
            read = ("agentruntimes.kagenti.io", "deployments.apps")
            wait_until(lambda: self.may_read(*read), 30, lambda: "the role kagenti-operator is not aggregated")
        self.process = Process(self.identity, self._command, log=self.log)
        wait_until(lambda: self._is_up(leads=leads), 60, self.process.tail)
        return self

    def may_read(self, *resources: str) -> bool:
        """Whether the aggregated role has its rules for these; a controller fills them in."""
        plane, account = self.installation.plane, f"system:serviceaccount:{RELEASE_NAMESPACE}:kagenti-operator"
        try:
            for resource in resources:
                plane.kubectl("auth", "can-i", "list", resource, "--all-namespaces", f"--as={account}", "--quiet")
        except RuntimeError:
            return False
        return True

    def _is_up(self, *, leads: bool) -> bool:
        """Whether /readyz says so; raises when the process has ended."""
        if self.process is not None:
            self.process.check()
        body = self.page("/readyz")
        return body is not None and (json.loads(body)["leading"] or not leads)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        try:
            self.process.check() if self.process else None
        except RuntimeError:
            return False
        return self.process is not None

    @property
    def leads(self) -> bool:
        """Whether it holds the Lease and has read everything."""
        body = self.page("/readyz")
        return body is not None and bool(json.loads(body)["leading"])

    def page(self, path: str) -> str | None:
        """Returns the body of a 200 answer of the status port, else None."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.status_port}{path}", timeout=10) as answer:  # ours
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return None

    def metric(self, name: str) -> float:
        """Returns one sample of /metrics, named with its labels; 0 without one. Raises RuntimeError where nobody answers."""
        page = self.page("/metrics")
        if page is None:
            raise RuntimeError(f"{self.identity} shows no metrics")
        for line in page.splitlines():
            head, _, value = line.rpartition(" ")
            if head == name:
                return float(value)
        return 0.0

    def stop(self) -> None:
        """Ends the process politely."""
        if self.process is not None:
            self.process.stop(patience=20)  # killed, it would not give its Lease back

    def suspend(self) -> None:
        """Has the process stand still, until it is killed."""
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGSTOP)

    def kill(self) -> None:
        """Ends the process as a crash would."""
        if self.process is not None:
            self.process.stop(lambda popen: popen.send_signal(signal.SIGKILL))
