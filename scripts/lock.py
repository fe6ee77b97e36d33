"""Pins the dependencies of pyproject.toml with hashes into requirements/, for every platform, without index URLs.

run.txt: what the product needs; dev.txt: and what its development needs; build.txt: what builds the wheel, for the image;
agent.txt: what the example agent needs, which shares an environment with neither.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMON = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate", "-q"]


def pin(uv: Path, name: str, *sources: str, text: str | None = None) -> None:
    """Resolves the sources (``-`` is the text) and writes requirements/NAME."""
    command = [str(uv), "pip", "compile", *sources, *COMMON, "-o", f"requirements/{name}"]
    subprocess.run(command, cwd=ROOT, check=True, input=text, text=True)
    print(f"lock: requirements/{name} written", flush=True)


def main() -> None:
    """Installs the resolver into the environment and writes the lock files."""
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "uv"], check=True)
    uv = Path(sys.executable).parent / "uv"
    pin(uv, "run.txt", "pyproject.toml")
    pin(uv, "dev.txt", "pyproject.toml", "--extra", "dev")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    # The versions of dev.txt: the image's wheel is built by the very hatchling that was tested.
    pin(
        uv,
        "build.txt",
        "-",
        "--constraint",
        "requirements/dev.txt",
        text="\n".join(project["build-system"]["requires"]),
    )
    pin(uv, "agent.txt", "-", text="\n".join(project["dependency-groups"]["agent"]))


if __name__ == "__main__":
    main()
