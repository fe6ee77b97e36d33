"""What the kubelet would mount: downward API, memory, projected tokens, Secrets; a folder of the host for each volume."""

import base64
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

JSON = Any  # a raw pod or volume

TokenOf = Callable[[str, int], str]
"""Asks the API server for a token of the pod: audience, seconds."""


class Volumes:
    """The volumes of one pod under ``folder``; ``token`` gives projected tokens, ``secret`` a Secret's data by name."""

    def __init__(
        self, pod: Mapping[str, JSON], folder: Path, *, token: TokenOf, secret: Callable[[str], Mapping[str, str]]
    ) -> None:
        self._pod, self._folder, self._token, self._secret = pod, folder, token, secret
        for volume in pod["spec"].get("volumes") or ():
            self._make(volume)

    def folder(self, name: str) -> Path:
        """Returns the folder of a volume."""
        return self._folder / name

    def _make(self, volume: Mapping[str, JSON]) -> None:
        folder = self.folder(volume["name"])
        folder.mkdir(parents=True, exist_ok=True)
        if "downwardAPI" in volume:
            self._write_fields(folder, volume["downwardAPI"])
        elif "projected" in volume:
            self._write_projected(folder, volume["projected"])
        elif "secret" in volume:
            for key, value in self._secret(volume["secret"]["secretName"]).items():
                _write(folder / key, base64.b64decode(value), volume["secret"].get("defaultMode", 0o644))
        elif "emptyDir" in volume:
            folder.chmod(0o777)

    def _write_fields(self, folder: Path, source: Mapping[str, JSON]) -> None:
        items = ((item["path"], item["fieldRef"]["fieldPath"]) for item in source["items"])
        project(folder, {path: field(self._pod, wanted) for path, wanted in items}, source["defaultMode"])

    def _write_projected(self, folder: Path, source: Mapping[str, JSON]) -> None:
        entries = (entry["serviceAccountToken"] for entry in source["sources"] if "serviceAccountToken" in entry)
        tokens = {
            entry["path"]: self._token(entry.get("audience", ""), entry["expirationSeconds"]) for entry in entries
        }
        project(folder, tokens, source["defaultMode"])

    def refresh(self) -> None:
        """Writes downward API and tokens anew, as the kubelet does when they change."""
        for volume in self._pod["spec"].get("volumes") or ():
            if "projected" in volume or "downwardAPI" in volume:
                self._make(volume)


def project(folder: Path, files: Mapping[str, str], mode: int) -> None:
    """Writes a volume's files as the kubelet does: all at once, by a link that is turned to a folder of this moment.

    Source: Kubernetes, pkg/volume/util/atomic_writer.go; who watches a file sees the move of ``..data`` only.
    """
    made = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    made.chmod(0o755)
    for name, text in files.items():
        _write(made / name, text.encode(), mode)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    turned = folder / "..data_tmp"
    turned.symlink_to(made.name)
    before = (folder / "..data").resolve()
    turned.replace(folder / "..data")
    if before.name != "..data":  # it was a link: there is an older folder
        shutil.rmtree(before)


def _write(path: Path, content: bytes, mode: int) -> None:
    scratch = path.with_suffix(".new")
    scratch.write_bytes(content)
    scratch.chmod(mode)
    scratch.replace(path)


def field(pod: Mapping[str, JSON], path: str) -> str:
    """Returns what the downward API gives for a field path of a pod."""
    metadata = pod["metadata"]
    for prefix in ("annotations", "labels"):
        if path.startswith(f"metadata.{prefix}['"):
            return str((metadata.get(prefix) or {}).get(path.partition("['")[2].removesuffix("']"), ""))
    values = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
        "status.podIPs": (pod.get("status") or {}).get("podIPs", ""),
    }
    return str(values[path])


def tokens_of(plane: Any, pod: Mapping[str, JSON]) -> TokenOf:  # Any: ControlPlane, or what has its kubectl
    """Returns a maker of tokens bound to the pod, by the TokenRequest API."""
    metadata = pod["metadata"]
    account = pod["spec"].get("serviceAccountName") or "default"

    def make(audience: str, seconds: int) -> str:
        words = ["create", "token", account, "-n", metadata["namespace"], f"--duration={seconds}s"]
        words += [f"--audience={audience}"] if audience else []
        words += ["--bound-object-kind=Pod", f"--bound-object-name={metadata['name']}"]
        text = plane.kubectl(*words, f"--bound-object-uid={metadata['uid']}")
        return str(text).strip()

    return make


def secrets_of(plane: Any, namespace: str) -> Callable[[str], Mapping[str, str]]:  # Any: as above
    """Returns a reader of Secrets of that namespace, as the kubelet is one."""

    def read(name: str) -> Mapping[str, str]:
        found: Mapping[str, str] = orjson.loads(plane.kubectl("get", "secret", name, "-n", namespace, "-o", "json"))[
            "data"
        ]
        return found

    return read
