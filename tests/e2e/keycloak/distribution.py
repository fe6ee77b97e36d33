"""Where Keycloak comes from: the cache, or Maven Central through Maven; only coordinates stand here.

Standard library only, like ``tests.e2e.plane.binaries``, so that ``make`` can run it. The download runs under a lock, into
a temporary folder, and is renamed when complete. What Keycloak builds at its very first start (its "augmentation", half of
that start) is done here as well and kept.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.keycloak.java import Unavailable, java, maven
from tests.e2e.plane.binaries import cache_folder, heartbeat, locked
from tests.e2e.plane.processes import Process
from tests.e2e.plane.waiting import wait_until

VERSION: Final = "26.7.3"
ARTIFACT: Final = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
SHA256: Final = "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f"
PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
BUILT_FOR: Final = ("--db=dev-file",)
"""Options that the build depends on; a server that is given the same ones starts without building anew."""
_JAVA: Final = Path(__file__).with_name("java.sh")
_LIGHT: Final = "-XX:TieredStopAtLevel=1"  # half the processor time of a start; a test needs no peak
_LINKED: Final = Path("lib/lib")  # 168 of 188 MB, never written to
_BUILD_SECONDS: Final = 900.0  # two busy processors; 25 s when they are idle


@dataclass(frozen=True)
class Distribution:
    """An unpacked Keycloak that is never run itself, and the Java for it."""

    folder: Path
    java: str

    def home(self, target: Path) -> Path:
        """Makes a home of its own for one server and returns the program in it; all that is ever written is in there."""
        shutil.copytree(self.folder, target, ignore=_all_but_linked, symlinks=True)
        (target / _LINKED).symlink_to((self.folder / _LINKED).resolve())
        return target / "bin" / "kc.sh"

    def start(self, home: Path, *options: str, log: Path, environment: Mapping[str, str] | None = None) -> Process:
        """Starts ``kc.sh start-dev`` in a home; shell and Java both end with whoever started them."""
        # kc.sh runs JAVA as a child of the shell: it has to be told, too, whom not to outlive.
        found = {"JAVA": str(_JAVA), "KAGENTI_JAVA": self.java, "JAVA_OPTS_APPEND": _LIGHT, **(environment or {})}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("KC_")}
        command = ["sh", str(home / "bin" / "kc.sh"), "start-dev", *BUILT_FOR, *options]
        return Process("keycloak", command, log=log, environment={**inherited, **found})


def _all_but_linked(folder: str, names: list[str]) -> list[str]:
    return [_LINKED.name] if Path(folder).parts[-1:] == ("lib",) and _LINKED.name in names else []


def key() -> str:
    """Returns what the cache is keyed by: the artifact, its content, the build's options."""
    return hashlib.sha256("\n".join((ARTIFACT, SHA256, *BUILT_FOR)).encode()).hexdigest()[:16]


def find() -> Distribution:
    """Returns the distribution, fetching it once.

    Raises Unavailable without Java (or, for the first time, Maven); RuntimeError where it cannot be had for other reasons.
    """
    found = java()
    folder = cache_folder() / "keycloak" / f"{VERSION}-{key()}"
    if not folder.exists():
        with locked(cache_folder() / "keycloak.lock"):
            if not folder.exists():
                _fetch(folder, found)
    return Distribution(folder, found)


def _fetch(folder: Path, java_: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as temporary:
        place = Path(temporary)
        with heartbeat(f"{ARTIFACT} from Maven Central (180 MB)", time.monotonic()):
            archive = _copied(place)
        _verify(archive)
        with zipfile.ZipFile(archive) as content:
            content.extractall(place)
        unpacked = place / f"keycloak-{VERSION}"
        with heartbeat(f"Keycloak {VERSION}: build for development mode", time.monotonic()):
            _augment(Distribution(unpacked, java_), place / "home")
        unpacked.rename(folder)


def _copied(place: Path) -> Path:
    """Returns the archive; Maven's own settings say through which repository or mirror it comes."""
    options = [f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={place}", f"-Dmaven.repo.local={place / 'repository'}"]
    command = [maven(), "--batch-mode", "--no-transfer-progress", f"{PLUGIN}:copy", *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=place)
    archive = place / f"keycloak-quarkus-dist-{VERSION}.zip"
    if done.returncode != 0 or not archive.exists():
        raise RuntimeError(f"keycloak: Maven could not get {ARTIFACT}:\n{done.stdout[-3000:]}")
    return archive


def _verify(archive: Path) -> None:
    with archive.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != SHA256:
        raise RuntimeError(f"keycloak: {ARTIFACT} has the SHA-256 {found}, not {SHA256}; it is not used")


def _augment(distribution: Distribution, home: Path) -> None:
    """Starts it once, as far as its build goes, and keeps what was built."""
    distribution.home(home)
    process = distribution.start(home, "--http-host=127.0.0.1", "--http-port=0", log=home.with_name("build.log"))
    try:
        wait_until(lambda: _built(process), _BUILD_SECONDS, process.tail)
    finally:
        process.stop()
    built = distribution.folder / "lib" / "quarkus"
    shutil.rmtree(built)
    shutil.copytree(home / "lib" / "quarkus", built)


def _built(process: Process) -> bool:
    process.check()
    # Said by the server that kc.sh starts once the build has ended.
    return "Running the server in development mode" in process.log.read_text(errors="replace")


def main() -> None:
    """Fetches it ahead of the tests; where that cannot be, says so and leaves it to them, which say it again."""
    try:
        print(f"keycloak: {find().folder}")
    except Unavailable as reason:
        print(f"keycloak: {reason}; its end-to-end tests will be skipped", file=sys.stderr)
    except RuntimeError as reason:
        print(f"keycloak: not fetched ahead, its end-to-end tests will try again: {reason}", file=sys.stderr)


if __name__ == "__main__":
    main()
