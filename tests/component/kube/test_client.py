"""What a KubeClient leaves behind: no connection outlives the loop it was opened on."""

import asyncio
import gc
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kagenti.kube import KubeClient
from kagenti.kube.connection import Connection
from tests.unit.webhook.conftest import make_authority

_BEGUN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"


@contextmanager
def _server_that_only_begins(folder: Path) -> Iterator[Connection]:
    """A TLS server that begins an answer, then neither reads nor closes; on a thread, so that it outlives a loop."""
    authority = make_authority()
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(*authority.issue().write(folder))
    done = threading.Event()

    def serve(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with served.wrap_socket(accepted, server_side=True) as connection:
            connection.recv(65536)
            connection.sendall(_BEGUN)
            done.wait()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        trusted = ssl.create_default_context(cadata=authority.pem.decode())
        yield Connection(f"https://localhost:{listener.getsockname()[1]}", tls=trusted)
        done.set()
        thread.join()


async def _leave_a_stream_midway(connection: Connection) -> None:
    async with KubeClient(connection) as client, client.stream("/watch", {}) as answer:
        assert await answer.content.readany() == b"{}"


def test_a_stream_left_midway_closes_its_connection_at_once(tmp_path: Path) -> None:
    """A peer that takes no part in the TLS shutdown cannot make a cancelled watch leak its socket."""
    with warnings.catch_warnings(record=True) as seen, _server_that_only_begins(tmp_path) as connection:
        warnings.simplefilter("always")
        asyncio.run(_leave_a_stream_midway(connection))
        gc.collect()
    assert [str(item.message) for item in seen if issubclass(item.category, ResourceWarning)] == []
