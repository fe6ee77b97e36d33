"""Finds the system's programs that the tests of interception start, and installs the missing ones where that is possible.

Standard library only. On Debian and its kin as root it calls apt-get; elsewhere it says what to install and ends well: the
tests that need a program say so themselves, and fail under CI=true. Says nothing where everything is there.
"""

import os
import shutil
import subprocess
import sys
import time

# Program → the Debian package that has it.
PROGRAMS = {
    "ip": "iproute2",
    "iptables": "iptables",
    "ip6tables": "iptables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}
SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")  # where they lie, and which a user's PATH may lack


def missing() -> dict[str, str]:
    """Returns the programs that are not here, with their packages."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])
    return {name: package for name, package in PROGRAMS.items() if shutil.which(name, path=path) is None}


def install(packages: list[str]) -> None:
    """Installs packages with apt-get; says how long each step took, and what went wrong."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        title, start = f"apt-get {' '.join(arguments)}", time.monotonic()
        print(f"prerequisites: {title} …", flush=True)
        done = subprocess.run(
            ["apt-get", "-q", *arguments], env=environment, check=False, capture_output=True, text=True
        )
        if done.returncode != 0:
            print(f"prerequisites: {title} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}", flush=True)
            return
        print(f"prerequisites: {title} done in {time.monotonic() - start:.0f} s", flush=True)


def main() -> None:
    """Installs what is missing, or says what a person has to install; never fails."""
    absent = missing()
    if not absent:
        return
    packages = sorted(set(absent.values()))
    if shutil.which("apt-get") and os.geteuid() == 0:
        install(packages)
        absent = missing()
    if absent:
        names, wanted = ", ".join(absent), " ".join(sorted(set(absent.values())))
        print(f"prerequisites: {names} not found; install {wanted} as root (apt-get install {wanted})", file=sys.stderr)


if __name__ == "__main__":
    main()
