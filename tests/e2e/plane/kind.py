"""The other provider of the fixture ``cluster``: a kind cluster made by pytest-kind, with the chart installed.

What is run is a list of commands made by plain functions, so that it can be tested where no Docker is.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from tests.e2e.plane.binaries import helm

ROOT = Path(__file__).resolve().parents[3]
IMAGE = "kagenti/kagenti:e2e"


def configuration() -> dict[str, Any]:
    """Returns the kind configuration: one node, of the Kubernetes version that the local plane is built from."""
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{"role": "control-plane", "image": "kindest/node:v1.36.3"}],
    }


def commands(name: str, kubeconfig: str, helm_program: str) -> list[list[str]]:
    """Returns what brings our image and chart into a kind cluster of that name, in order."""
    install = [helm_program, "upgrade", "--install", "kagenti", str(ROOT / "charts" / "kagenti")]
    install += ["--kubeconfig", kubeconfig, "--namespace", "kagenti-system", "--create-namespace", "--wait"]
    repository, _, tag = IMAGE.partition(":")
    return [
        ["docker", "build", "-t", IMAGE, str(ROOT)],
        ["kind", "load", "docker-image", IMAGE, "--name", name],
        ["kubectl", "--kubeconfig", kubeconfig, "apply", "--server-side", "-f", str(ROOT / "generated" / "crds")],
        [*install, "--set", f"image.repository={repository}", "--set", f"image.tag={tag}"],
    ]


@dataclass
class KindCluster:
    """A kind cluster as the tests use it; ``inner`` is the object of pytest-kind."""

    VERSION: ClassVar[str] = "v0.31.0"  # the plugin's own pin cannot create clusters of today

    inner: Any  # pytest-kind has no types

    def install(self) -> Self:
        """Loads the image and installs the chart."""
        for command in commands(self.inner.name, str(self.inner.kubeconfig_path), str(helm())):
            subprocess.run(command, check=True)
        return self

    @property
    def kubeconfig(self) -> Path:
        """Path of the administrator's kubeconfig."""
        return Path(self.inner.kubeconfig_path)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs kubectl as administrator and returns its output."""
        command = [str(self.inner.kubectl_path), "--kubeconfig", str(self.kubeconfig), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout
