"""One container as a process: its network and root file system, its mounts, environment, user and command."""

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.pod_runner.network import Network
from tests.e2e.pod_runner.volumes import Volumes, field

JSON = Any  # a raw container or pod

# The container's root is the machine's own under an overlay: mounts and hosts change nothing outside.
_ROOT = """set -eu
base=$1; shift
mount -t tmpfs kagenti "$base"
mkdir "$base/upper" "$base/work" "$base/rootfs"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/rootfs"
for folder in dev proc sys; do mount --rbind "/$folder" "$base/rootfs/$folder"; done
mkdir -p "$base/rootfs/run/netns"
printf '%s' "$HOSTS" > "$base/rootfs/etc/hosts"
while [ "$1" != -- ]; do
  place=$base/rootfs$(chroot "$base/rootfs" realpath -m "$2")  # /var/run leads elsewhere, inside this root
  mkdir -p "$place"; mount --bind "$1" "$place"; shift 2
done
shift
exec chroot "$base/rootfs" "$@"
"""
_VARIABLE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Returns a command word or env value with ``$(NAME)`` replaced (Kubernetes: ``$$`` is ``$``, unknown ones stay)."""
    return _VARIABLE.sub(lambda found: variables.get(found[1], found[0]) if found[1] else "$", text)


def environment_of(
    container: Mapping[str, JSON], pod: Mapping[str, JSON], secrets: Any
) -> dict[str, str]:  # Any: callable
    """Returns a container's environment as the kubelet computes it."""
    values: dict[str, str] = {}
    for entry in container.get("env") or ():
        source = entry.get("valueFrom") or {}
        if "fieldRef" in source:
            values[entry["name"]] = field(pod, source["fieldRef"]["fieldPath"])
        elif "secretKeyRef" in source:
            values[entry["name"]] = str(secrets(source["secretKeyRef"]["name"]).get(source["secretKeyRef"]["key"], ""))
        else:
            values[entry["name"]] = expand(entry.get("value", ""), values)
    return values


class Container:
    """Builds the command line that runs one container of a pod on this machine."""

    def __init__(
        self,
        manifest: Mapping[str, JSON],
        *,
        network: Network,
        volumes: Volumes,
        environment: Mapping[str, str],
        hosts: str,
        folder: Path,
    ) -> None:
        self.manifest, self._network, self._volumes = manifest, network, volumes
        self._environment, self._hosts = dict(environment), hosts
        self._base = folder / f"root-{manifest['name']}"
        self._base.mkdir(parents=True, exist_ok=True)

    def command(self, words: Sequence[str]) -> list[str]:
        """Returns the full command: namespaces, mounts, user and capabilities, then these words."""
        mounts: list[str] = []
        for mount in self.manifest.get("volumeMounts") or ():
            folder = self._volumes.folder(mount["name"])
            if folder.exists():
                mounts += [str(folder), mount["mountPath"]]
        return [
            *self._network.enter(), "unshare", "--mount", "--propagation=private", "/bin/sh", "-c", _ROOT, "root",
            str(self._base), *mounts, "--", *self._user(), *words,
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """Returns the process's environment."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTS": self._hosts,
            **self._environment,
        }

    def run(self, words: Sequence[str], *, timeout: float = 60) -> str:
        """Runs to the end and returns the output; raises RuntimeError with it when the exit code is not 0."""
        done = subprocess.run(
            self.command(words), env=self.environment(), capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{self.manifest['name']} ended with {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout + done.stderr

    def words(self, program: str = "") -> list[str]:
        """Returns command and args as the pod says them; ``program`` stands for the image's entrypoint."""
        command = list(self.manifest.get("command") or ([program] if program else []))
        return [expand(word, self._environment) for word in [*command, *(self.manifest.get("args") or ())]]

    def _user(self) -> list[str]:
        context = self.manifest.get("securityContext") or {}
        user, group = context.get("runAsUser", 0), context.get("runAsGroup", 0)
        words = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        added = (context.get("capabilities") or {}).get("add") or ()
        wanted = ",".join(["-all", *(f"+{name.lower()}" for name in added)])
        words += [f"--bounding-set={wanted}", f"--inh-caps={wanted}"]
        return words if context.get("allowPrivilegeEscalation", True) else [*words, "--no-new-privs"]

    def __str__(self) -> str:
        return shlex.join(self.words())
