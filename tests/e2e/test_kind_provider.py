"""The kind provider, as far as it can be shown where no Docker is: the option collects, the commands are right."""

import argparse
import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from ruamel.yaml import YAML

from tests.e2e.conftest import LOCAL_ONLY
from tests.e2e.plane import kind
from tests.e2e.plane.access import Plane
from tests.e2e.plane.binaries import KUBERNETES, TOOLS, helm
from tests.e2e.plane.certificates import mint_authority

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_DOCKER = str(Path(sys.executable).parent)
PROGRAMS = kind.Programs(kind="/bin/kind", kubectl="/bin/kubectl", helm="/bin/helm")


def _pytest(*arguments: str, **environment: str) -> str:
    """Returns what pytest says of the end-to-end suite; fails with it where it is not content."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _collected(*arguments: str) -> list[str]:
    return [line for line in _pytest("tests/e2e", "--collect-only", *arguments).splitlines() if "::" in line]


def test_the_option_collects_the_same_suite(request: pytest.FixtureRequest) -> None:
    """``--cluster kind`` collects every end-to-end test that the local provider has: at least those of this very run."""
    local = {item.nodeid for item in request.session.items if item.path.is_relative_to(ROOT / "tests" / "e2e")}
    on_kind = _collected("--cluster", "kind")
    assert local - set(on_kind) == set()
    assert any("test_main_job.py" in test for test in on_kind)


def test_what_cannot_run_says_why() -> None:
    """Where no Docker is, the tests for any cluster say so, and the others what they need of the local plane."""
    said = _pytest("tests/e2e/test_main_job.py", "tests/e2e/test_plane.py", "--cluster", "kind", PATH=WITHOUT_DOCKER)
    assert "a kind cluster needs a Docker engine" in said
    assert LOCAL_ONLY in said
    assert "passed" not in said


def test_the_pinned_release_is_of_the_local_planes_kubernetes() -> None:
    """Kind's release number is 4 behind the minor version of its node image (v0.32: Kubernetes 1.36)."""
    pinned = next(line.split()[1] for line in (TOOLS / "kind" / "go.mod").read_text().splitlines() if "kind v" in line)
    assert int(pinned.split(".")[1]) + 4 == int(KUBERNETES.split(".")[1])


def test_a_program_of_the_callers_choice_is_kept() -> None:
    """pytest-kind's own options win."""
    option = argparse.Namespace(kind_bin="/my/kind", kind_kubectl_bin="/my/kubectl")
    kind.choose_programs(option)
    assert (option.kind_bin, option.kind_kubectl_bin) == ("/my/kind", "/my/kubectl")


def test_the_image_is_built_and_loaded() -> None:
    """From the Dockerfile at the root, into the named cluster, by pytest-kind's own kind."""
    assert (ROOT / "Dockerfile").exists()
    assert kind.image_commands("pytest-kind", PROGRAMS) == [
        ["docker", "build", "--tag", kind.IMAGE, str(ROOT)],
        ["/bin/kind", "load", "docker-image", kind.IMAGE, "--name", "pytest-kind"],
    ]


def test_the_chart_comes_after_what_it_needs(tmp_path: Path) -> None:
    """CRDs, then namespace and certificate, then the release."""
    crds, certificates, release = kind.chart_commands(Path("kubeconfig"), tmp_path, PROGRAMS, mode="both")
    assert crds[:3] == certificates[:3] == ["/bin/kubectl", "--kubeconfig", "kubeconfig"]
    assert crds[-1] == str(ROOT / "generated" / "crds")
    assert certificates[-1] == str(tmp_path / "certificates.json")
    assert release[:4] == ["/bin/helm", "upgrade", "--install", "kagenti"]


def test_the_real_helm_renders_that_release(tmp_path: Path) -> None:
    """The values are those of the chart: our image, never pulled, and the CA that signed the Secret's certificate."""
    kind.write_certificates(tmp_path)
    programs = kind.Programs(kind="kind", kubectl="kubectl", helm=str(helm()))
    release = kind.chart_commands(Path("kubeconfig"), tmp_path, programs, mode="cr")[2]
    values = [text for text in release[release.index("--set") :] if text not in ("--wait",)]
    command = [
        str(helm()),
        "template",
        *release[3:5],
        "--namespace",
        kind.NAMESPACE,
        "--kube-version",
        "1.36.1",
        *values,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = [found for found in YAML(typ="safe", pure=True).load_all(done.stdout) if found]
    documents = {found["kind"]: found for found in loaded if found["metadata"]["name"] != "kagenti-xds"}
    container = documents["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["imagePullPolicy"]) == (kind.IMAGE, "Never")
    assert "--trigger-mode=cr" in container["args"]
    entry = documents["MutatingWebhookConfiguration"]["webhooks"][0]["clientConfig"]
    authority = x509.load_pem_x509_certificate(base64.b64decode(entry["caBundle"]))
    secret = json.loads((tmp_path / "certificates.json").read_text())["items"][1]
    leaf = x509.load_pem_x509_certificate(secret["stringData"]["tls.crt"].encode())
    leaf.verify_directly_issued_by(authority)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    host = f"{entry['service']['name']}.{entry['service']['namespace']}.svc"
    assert host in names.get_values_for_type(x509.DNSName)


@dataclass
class Inner:
    """pytest-kind's cluster after it was created."""

    name: str
    kind_path: Path
    kubeconfig_path: Path


def test_it_is_a_plane_as_the_tests_use_it(tmp_path: Path) -> None:
    """Address and administrator come from kind's kubeconfig."""
    authority = mint_authority("kind")
    certificate, key = authority.issue("kubernetes-admin", organizations=["system:masters"])
    parts = {"ca": authority.certificate_pem, "cert": certificate, "key": key}
    coded = {name: base64.b64encode(data).decode() for name, data in parts.items()}
    config = {
        "clusters": [{"cluster": {"server": "https://127.0.0.1:1", "certificate-authority-data": coded["ca"]}}],
        "users": [{"user": {"client-certificate-data": coded["cert"], "client-key-data": coded["key"]}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    found = kind.KindCluster(Inner("k", Path("kind"), tmp_path / "kubeconfig"), tmp_path)
    assert isinstance(found, Plane)
    assert found.server == "https://127.0.0.1:1"
    assert found.ca_file.read_bytes() == authority.certificate_pem
    assert (found.admin_cert.read_bytes(), found.admin_key.read_bytes()) == (certificate, key)


def test_the_local_plane_is_one_too(cluster: Plane) -> None:
    """Both providers have what a test for any cluster may use."""
    assert isinstance(cluster, Plane)
