"""A small client of the API server for tests: one keep-alive connection, raw bodies, warnings and status as received."""

import http.client
import ssl
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from tests.e2e.plane.access import Plane

JSON = Any  # a Kubernetes object as received

PLURALS = {
    "Pod": ("", "v1", "pods"),
    "Namespace": ("", "v1", "namespaces"),
    "Deployment": ("apps", "v1", "deployments"),
    "StatefulSet": ("apps", "v1", "statefulsets"),
    "DaemonSet": ("apps", "v1", "daemonsets"),
    "ReplicaSet": ("apps", "v1", "replicasets"),
    "Job": ("batch", "v1", "jobs"),
    "CronJob": ("batch", "v1", "cronjobs"),
    "MutatingWebhookConfiguration": ("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"),
    "ValidatingWebhookConfiguration": ("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
    "CustomResourceDefinition": ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
    "AgentCard": ("kagenti.io", "v1alpha1", "agentcards"),
    "AgentRuntime": ("kagenti.io", "v1alpha1", "agentruntimes"),
    "AgentRuntimeConfig": ("kagenti.io", "v1alpha1", "agentruntimeconfigs"),
    "AgentRuntimeClusterConfig": ("kagenti.io", "v1alpha1", "agentruntimeclusterconfigs"),
}
CLUSTER_SCOPED = {
    "Namespace",
    "AgentRuntimeClusterConfig",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "CustomResourceDefinition",
}
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Accept header of a list of metadata alone (Kubernetes API concepts, "Metadata-only fetches")."""


@dataclass(frozen=True)
class Answer:
    """What the API server said: status, decoded body, and the texts of its warning headers (RFC 7234 section 5.5)."""

    status: int
    body: JSON
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the request was accepted."""
        return self.status < 300  # HTTP success

    @property
    def message(self) -> str:
        """The message of a refusal."""
        return str(self.body.get("message", "")) if isinstance(self.body, Mapping) else ""


class ApiClient:
    """Talks to the plane's API server as its administrator, or as whom a certificate (file, key) or ``acts_as`` name.

    Args:
        plane: Where the API server is.
        certificate: Files of another client certificate and its key.
        acts_as: A user whom the certificate's may impersonate.
    """

    def __init__(self, plane: Plane, certificate: tuple[Path, Path] | None = None, *, acts_as: str = "") -> None:
        address = urlsplit(plane.server)
        context = ssl.create_default_context(cafile=str(plane.ca_file))
        context.load_cert_chain(*map(str, certificate or (plane.admin_cert, plane.admin_key)))
        self._more = {"Impersonate-User": acts_as} if acts_as else {}
        self._connection = http.client.HTTPSConnection(
            address.hostname or "", address.port, context=context, timeout=30
        )
        # Clients are many and short-lived in tests; a socket left to the collector would be reported as leaked.
        weakref.finalize(self, self._connection.close)

    def request(
        self, method: str, path: str, body: JSON = None, *, accept: str = "application/json", **query: str
    ) -> Answer:
        """Sends one request; connects anew once when the server closed the idle connection."""
        target = f"{path}?{urlencode(query)}" if query else path
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Content-Type": kind, "Accept": accept, "User-Agent": "kagenti-tests"} | self._more
        payload = body if isinstance(body, bytes) else orjson.dumps(body) if body is not None else None
        for attempt in (1, 2):
            try:
                self._connection.request(method, target, payload, headers)
                response = self._connection.getresponse()
                text = response.read()
                break
            except (http.client.HTTPException, ConnectionError, ssl.SSLError):
                self._connection.close()  # the next request opens it again
                if attempt == 2:  # the second try was the last
                    raise
        warnings = tuple(_warning(value) for key, value in response.getheaders() if key.lower() == "warning")
        try:
            decoded = orjson.loads(text)
        except orjson.JSONDecodeError:
            decoded = {"message": text.decode(errors="replace")}
        return Answer(response.status, decoded, warnings)

    def close(self) -> None:
        """Closes the connection; the client may be used again."""
        self._connection.close()

    def path(self, manifest: Mapping[str, JSON] | str, namespace: str = "", name: str = "") -> str:
        """Returns the REST path of an object's collection, or of the object when a name is given."""
        kind = manifest if isinstance(manifest, str) else manifest["kind"]
        group, version, plural = PLURALS[kind]
        base = f"/apis/{group}/{version}" if group else f"/api/{version}"
        if kind not in CLUSTER_SCOPED:
            base += f"/namespaces/{namespace}"
        return f"{base}/{plural}" + (f"/{name}" if name else "")

    def create(self, manifest: Mapping[str, JSON], *, dry_run: bool = False) -> Answer:
        """Creates an object in the namespace it names."""
        namespace = manifest["metadata"].get("namespace", "")
        query = {"dryRun": "All"} if dry_run else {}
        return self.request("POST", self.path(manifest, namespace), dict(manifest), **query)

    def get(self, kind: str, namespace: str, name: str) -> Answer:
        """Reads an object."""
        return self.request("GET", self.path(kind, namespace, name))

    def items(self, kind: str, namespace: str, **query: str) -> list[JSON]:
        """Returns the objects of a kind in a namespace."""
        answer = self.request("GET", self.path(kind, namespace), **query)
        return list(answer.body.get("items") or [])

    def count(self, kind: str, namespace: str) -> int:
        """Returns how many objects of a kind a namespace has, without reading them (ListMeta ``remainingItemCount``)."""
        found = self.request("GET", self.path(kind, namespace), limit="1").body
        return len(found.get("items") or ()) + int(found["metadata"].get("remainingItemCount") or 0)

    def delete(self, kind: str, namespace: str, name: str) -> Answer:
        """Deletes an object at once."""
        return self.request("DELETE", self.path(kind, namespace, name), gracePeriodSeconds="0")

    def merge(self, kind: str, namespace: str, name: str, patch: JSON) -> Answer:
        """Changes an object by a JSON merge patch (RFC 7386)."""
        return self.request("PATCH", self.path(kind, namespace, name), patch)


def _warning(header: str) -> str:
    """Returns the text of a warning header: ``299 - "text"``."""
    start, end = header.find('"'), header.rfind('"')
    return header[start + 1 : end].replace('\\"', '"').replace("\\\\", "\\") if start >= 0 else header
