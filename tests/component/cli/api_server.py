"""An API server as a table: a path is answered by its object, any other by 404, a write by what was sent; all are noted."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson

JSON = Any  # an object or a list

OURS = "/apis/kagenti.io/v1alpha1"


class Server:
    """What it serves, refuses (status by path) or is too busy for (how often), what it was asked, and the kubeconfig that leads to it."""

    def __init__(self, address: str, folder: Path) -> None:
        self.objects: dict[str, JSON] = {f"{OURS}/agentruntimeclusterconfigs": {"items": []}}
        self.refused: dict[str, int] = {}
        self.contested: set[str] = set()  # paths whose writes meet another owner
        self.busy: dict[str, int] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.address, self.folder = address, folder
        self.kubeconfig = self.write_kubeconfig({"token": "of-the-file"})

    def write_kubeconfig(self, user: JSON) -> str:
        """Writes a kubeconfig with that user; returns its path."""
        config = {
            "clusters": [{"name": "c", "cluster": {"server": self.address}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path = self.folder / "kubeconfig"
        path.write_bytes(orjson.dumps(config))
        return str(path)

    def namespace(self, name: str, *, runtimes: tuple[JSON, ...] = (), config: JSON = None, **labels: str) -> None:
        """Serves a namespace with objects of ours in it; every such list is also served for namespaces that do not exist."""
        self.objects.setdefault("/api/v1/namespaces", {"items": []})["items"].append(
            {"metadata": {"name": name, "labels": {f"kagenti.io/{key}": value for key, value in labels.items()}}}
        )
        self.objects[f"/api/v1/namespaces/{name}"] = self.objects["/api/v1/namespaces"]["items"][-1]
        self.objects[f"{OURS}/namespaces/{name}/agentruntimes"] = {"items": list(runtimes)}
        configs = [{"metadata": {"name": "default", "namespace": name}, "spec": config}] if config else []
        self.objects[f"{OURS}/namespaces/{name}/agentruntimeconfigs"] = {"items": configs}


def runtime(
    namespace: str, name: str, *, target: str = "weather", created: str = "2026-01-01T00:00:00Z", **spec: JSON
) -> JSON:
    """An AgentRuntime as the API server lists it: lists leave out kind and apiVersion."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": created, "uid": name, "resourceVersion": "1"}
    return {"metadata": metadata, "spec": {"targetRef": reference, **spec}}


class _Listening(ThreadingHTTPServer):
    """A command that gives up hangs up on the answers that it still waits for: nothing to tell of."""

    request_queue_size = 64  # with five, some of a command's requests at once are sent again, a second later

    def handle_error(self, request: Any, client_address: Any) -> None:  # Any: as http.server has it
        """Says nothing of a connection that the command has closed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serves on a loopback port for the length of a with block."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            server.requests.append((self.command, self.path, self.headers.get("Authorization", "")))
            written = self.command == "PATCH" or (self.command == "POST" and path not in server.objects)
            found = body if written else server.objects.get(path)
            if self.command == "DELETE":
                server.objects.pop(path, None)
            status = server.refused.get(path, 404 if found is None else 200)
            if path in server.contested and self.command == "PATCH":
                status = 409
            if server.busy.get(path):
                server.busy[path], status = server.busy[path] - 1, 429
            told = {"kind": "Status", "message": f"no {path} for you"} if status != 200 else found
            text = told if isinstance(told, bytes) else orjson.dumps(told)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PATCH = do_POST = do_DELETE = _answer  # noqa: N815  # the names that http.server asks for

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with _Listening(("127.0.0.1", 0), Handler) as listening:
        server = Server(f"http://127.0.0.1:{listening.server_address[1]}", folder)
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        listening.shutdown()
        thread.join()
