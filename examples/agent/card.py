"""The design's agent card endpoint, made to run on the standard library: serves the card on port 8081."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CARD = {
    "name": "Weather Intelligence Agent",
    "version": "2.1.0",
    "capabilities": {"streaming": True, "batchProcessing": True},
    "skills": [{"name": "get_forecast", "description": "Get weather forecast"}],
}
PATHS = ("/.well-known/agent-card.json", "/.well-known/agent.json")


class Handler(BaseHTTPRequestHandler):
    """Answers the card, and 404 for all else."""

    def do_GET(self) -> None:
        """Answers one GET."""
        found = self.path in PATHS
        body = json.dumps(CARD).encode() if found else b"{}"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", 8081), Handler).serve_forever()  # noqa: S104  # a pod serves on its address
