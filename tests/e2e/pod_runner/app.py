"""What stands in for the app's containers: a server on each port that says what reached it. Run in the namespace.

``python app.py PORT…`` answers HTTP on each port with JSON: port, method, path, headers, peer; on ``raw:PORT`` it
speaks first and echoes, as a database does. ``/slow?SECONDS`` answers late, ``/stream?SECONDS`` in pieces.
Its answers have a name, so that they are agent cards too.
"""

import json
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECES = 20  # of a streamed answer


class Handler(BaseHTTPRequestHandler):
    """Echoes requests; late or in pieces where asked, as a long completion does."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second would wait 40 ms for the first one's ACK

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        if self.path.startswith("/stream?"):
            self._stream(float(self.path.partition("?")[2]))
            return
        if self.path.startswith("/slow?"):
            time.sleep(float(self.path.partition("?")[2]))  # what is tested is that the request outlives an update
        said = {"name": "echo", "port": self.server.server_address[1], "method": self.command, "path": self.path}
        body = json.dumps({**said, "headers": dict(self.headers), "peer": self.client_address[0]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _stream(self, seconds: float) -> None:
        """Answers in chunks (RFC 9112 section 7.1), each the number of its piece."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(PIECES):
            piece = b"%d\n" % number
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(seconds / PIECES)  # what is tested is that the answer outlives an update
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = _answer  # noqa: N815  # names of http.server

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Dual(ThreadingHTTPServer):
    """Listens on IPv6 and IPv4."""

    address_family = socket.AF_INET6
    daemon_threads = True
    request_queue_size = 512


class Raw(socketserver.StreamRequestHandler):
    """Speaks first, then echoes."""

    def handle(self) -> None:
        """Serves one connection."""
        self.wfile.write(b"220 hello\n")
        for line in self.rfile:
            self.wfile.write(line)


class RawServer(socketserver.ThreadingTCPServer):
    """A server-first protocol on IPv6 and IPv4."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True


def main(ports: list[str]) -> None:
    """Serves until it is killed."""
    for word in ports:
        raw, number = word.startswith("raw:"), int(word.removeprefix("raw:"))
        server = RawServer(("::", number), Raw) if raw else Dual(("::", number), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("serving", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
