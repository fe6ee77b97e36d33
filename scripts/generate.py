"""Writes every generated file anew; ``--check`` changes nothing and fails where one has drifted."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GENERATORS = sorted(path for path in (ROOT / "scripts").glob("gen_*.py"))


def main() -> int:
    """Runs each generator with our own arguments; returns 1 if any failed."""
    codes = [
        subprocess.run([sys.executable, str(path), *sys.argv[1:]], cwd=ROOT, check=False).returncode
        for path in GENERATORS
    ]
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
