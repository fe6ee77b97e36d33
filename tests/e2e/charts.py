"""The real helm over our chart; what it renders, as objects."""

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from copy import deepcopy
from io import StringIO
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from tests.e2e.plane.binaries import helm

JSON = Any  # a Kubernetes object

CHART: Final = Path(__file__).resolve().parents[2] / "charts" / "kagenti"
RELEASE_NAMESPACE: Final = "kagenti-system"
KUBE_VERSION: Final = "1.36.3"
# A helm lives for a second, of which the collector takes a third.
_ENVIRONMENT: Final = {**os.environ, "GOGC": "off"}


@functools.cache
def without_kinds() -> Path:
    """Returns a copy of the chart that has no CRDs: helm parses their 230 kB at each start, which is most of its time.

    For renderings, which leave CRDs out anyway, and for releases on a plane that has them.
    """
    folder = Path(tempfile.mkdtemp(prefix="kagenti-chart-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(shutil.copytree(CHART, folder / CHART.name, ignore=shutil.ignore_patterns("crds")))


def run_helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs helm."""
    return subprocess.run([str(helm()), *arguments], capture_output=True, text=True, check=False, env=_ENVIRONMENT)


@functools.cache
def _rendered(values: tuple[str, ...]) -> list[JSON]:
    command = ("template", "kagenti", str(without_kinds()), "-n", RELEASE_NAMESPACE, "--no-hooks")
    done = run_helm(*command, "--kube-version", KUBE_VERSION, *values)
    assert done.returncode == 0, done.stderr
    return parsed(done.stdout)


def render(*values: str) -> list[JSON]:
    """Returns what helm renders with these values; fails with helm's message."""
    return deepcopy(_rendered(values))


def parsed(text: str) -> list[JSON]:
    """Returns the objects of a YAML stream."""
    return [document for document in YAML(typ="safe", pure=True).load_all(StringIO(text)) if document]
