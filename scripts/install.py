"""Creates the virtual environment with the locked dependencies and kagenti itself, editable; safe to run again.

Runs on the standard library alone, because nothing is installed yet. Prints a line per step.
"""

import hashlib
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "dev.txt"
AGENT_LOCK = ROOT / "requirements" / "agent.txt"
MINIMUM = (3, 11)


def fingerprint() -> str:
    """Returns a hash over everything that decides what gets installed."""
    digest = hashlib.sha256(sys.version.encode())
    for path in (LOCK, AGENT_LOCK, ROOT / "pyproject.toml", ROOT / "scripts" / "build_hook.py"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def run(title: str, command: list[str]) -> None:
    """Runs one step, says how long it took, and ends the program where it fails."""
    start = time.monotonic()
    print(f"install: {title} …", flush=True)
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode != 0:
        sys.exit(f"install: {title} failed with exit code {done.returncode}; mend the error above and run it again")
    print(f"install: {title} done in {time.monotonic() - start:.0f} s", flush=True)


def made_by_this_python(target: Path) -> bool:
    """Whether an environment is there and belongs to the interpreter that runs this: another one's cannot be updated."""
    settings = target / "pyvenv.cfg"
    home = f"home = {Path(sys.base_prefix, 'bin')}"
    return settings.exists() and home in settings.read_text().splitlines()


def main(target: Path) -> None:
    """Brings the environment at that path up to the lock file; nothing is done when it is already there."""
    if sys.version_info < MINIMUM:
        sys.exit(f"install: Python {MINIMUM[0]}.{MINIMUM[1]} or newer is needed, this is {sys.version.split()[0]}")
    stamp = target / ".installed"
    wanted = fingerprint()
    if stamp.exists() and stamp.read_text() == wanted:
        stamp.touch()
        return
    print(f"install: creating {target} with Python {sys.version.split()[0]}", flush=True)
    venv.create(target, with_pip=True, clear=not made_by_this_python(target))
    pip = [str(target / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run("locked dependencies", [*pip, "--require-hashes", "-r", str(LOCK)])
    run("kagenti (editable)", [*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)])
    install_agent(pip, target / "agent")
    stamp.write_text(wanted)


def install_agent(pip: list[str], target: Path) -> None:
    """Brings the example agent's own environment up to its lock file."""
    if not (target / "bin" / "python").exists():
        venv.create(target, with_pip=False, symlinks=True)
    command = [*pip[:3], "--python", str(target / "bin" / "python"), *pip[3:]]
    run("the example agent's dependencies", [*command, "--require-hashes", "-r", str(AGENT_LOCK)])


if __name__ == "__main__":
    main((ROOT / sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / ".venv")
