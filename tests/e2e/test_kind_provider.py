"""The kind provider, as far as it can be shown where no Docker is: the option collects, the configuration is right."""

import subprocess
import sys
from pathlib import Path

from tests.e2e.plane import kind

ROOT = Path(__file__).resolve().parents[2]


def test_the_option_collects_the_same_suite() -> None:
    """``--cluster kind`` collects the end-to-end tests without starting anything."""
    command = [sys.executable, "-m", "pytest", "tests/e2e/test_plane.py", "--cluster", "kind", "--collect-only", "-q"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_a_deployment" in done.stdout


def test_the_configuration_names_the_version_of_the_local_plane() -> None:
    """One control-plane node of the Kubernetes version that the local plane is built from."""
    from tests.e2e.plane.binaries import KUBERNETES

    configuration = kind.configuration()
    assert configuration["kind"] == "Cluster"
    assert [node["role"] for node in configuration["nodes"]] == ["control-plane"]
    assert configuration["nodes"][0]["image"].endswith(KUBERNETES)


def test_the_commands_load_the_image_before_the_chart() -> None:
    """Image, CRDs, chart: in this order, into the named cluster."""
    steps = kind.commands("pytest-kind", "kubeconfig", "helm")
    assert [step[0] for step in steps] == ["docker", "kind", "kubectl", "helm"]
    assert steps[1][-1] == "pytest-kind"
    assert steps[2][-1].endswith("generated/crds")
    assert "charts/kagenti" in steps[3][4]
