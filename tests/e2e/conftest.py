"""The fixture ``cluster`` with its two providers: our own control plane (default), and kind through pytest-kind."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.kind import KindCluster

sys.setswitchinterval(0.001)  # the proxy's thread and the tests share one interpreter


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--cluster local|kind``."""
    parser.addoption(
        "--cluster", choices=("local", "kind"), default="local", help="where the end-to-end tests run: local or kind"
    )


def docker_runs() -> bool:
    """Whether a Docker engine answers."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A running cluster with the methods of ControlPlane."""
    if request.config.getoption("--cluster") == "local":
        with ControlPlane() as plane:
            yield plane
        return
    if not docker_runs():
        pytest.skip("a kind cluster needs a Docker engine, and none answers; run with --cluster local")
    os.environ.setdefault("KIND_VERSION", KindCluster.VERSION)
    yield KindCluster(request.getfixturevalue("kind_cluster")).install()
