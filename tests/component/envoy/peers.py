"""Who Envoy talks to in the tests of outbound: a DNS server, and servers that say what reached them."""

import json
import socketserver
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from tests.e2e.plane.certificates import Authority


class Dns:
    """Answers each A question with 127.0.0.1, except names that begin with ``gone``; no AAAA."""

    def __enter__(self) -> Self:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, sender = self.request
                end = data.index(0, 12)
                name, at = [], 12
                while data[at]:
                    name.append(data[at + 1 : at + 1 + data[at]].decode())
                    at += 1 + data[at]
                asked.append(".".join(name))
                question = data[12 : end + 5]
                known = not name[0].startswith("gone")
                found = known and question[-4:-2] == b"\0\1"
                head = data[:2] + (b"\x81\x80" if known else b"\x81\x83") + b"\0\1" + (b"\0\1" if found else b"\0\0")
                answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1" if found else b""
                sender.sendto(head + b"\0\0\0\0" + question + answer, self.client_address)

        self._server = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Echo:
    """An HTTP server that answers with its own name and the headers that it got; with TLS where it has a certificate."""

    def __init__(self, name: str, certificate: Path | None = None) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Says nothing."""

            def do_GET(self) -> None:
                headers = {key.lower(): value for key, value in self.headers.items()}
                body = json.dumps({"server": name, "path": self.path, "headers": headers}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = _Server(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A refused handshake is what some tests are about."""


def certificates(folder: Path, *names: str) -> tuple[Path, Path]:
    """Returns the files of a new authority's certificate, and of a leaf with its key for these DNS names."""
    authority = Authority("loopback")
    roots, leaf = folder / "roots.pem", folder / "leaf.pem"
    roots.write_bytes(authority.certificate_pem)
    leaf.write_bytes(b"".join(authority.issue(names[0], dns=names)))
    return roots, leaf
