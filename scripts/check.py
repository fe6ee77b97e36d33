"""Everything that is checked without running the product: lint, format, types, contracts, drift, wheel.

Runs every check even when one fails, prints one line for each, and exits 1 if any failed.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SILENCE = 2  # seconds that a check may run before it is said to be running
BEAT = 10  # seconds from then on

CHECKS: dict[str, list[str]] = {
    "lint": [str(BIN / "ruff"), "check", "."],
    "format": [str(BIN / "ruff"), "format", "--check", "."],
    "types": [str(BIN / "mypy")],
    "contracts": [str(BIN / "lint-imports")],
    "drift": [sys.executable, "scripts/generate.py", "--check"],
    "wheel": [sys.executable, "scripts/wheel.py"],
}


def report(name: str, command: list[str]) -> bool:
    """Runs one check and says what came of it; the output is shown only where it failed."""
    start, patience = time.monotonic(), SILENCE
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        while True:
            try:
                output, _ = process.communicate(timeout=patience)
                break
            except subprocess.TimeoutExpired:
                patience = BEAT
                print(f"check: {name:10} … {time.monotonic() - start:.0f} s", flush=True)
    verdict = "ok" if process.returncode == 0 else "FAILED"
    print(f"check: {name:10} {verdict} ({time.monotonic() - start:.1f} s)", flush=True)
    if process.returncode != 0:
        print(output, flush=True)
    return process.returncode == 0


def main() -> int:
    """Runs all checks and returns the exit code."""
    results = [report(name, command) for name, command in CHECKS.items()]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
