"""Pins the dependencies of pyproject.toml with hashes into requirements/, for every platform, without index URLs."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGETS = {"run.txt": [], "dev.txt": ["--extra", "dev"]}


def main() -> None:
    """Installs the resolver into the environment and writes both lock files."""
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "uv"], check=True)
    uv = Path(sys.executable).parent / "uv"
    for name, extra in TARGETS.items():
        command = [str(uv), "pip", "compile", "pyproject.toml", *extra, "--universal", "--python-version", "3.11"]
        command += ["--generate-hashes", "--no-header", "--no-annotate", "-q", "-o", f"requirements/{name}"]
        subprocess.run(command, cwd=ROOT, check=True)
        print(f"lock: requirements/{name} written")


if __name__ == "__main__":
    main()
