"""A pod's probes, executed from the node's side as the kubelet does; KWOK never does."""

import http.client
from collections.abc import Mapping
from typing import Any

JSON = Any  # a raw container


def http_get(address: str, container: Mapping[str, JSON], probe: str) -> int:
    """Returns the status of an httpGet probe of a container, 0 where nothing answered."""
    action = container[probe]["httpGet"]
    port = action["port"]
    if isinstance(port, str):
        port = next(entry["containerPort"] for entry in container["ports"] if entry.get("name") == port)
    connection = http.client.HTTPConnection(address, port, timeout=container[probe].get("timeoutSeconds", 1))
    try:
        connection.request("GET", action.get("path", "/"), headers={"User-Agent": "kube-probe/1.36"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def succeeds(status: int) -> bool:
    """Whether a status passes an httpGet probe (Kubernetes: 200 to 399)."""
    return 200 <= status < 400
