"""Spans of a real Envoy reach a collector, by either transport; the sampling of the route table decides how many."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from kagenti.core.envoy import tracing
from tests.component.envoy.entrance import entered
from tests.e2e.plane.waiting import wait_until
from tests.otlp import EXPORT, Export, collecting
from tests.unit.core.envoy import proxies

JSON = Any  # settings

SERVICE: Final = b"weather"


@contextmanager
def _http() -> Iterator[tuple[int, list[Export]]]:
    seen: list[Export] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = b""
            while size := int(self.rfile.readline(), 16):  # Envoy sends chunks (RFC 9112 section 7.1)
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            seen.append(Export(self.path, self.headers["host"], body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1], seen
        server.shutdown()


@pytest.mark.parametrize(
    ("collector", "protocol", "path"),
    [(_http, "http/protobuf", "/v1/traces"), (collecting, "grpc", EXPORT)],
    ids=["http", "grpc"],
)
def test_spans_reach_the_collector(collector: Any, protocol: str, path: str, tmp_path: Path) -> None:
    with collector() as (port, seen):
        exporter = {"type": "otlp", "endpoint": f"127.0.0.1:{port}", "protocol": protocol}
        values = {"trace.exporters": [exporter], "trace.sampling.rate": 1}
        with entered(tmp_path, values) as entrance:
            for _ in range(5):  # five spans are sent at once, fewer after five seconds
                assert entrance.get("/task", entrance.token())[0] == 200
            wait_until(lambda: seen, 20, entrance.envoy.log)
    assert seen[0].path == path
    assert SERVICE in seen[0].body
    assert seen[0].authority in ("", f"127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("rate", "exporters", "share", "at_all"),
    [(0.1, None, 1000, 10_000), (0.0001, None, 1, 10_000), (1, None, 10_000, 10_000), (0, None, 0, 0), (1, [], 0, 0)],
)
def test_share_of_traces_is_out_of_ten_thousand(rate: float, exporters: JSON, share: int, at_all: int) -> None:
    """A bare number would be out of a hundred (facts section 4)."""
    values = {"trace.sampling.rate": rate, **({} if exporters is None else {"trace.exporters": exporters})}
    found = tracing.sampling(proxies.settings(values))
    assert found["random_sampling"] == {"numerator": share, "denominator": "TEN_THOUSAND"}
    assert found["overall_sampling"]["numerator"] == at_all
    assert found["client_sampling"]["numerator"] == 0


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("otel.observability:4317", ("otel.observability", 4317, False)),
        ("http://otel:4318/base", ("otel", 4318, False)),
        ("https://otel.example", ("otel.example", 443, True)),
        ("http://otel.example", ("otel.example", 80, False)),
        ("[fd00::1]:4317", ("fd00::1", 4317, False)),
    ],
)
def test_endpoint_is_read_as_sdks_read_it(endpoint: str, expected: tuple[str, int, bool]) -> None:
    values = {"trace.exporters": [{"type": "otlp", "endpoint": endpoint}]}
    assert tracing.collector(proxies.settings(values)) == expected
