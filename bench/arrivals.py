"""The pods of one namespace as a watch shows them: when each came, whether with sidecars, when it was Ready, when it went."""

import http.client
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import orjson
from tests.e2e.plane.access import Plane

JSON = Any  # a raw pod, a watch event

RECEIPT = "kagenti.io/injected"


@dataclass
class Arrival:
    """One pod; moments are ``time.monotonic`` as this process saw them, None before they come."""

    app: str
    injected: bool
    ready: float | None = None
    gone: float | None = None

    def ready_for(self, until: float) -> float:
        """Returns for how many seconds it has been Ready, up to a moment."""
        return 0.0 if self.ready is None else max(0.0, min(self.gone or until, until) - self.ready)


@dataclass
class Arrivals:
    """Watches from ``with`` on, in a thread of its own."""

    plane: Plane
    namespace: str
    pods: dict[str, Arrival] = field(default_factory=dict)

    def __enter__(self) -> Self:
        address = urlsplit(self.plane.server)
        context = ssl.create_default_context(cafile=str(self.plane.ca_file))
        context.load_cert_chain(str(self.plane.admin_cert), str(self.plane.admin_key))
        self._connection = http.client.HTTPSConnection(address.hostname or "", address.port, context=context)
        query = urlencode({"watch": "true"})
        self._connection.request("GET", f"/api/v1/namespaces/{self.namespace}/pods?{query}")
        self._answer = self._connection.getresponse()
        self._ending = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        if self._connection.sock is not None:
            self._connection.sock.shutdown(2)  # SHUT_RDWR: ends the read of the other thread
        self._thread.join(5)
        self._connection.close()

    def of(self, app: str) -> list[Arrival]:
        """Returns the pods of a workload that came so far."""
        return [pod for pod in list(self.pods.values()) if pod.app == app]

    def whole(self, app: str, replicas: int) -> bool:
        """Whether a workload has its replicas Ready and injected, and nothing besides."""
        here = [pod for pod in self.of(app) if pod.gone is None]
        return len(here) == replicas and all(pod.injected and pod.ready is not None for pod in here)

    def _read(self) -> None:
        try:
            for line in self._answer:
                self._take(orjson.loads(line))
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            if not self._ending:  # closing it from the other thread ends the read in one of these ways
                raise

    def _take(self, event: Mapping[str, JSON]) -> None:
        pod, now = event["object"], time.monotonic()
        metadata = pod["metadata"]
        found = self.pods.get(metadata["uid"])
        if found is None:
            injected = RECEIPT in (metadata.get("annotations") or {})
            found = self.pods[metadata["uid"]] = Arrival(metadata["labels"]["app"], injected)
        ready = any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in (pod.get("status") or {}).get("conditions") or ()
        )
        if ready and found.ready is None:
            found.ready = now
        if event["type"] == "DELETED" or metadata.get("deletionTimestamp"):
            found.gone = found.gone or now
