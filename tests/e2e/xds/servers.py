"""What an app calls: small servers at one address and port that remember who came and what they brought."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Seen:
    """A server and what has reached it: each request's host and Authorization, and how many connections."""

    address: str
    port: int
    requests: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0


@contextmanager
def echoing(address: str, port: int = 0) -> Iterator[Seen]:
    """An HTTP server that answers with what reached it: host, Authorization, and the address that was dialled."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = {"host": self.headers["Host"], "authorization": self.headers.get("Authorization", ""), "at": address}
            seen.requests.append(said)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_: object) -> None:
            """Says nothing: tokens pass here."""

    server = http.server.ThreadingHTTPServer((address, port), Handler)
    seen = Seen(address, server.server_address[1])
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def listening(address: str) -> Iterator[Seen]:
    """A server of raw TCP that counts each connection as it comes, hears who speaks first, and answers nothing."""
    listener = socket.create_server((address, 0))
    seen = Seen(address, listener.getsockname()[1])

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed: the test is over
                return
            seen.connections += 1
            with connection:
                connection.settimeout(1)
                with suppress(OSError):
                    connection.recv(64)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
