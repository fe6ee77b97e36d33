"""What every provider of the fixture ``cluster`` gives: where the API server is, who its administrator is, and kubectl."""

import json
import subprocess
from pathlib import Path
from typing import Protocol, runtime_checkable

from tests.e2e.plane.binaries import Binaries


@runtime_checkable
class Plane(Protocol):
    """A running cluster as tests use it, wherever it runs.

    What only the local plane has (its audit log, restarts of its API server, KWOK's nodes) is ``ControlPlane``'s; a test
    that needs it does not carry the mark ``any_cluster``.
    """

    server: str
    ca_file: Path
    admin_cert: Path
    admin_key: Path
    kubeconfig: Path
    binaries: Binaries

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs kubectl as administrator and returns its output; raises RuntimeError with what it said."""

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Returns a kubeconfig that is that service account, by a token of the TokenRequest API."""


class Access:
    """The part of a Plane that is the same for all providers; they set the files and the address."""

    server: str
    folder: Path
    ca_file: Path
    admin_cert: Path
    admin_key: Path
    kubeconfig: Path
    binaries: Binaries

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs kubectl as administrator and returns its output; raises RuntimeError with what it said."""
        command = [str(self.binaries.kubectl), "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Returns a kubeconfig that is that service account, by a token of the TokenRequest API."""
        token = self.kubectl("create", "token", name, "-n", namespace, "--duration=6h").strip()
        return self.write_kubeconfig(self.folder / f"{namespace}-{name}.kubeconfig", token=token)

    def write_kubeconfig(
        self, path: Path, *, cert: Path | None = None, key: Path | None = None, token: str = ""
    ) -> Path:
        """Writes a kubeconfig for a client certificate or a token."""
        user = {"token": token} if token else {"client-certificate": str(cert), "client-key": str(key)}
        cluster = {"server": self.server, "certificate-authority": str(self.ca_file)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "plane", "cluster": cluster}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "plane", "context": {"cluster": "plane", "user": "user"}}],
            "current-context": "plane",
        }
        path.write_text(json.dumps(config, indent=1))  # JSON is YAML
        return path
