"""A second mutating webhook, as another team would run it: small, hostile to our containers, served from a thread."""

import base64
import http.server
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from tests.e2e.plane.certificates import mint_authority

JSON = Any  # a pod, or an operation on it


class Neighbour:
    """Serves one mutation of pods; ``patch`` returns JSON patch operations for a pod."""

    def __init__(self, folder: Path, patch: Callable[[JSON], list[JSON]]) -> None:
        self._authority = mint_authority("neighbour")
        certificate, key = self._authority.issue("neighbour", dns=["localhost"], ips=["127.0.0.1"])
        (folder / "neighbour.crt").write_bytes(certificate)
        (folder / "neighbour.key").write_bytes(key)
        self.calls = 0
        self.changed: list[str] = []  # names of the pods that it changed, one entry a call
        neighbour = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
                neighbour.calls += 1
                made = patch(request["object"])
                if made:
                    neighbour.changed.append(request["object"]["metadata"].get("name", ""))
                operations = orjson.dumps(made)
                answer = {"uid": request["uid"], "allowed": True, "patchType": "JSONPatch"}
                answer["patch"] = base64.b64encode(operations).decode()
                body = orjson.dumps(
                    {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}
                )
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(folder / "neighbour.crt"), str(folder / "neighbour.key"))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def configuration(self, name: str, namespace: str, *, reinvocation: str) -> JSON:
        """Its webhook configuration, for the pods of one namespace; the name decides whether it is called before us.

        With ``reinvocation`` IfNeeded it is called again after a webhook behind it changed the pod.
        """
        bundle = base64.b64encode(self._authority.certificate_pem).decode()
        entry = {
            "name": "mutate.neighbour.example",
            "clientConfig": {"url": f"https://127.0.0.1:{self._server.server_address[1]}/", "caBundle": bundle},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "reinvocationPolicy": reinvocation,
        }
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [entry],
        }

    def start(self) -> None:
        """Starts serving."""
        self._thread.start()

    def stop(self) -> None:
        """Stops serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
