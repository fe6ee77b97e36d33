"""Path tricks against the bypasses, by a real Envoy: without a token nothing else than a bypass ever reaches the app."""

import json
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

import pytest

from tests.component.envoy.entrance import Entrance, entered

BYPASSED: Final = re.compile(r"/(healthz|readyz|livez|\.well-known/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)")

REFUSED: Final = (
    "/admin",
    "/",
    "/HEALTHZ",
    "/Healthz",
    "/healthz/",
    "/healthz/x",
    "/healthz;x",
    "/healthz;/../admin",
    "/healthz..",
    "/healthz.",
    "/healthz%20",
    "/healthz%09",
    "/healthz%00",
    "/healthz%0a",
    "/healthz%3fx",
    "/healthz%23x",
    "/healthz%3b",
    "/healthz/..;/admin",
    "/healthz/../admin",
    "/healthz/%2e%2e/admin",
    "/healthz/.%2e/admin",
    "/healthz%2f..%2fadmin",
    "/healthz%2F%2E%2E%2Fadmin",
    "/healthz%5c..%5cadmin",
    "/healthz\\..\\admin",
    "/healthz/%252e%252e/admin",
    "/admin;/healthz",
    "/admin%3f/healthz",
    "/admin%2f%2e%2e%2fhealthz",
    "/admin#/healthz",
    "/healthz#/../admin",
    "/.well-known",
    "/.well-known/",
    "/.well-known/.",
    "/.well-known/..",
    "/.well-known/.git",
    "/.well-known/a/b",
    "/.well-known/a/../../admin",
    "/.well-known/../admin",
    "/.well-known/%2e%2e/admin",
    "/.well-known/%2e%2e%2fadmin",
    "/.well-known/..%2fadmin",
    "/.well-known/..%5cadmin",
    "/.well-known/..\\admin",
    "/.well-known/%252e%252e%252fadmin",
    "/.well-known/..%c0%afadmin",
    "/.well-known/..%ef%bc%8fadmin",
    "/.well-known/..;",
    "/.well-known/..;/admin",
    "/.well-known/x;y",
    "/.well-known/x%3f",
    "/.well-known/x%00",
    "/.well-known/x%0d%0aX-Y:z",
    "/.well-known/%2fadmin",
    "/.well-known/*",
    "/.WELL-KNOWN/x",
    "/xwell-known/x",
    "/x.well-known/x",
    "//.well-known/../admin",
    "/a/.well-known/x",
    "http://localhost/admin",
    "http://localhost/healthz/../admin",
    "http://healthz/",
    "*",
    "healthz",
    "?/healthz",
)
SERVED: Final = {
    "/healthz": "/healthz",
    "/healthz?/../admin": "/healthz",
    "//healthz": "/healthz",
    "/./healthz": "/healthz",
    "/admin/../healthz": "/healthz",
    "/.well-known//x": "/.well-known/x",
    "/.well-known/./x": "/.well-known/x",
    "/.well-known/agent.json?x": "/.well-known/agent.json",
    "http://localhost/livez": "/livez",
}
"""Spellings of a bypass: what the app gets is the plain one, so both of us mean the same."""


@pytest.fixture(scope="module")
def entrance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entrance]:
    with entered(tmp_path_factory.mktemp("envoy"), {"trace.exporters": []}) as found:
        yield found


def _request(target: str, method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: weather\r\n\r\n".encode()


@pytest.mark.parametrize("target", REFUSED)
def test_trick_is_refused(entrance: Entrance, target: str) -> None:
    answer = entrance.raw(_request(target))
    assert answer.split()[1] in (b"400", b"401", b"404"), answer


@pytest.mark.parametrize("target", SERVED)
def test_spelling_of_a_bypass_reaches_the_app_plain(entrance: Entrance, target: str) -> None:
    status, body = entrance.get(target)
    seen = json.loads(body)["path"].partition("?")[0]
    assert (status, seen) == (200, SERVED[target])
    assert BYPASSED.fullmatch(unquote(unquote(seen)))


@pytest.mark.parametrize("target", ["/healthz", "/.well-known/x", "localhost:80"])
def test_tunnel_is_refused(entrance: Entrance, target: str) -> None:
    answer = entrance.raw(_request(target, "CONNECT"))
    assert answer.split()[1] in (b"400", b"401", b"403", b"404"), answer
