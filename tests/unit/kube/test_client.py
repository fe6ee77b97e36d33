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

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from kagenti import errors
from kagenti.kube import KubeClient
from kagenti.kube.client import Connection, as_yaml, refusal
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


@pytest.mark.parametrize(
    "text", ["\x7f", "\x80\x85\x9f", "\u2028 \u2029", "\ufeff", "\uffff\ufffe", "\x00\x1f", "😀\U0010ffff", "<<"]
)
def test_what_is_applied_is_yaml(text: str) -> None:
    """Server-side apply reads YAML: whatever an agent writes into its card arrives as it was."""
    manifest = {text: [text, {"a": text}]}
    assert YAML(typ="safe", pure=True).load(as_yaml(manifest)) == manifest


@given(st.text(max_size=20))
def test_any_text_is_yaml(text: str) -> None:
    """The same for what nobody thought of."""
    assert YAML(typ="safe", pure=True).load(as_yaml({"a": text})) == {"a": text}


def _invalid(field: str) -> bytes:
    """The API server's answer to an object with a bad field, as kube-apiserver 1.36 gives it."""
    cause = {"reason": "FieldValueInvalid", "message": "Invalid value", "field": field}
    return orjson.dumps({"kind": "Status", "message": "a is invalid", "details": {"causes": [cause]}, "code": 422})


REFUSALS = [
    (409, b"{}", errors.Conflict, "an optimistic lock, or a uid where no object is left"),
    (422, _invalid("metadata.uid"), errors.Conflict, "a uid is immutable: the object was replaced"),
    (422, _invalid("status.phase"), errors.Unreachable, "what we wrote is wrong: neither gone nor replaced"),
    (422, b"<html>", errors.Unreachable, "no Status at all"),
    (422, b'{"details":null}', errors.Unreachable, "a Status without causes"),
    (404, b"{}", errors.NotFound, "gone"),
]


@pytest.mark.parametrize(("status", "body", "expected", "reason"), REFUSALS, ids=[row[3] for row in REFUSALS])
def test_an_answer_becomes_the_error_that_it_means(
    status: int, body: bytes, expected: type[errors.ClusterError], reason: str
) -> None:
    """Whoever writes drops what was replaced and tries an outage again."""
    assert type(refusal(status, body, what="PATCH /x", headers={})) is expected, reason
