"""The Dockerfile's build step, as far as it runs without Docker."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.unit.test_image import ROOT, SOURCES


def test_the_wheel_can_be_built_from_the_context(tmp_path: Path) -> None:
    """What COPY brings is enough for both packages, the CRDs and the program."""
    for source in SOURCES:
        if (ROOT / source).is_dir():
            shutil.copytree(
                ROOT / source, tmp_path / source, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, tmp_path / source)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next((tmp_path / "dist").glob("*.whl"))) as wheel:
        names = wheel.namelist()
    for expected in (
        "kagenti/cli/__init__.py",
        "kagenti_api/v1alpha1/__init__.py",
        "kagenti/crds/agentruntimes.kagenti.io.yaml",
    ):
        assert expected in names
