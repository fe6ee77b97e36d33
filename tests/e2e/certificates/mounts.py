"""Secrets as files, as a kubelet mounts them: late, all files at once, by switching the symlink ``..data``."""

import base64
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any, Final

from tests.e2e.api_client import ApiClient
from tests.e2e.plane.access import Plane

JSON = Any  # a Secret

_LOOK: Final = 0.1  # seconds between two looks at the Secret


class Mount:
    """One Secret in one pod's folder, ``lag`` seconds behind; a context manager, a thread of its own."""

    def __init__(self, plane: Plane, *, namespace: str, secret: str, folder: Path, lag: float) -> None:
        self._api = ApiClient(plane)
        self._path = f"/api/v1/namespaces/{namespace}/secrets/{secret}"
        self.folder, self._lag, self._written = folder, lag, 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"mount of {secret}")
        folder.mkdir(parents=True)

    def __enter__(self) -> "Mount":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._api.close()

    @property
    def mounted(self) -> bool:
        """Whether the Secret has been seen: before that a kubelet starts no container."""
        return (self.folder / "..data").exists()

    def _follow(self) -> None:
        current: JSON = None
        changed = 0.0
        while not self._ended.wait(_LOOK):
            answer = self._api.request("GET", self._path)
            found = answer.body.get("data") if answer.ok else current
            if found != current and not changed:
                changed = time.monotonic()
            # The first mount waits for nothing; a later change is seen at some later sync of the pod.
            if found != current and (current is None or time.monotonic() - changed >= self._lag):
                self._write(found)
                current, changed = found, 0.0

    def _write(self, data: JSON) -> None:
        before = self.folder / os.readlink(self.folder / "..data") if self.mounted else None
        self._written += 1
        fresh = self.folder / f"..{self._written}"
        fresh.mkdir()
        for name, text in data.items():
            (fresh / name).write_bytes(base64.b64decode(text))
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        (self.folder / "..next").symlink_to(fresh.name)
        (self.folder / "..next").rename(self.folder / "..data")
        if before is not None:
            shutil.rmtree(before)
