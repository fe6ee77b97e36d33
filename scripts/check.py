"""Everything that is checked without running the product: lint, format, types, contracts, drift, wheel.

Runs every check even when one fails, prints one line for each, and exits 1 if any failed.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

WHEEL_PROBE = (
    "import importlib.resources, kagenti_api.v1alpha1.fields as f, kagenti.core.admission; "
    "assert len(f.LAYERED_FIELDS) > 50; print('wheel: imports', len(f.LAYERED_FIELDS), 'fields')"
)

CHECKS: dict[str, list[str]] = {
    "lint": [str(BIN / "ruff"), "check", "."],
    "format": [str(BIN / "ruff"), "format", "--check", "."],
    "types": [str(BIN / "mypy")],
    "contracts": [str(BIN / "lint-imports")],
    "drift": [sys.executable, "scripts/generate.py", "--check"],
}


def report(name: str, command: list[str], *, cwd: Path = ROOT) -> bool:
    """Runs one check and says what came of it; the output is shown only where it failed."""
    start = time.monotonic()
    # PYTHONPATH: import-linter and the generators read the checkout, whatever is installed elsewhere.
    done = subprocess.run(
        command, cwd=cwd, check=False, capture_output=True, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    verdict = "ok" if done.returncode == 0 else "FAILED"
    print(f"check: {name:10} {verdict} ({time.monotonic() - start:.1f} s)", flush=True)
    if done.returncode != 0:
        print(done.stdout + done.stderr, flush=True)
    return done.returncode == 0


def wheel() -> bool:
    """Builds the wheel and imports it from an empty virtual environment that sees only the dependencies."""
    with tempfile.TemporaryDirectory() as folder:
        build = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            folder,
            ".",
        ]
        if not report("wheel", build):
            return False
        built = next(Path(folder).glob("kagenti-*.whl"))
        place = Path(folder) / "site"
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place), str(built)]
        if not report("install", install):
            return False
        probe = f"import sys; sys.path.insert(0, {str(place)!r}); {WHEEL_PROBE}; import kagenti; "
        probe += f"assert kagenti.__file__.startswith({str(place)!r}), kagenti.__file__"
        return report("import", [sys.executable, "-c", probe], cwd=Path(folder))


def main() -> int:
    """Runs all checks and returns the exit code."""
    results = [report(name, command) for name, command in CHECKS.items()]
    return 0 if all([*results, wheel()]) else 1


if __name__ == "__main__":
    sys.exit(main())
