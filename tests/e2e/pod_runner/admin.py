"""Envoy's admin interface, on the pipe in its own container: what it says of itself, read from outside by root."""

import http.client
import json
import re
import socket
from typing import Any, Final
from urllib.parse import quote

from kagenti.core.envoy import layout

JSON = Any  # pages of Envoy's admin interface

LISTENERS: Final = r"^listener_manager\.[a-vx-z]"
"""Statistics of listeners added, changed, drained and removed (Envoy: "Listener manager statistics")."""
_OVER_ADS = r"cluster_manager\.cds|extension_config_discovery\.\w+\.\w+|http\.\w+\.rds\.\w+"
UPDATES: Final = rf"^({_OVER_ADS})\.(update_success|update_rejected|config_reload|config_fail)$"
"""What came over ADS and was taken or refused, by resource: CDS, ECDS and RDS."""
CONNECTED: Final = "control_plane.connected_state"


class Admin:
    """The interface of one running Envoy, by its pid: its root file system is not ours."""

    def __init__(self, pid: int) -> None:
        self._socket = f"/proc/{pid}/root{layout.ADMIN_SOCKET}"

    def page(self, path: str) -> str:
        """Returns a page; raises OSError where Envoy does not answer."""
        connection = _Connection(self._socket)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        assert answer.status == http.client.OK, f"{path}: {answer.status} {text[:200]}"
        return text

    def statistics(self, pattern: str) -> dict[str, int]:
        """Returns counters and gauges whose name matches."""
        found = json.loads(self.page(f"/stats?format=json&filter={quote(pattern)}"))["stats"]
        return {row["name"]: row["value"] for row in found if "name" in row}

    def statistic(self, name: str) -> int:
        """Returns one counter or gauge."""
        return self.statistics(f"^{re.escape(name)}$")[name]

    def listeners(self) -> JSON:
        """Returns all listeners as they are configured, static, dynamic, warming or draining, with when they changed."""
        found = json.loads(self.page("/config_dump"))["configs"]
        return next(dump for dump in found if dump["@type"].endswith("ListenersConfigDump"))


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("admin", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
