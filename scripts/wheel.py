"""Proves that the built wheel works alone: a real virtual environment that has the locked run-time dependencies and nothing else.

The environment is kept outside the checkout, filed under the hash of the lock file and the interpreter, and holds the dependencies
between runs; the wheel comes fresh into it each time and leaves it again. Every step says what it does; exit 1 where one fails.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "run.txt"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kagenti" / "wheel"
CRDS = len(list((ROOT / "generated" / "crds").glob("*.yaml")))
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")

# Run by the environment's own interpreter, isolated: neither the checkout nor PYTHONPATH is on its path.
PROBE = """
import pathlib, sys
import kagenti, kagenti_api, kagenti.core.admission, kagenti_api.v1alpha1.fields as fields
place = pathlib.Path(sys.argv[1]).resolve()
for module in (kagenti, kagenti_api):
    found = pathlib.Path(module.__file__).resolve()
    assert found.is_relative_to(place), f"{module.__name__} comes from {found}, not from the wheel in {place}"
assert len(fields.LAYERED_FIELDS) > 50, f"only {len(fields.LAYERED_FIELDS)} settings"
"""


def run(title: str, *command: str, cwd: Path = ROOT) -> str:
    """Runs one step and returns its output; ends the program with what it said where it fails."""
    start = time.monotonic()
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=environment, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"wheel: {title} failed with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    print(f"wheel: {title} ({time.monotonic() - start:.1f} s)", flush=True)
    return done.stdout


def environment_folder() -> Path:
    """Returns where the environment of this lock file and interpreter is kept."""
    return CACHE / hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]


@contextmanager
def locked() -> Iterator[None]:
    """Holds the cache: two checks at once would exchange each other's wheel."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare(place: Path) -> str:
    """Returns the interpreter of the environment, after filling it once with the locked run-time dependencies."""
    python, complete = str(place / "bin" / "python"), place / ".complete"
    if not complete.exists():
        print(f"wheel: new environment {place}", flush=True)
        venv.create(place, with_pip=True, clear=True)
        run("run-time dependencies installed", python, *PIP, "install", "--require-hashes", "-r", str(LOCK))
        complete.touch()
    return python


def prove(python: str, place: Path, folder: Path) -> None:
    """Asks the installed program for what only a complete wheel can answer; ``folder`` is where it is asked from."""
    run("dependencies agree with the lock file", python, *PIP, "check")
    run("imports from the wheel alone", python, "-I", "-c", PROBE, str(place), cwd=folder)
    run("kagenti --help", str(place / "bin" / "kagenti"), "--help", cwd=folder)
    text = run("kagenti crds", str(place / "bin" / "kagenti"), "crds", cwd=folder)
    if (found := text.count("kind: CustomResourceDefinition")) != CRDS:
        sys.exit(f"wheel: kagenti crds prints {found} CRDs, generated/crds has {CRDS}")


def main() -> None:
    """Builds, installs, proves, and takes the wheel out again."""
    place = environment_folder()
    with locked(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = prepare(place)
        run("built", sys.executable, *PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", name, str(ROOT))
        built = next(folder.glob("kagenti-*.whl"))
        # First out: an earlier run that was killed may have left its wheel.
        run("environment emptied", python, *PIP, "uninstall", "--yes", "kagenti")
        run("installed", python, *PIP, "install", "--no-deps", "--no-index", str(built))
        try:
            prove(python, place, folder)
        finally:
            run("taken out again", python, *PIP, "uninstall", "--yes", "kagenti")


if __name__ == "__main__":
    main()
