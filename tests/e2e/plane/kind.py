"""The other provider of the fixture ``cluster``: a kind cluster made by pytest-kind, with our image and chart in it.

What is run is a list of commands made by plain functions, so that it can be tested where no Docker is. kind and kubectl are
built from pinned source like the rest: pytest-kind's own downloads are too old for the clusters of today.
"""

import argparse
import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from ruamel.yaml import YAML

from tests.e2e.plane.access import Access
from tests.e2e.plane.binaries import KIND, find, helm
from tests.e2e.plane.certificates import Authority, mint_authority

ROOT = Path(__file__).resolve().parents[3]
IMAGE = "kagenti/kagenti:e2e"
NAMESPACE = "kagenti-system"
SECRET = "kagenti-webhook-tls"
XDS_SECRET = "kagenti-xds-tls"


class Inner(Protocol):
    """What we use of pytest-kind's cluster, which has no types."""

    name: str
    kind_path: Path
    kubeconfig_path: Path


@dataclass(frozen=True)
class Programs:
    """Paths of the programs that bring us into a cluster."""

    kind: str
    kubectl: str
    helm: str


def choose_programs(option: argparse.Namespace) -> None:
    """Sets pytest-kind's options to the programs of the pinned source, where the caller chose none."""
    option.kind_bin = option.kind_bin or find(KIND)["kind"]
    option.kind_kubectl_bin = option.kind_kubectl_bin or str(find().kubectl)


def write_certificates(folder: Path) -> None:
    """Writes what certificates.mode=provided needs: the namespace with both Secrets, and the CA for caBundle."""
    authority = mint_authority("kagenti webhook on kind")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    secrets = [_secret(SECRET, "kagenti-webhook", authority), _secret(XDS_SECRET, "kagenti-xds", mint_authority("xds"))]
    items = {"apiVersion": "v1", "kind": "List", "items": [namespace, *secrets]}
    (folder / "certificates.json").write_text(json.dumps(items))
    (folder / "ca.pem").write_bytes(authority.certificate_pem)


def _secret(name: str, service: str, authority: Authority) -> dict[str, Any]:
    """Returns the Secret of one server, with the CA that signed it: the xDS server's goes into pods."""
    certificate, key = authority.issue(service, dns=[f"{service}.{NAMESPACE}.svc"])
    files = {"tls.crt": certificate, "tls.key": key, "ca.crt": authority.certificate_pem}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "stringData": {file: content.decode() for file, content in files.items()},
    }


def image_commands(name: str, programs: Programs) -> list[list[str]]:
    """Returns what builds our image and brings it into the cluster of that name."""
    return [
        ["docker", "build", "--tag", IMAGE, str(ROOT)],
        [programs.kind, "load", "docker-image", IMAGE, "--name", name],
    ]


def chart_commands(kubeconfig: Path, folder: Path, programs: Programs, *, mode: str) -> list[list[str]]:
    """Returns what installs or changes the release, in order; safe to repeat. ``folder`` holds the certificates."""
    apply = [programs.kubectl, "--kubeconfig", str(kubeconfig), "apply", "--server-side", "--force-conflicts", "-f"]
    repository, _, tag = IMAGE.partition(":")
    values = {
        "image.repository": repository,
        "image.tag": tag,
        "image.pullPolicy": "Never",  # it was loaded; a pull would ask a registry that does not have it
        "certificates.mode": "provided",  # no cert-manager here
        "certificates.secretName": SECRET,
        "certificates.xdsSecretName": XDS_SECRET,
        "webhook.triggerMode": mode,
    }
    install = [programs.helm, "upgrade", "--install", "kagenti", str(ROOT / "charts" / "kagenti")]
    install += ["--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE, "--wait", "--timeout", "3m"]
    install += [argument for key, value in values.items() for argument in ("--set", f"{key}={value}")]
    install += ["--set-file", f"certificates.caBundle={folder / 'ca.pem'}"]
    return [
        [*apply, str(ROOT / "generated" / "crds")],
        [*apply, str(folder / "certificates.json")],
        install,
    ]


class KindCluster(Access):
    """A kind cluster as the tests use it; ``inner`` is the object of pytest-kind."""

    def __init__(self, inner: Inner, folder: Path) -> None:
        self.inner, self.folder = inner, folder
        self.binaries = find()
        self.kubeconfig = Path(inner.kubeconfig_path).resolve()
        self.ca_file, self.admin_cert, self.admin_key = (folder / name for name in ("ca.crt", "admin.crt", "admin.key"))
        self.server = self._unpack(YAML(typ="safe", pure=True).load(self.kubeconfig.read_text()))

    def _unpack(self, config: Any) -> str:  # Any: a kubeconfig
        """Writes the certificates inside kind's kubeconfig to files and returns the server's address."""
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        for path, text in (
            (self.ca_file, cluster["certificate-authority-data"]),
            (self.admin_cert, user["client-certificate-data"]),
            (self.admin_key, user["client-key-data"]),
        ):
            path.write_bytes(base64.b64decode(text))
        return str(cluster["server"])

    def load_image(self) -> Self:
        """Builds the image, loads it, and mints the certificates of the webhook."""
        write_certificates(self.folder)
        self._run(image_commands(self.inner.name, self._programs()))
        return self

    def install(self, *, mode: str) -> None:
        """Installs the chart, or changes the release to that trigger mode; returns when the webhook is rolled out."""
        self._run(chart_commands(self.kubeconfig, self.folder, self._programs(), mode=mode))

    def _programs(self) -> Programs:
        return Programs(str(self.inner.kind_path), str(self.binaries.kubectl), str(helm()))

    def _run(self, commands: list[list[str]]) -> None:
        for command in commands:
            print(f"kind: {' '.join(command[:4])} …", flush=True)
            subprocess.run(command, check=True)
