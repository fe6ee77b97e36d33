"""Java and Maven: from JAVA_HOME, from PATH, or installed where we may. Standard library only."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.e2e.plane.binaries import heartbeat

MINIMUM: Final = 17
"""Of Keycloak 26.7 (reference: keycloak-facts)."""
_RUNTIMES: Final = ("openjdk-17-jre-headless", "openjdk-21-jre-headless")  # a distribution of Linux has one of them
_VERSION: Final = re.compile(r'version "(?:1\.)?(\d+)')


class Unavailable(Exception):
    """There is no Java that is new enough, or no Maven, and none may be installed; says why and what to do."""


def java() -> str:
    """Returns the path of a Java that is new enough; raises Unavailable."""
    found = _java()
    if found is None:
        _install(_RUNTIMES, f"no Java >= {MINIMUM} in JAVA_HOME or PATH")
        found = _java()
    if found is None:
        raise Unavailable(f"the Java that was installed is not on PATH or older than {MINIMUM}; set JAVA_HOME")
    return found


def maven() -> str:
    """Returns the path of Maven; raises Unavailable."""
    if (found := shutil.which("mvn")) is None:
        _install(("maven",), "no mvn in PATH")
        found = shutil.which("mvn")
    if found is None:
        raise Unavailable("the Maven that was installed is not on PATH")
    return found


def _java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    for candidate in (str(Path(home) / "bin" / "java") if home else None, shutil.which("java")):
        if candidate and _major(candidate) >= MINIMUM:
            return candidate
    return None


def _major(program: str) -> int:
    """Returns 17 for 17.0.15, 8 for 1.8.0, 0 where it does not run."""
    try:
        said = subprocess.run([program, "-version"], check=False, capture_output=True, text=True).stderr
    except OSError:
        return 0
    match = _VERSION.search(said)
    return int(match[1]) if match else 0


def _install(packages: tuple[str, ...], lacking: str) -> None:
    """Installs the first of these packages that there is."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise Unavailable(f"{lacking}, and only root can install one by apt-get; install Java >= {MINIMUM} and Maven")
    said = ""
    with heartbeat(f"{lacking}; apt-get install {packages[0]}", time.monotonic()):
        _run([apt, "update"])
        for package in packages:
            done = _run([apt, "install", "-y", "--no-install-recommends", package])
            if done.returncode == 0:
                return
            said = done.stderr.strip()[-500:]
    print(f"keycloak: {said}", file=sys.stderr, flush=True)
    raise Unavailable(f"{lacking}, and apt-get could install none of {', '.join(packages)}")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
