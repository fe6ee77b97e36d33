"""Every kind of refusal that a real Envoy 1.40 was seen to send, and what people read of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti.core.ads import nack

DUMP = 'goo.gle/debugproto    \nname: "inbound"\nvirtual_hosts {\n  domains: "*"\n  name: "secret"\n}\n'
CHAIN = (
    "Proto constraint validation failed (RouteConfigurationValidationError.VirtualHosts[0]: embedded message failed "
    "validation | caused by VirtualHostValidationError.Routes[0]: embedded message failed validation | caused by "
    "RouteValidationError.DirectResponse: embedded message failed validation | caused by "
    "DirectResponseActionValidationError.Status: value must be inside range [200, 600))"
)
PLACE = "Proto constraint validation failed (VirtualHosts[0].Routes[0].DirectResponse.Status: value must be inside range [200, 600))"


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ("route: unknown cluster 'nope'", "route: unknown cluster 'nope'"),
        (f"{DUMP}: {CHAIN}", PLACE),
        (f'goo.gle/debugstr   name: "inbound" : {CHAIN}', PLACE),
        (f"Invalid duration: Expected positive duration: {DUMP}", "Invalid duration: Expected positive duration"),
        (f"{DUMP}: Only unique values\n for domains", "Only unique values for domains"),
        (
            "Error adding/updating cluster(s) x: Invalid path: /nope",
            "Error adding/updating cluster(s) x: Invalid path: /nope",
        ),
        ("a\x00b\u202ec\x1b[31m", "abc[31m"),
        ("", "Envoy gave no reason"),
        (DUMP, "Envoy gave no reason"),
        ("x" * 500 + " the reason", "…" + "x" * 188 + " the reason"),
    ],
)
def test_one_line_says_why(raw: str, line: str) -> None:
    assert nack.clean(raw) == line


@given(st.text())
def test_whatever_a_client_writes_becomes_one_short_printable_line(raw: str) -> None:
    line = nack.clean(raw)
    assert 0 < len(line) <= 200
    assert line.isprintable()
