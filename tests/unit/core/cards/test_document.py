"""Cards as untrusted JSON: kept whole, or refused whole without a word of theirs."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti.core import cards
from kagenti.core.untrusted import Refused

JSON = Any  # cards


def _body(**fields: JSON) -> bytes:
    return json.dumps({"name": "secret", **fields}).encode()


def _nested(depth: int) -> JSON:
    found: JSON = 1
    for _ in range(depth):
        found = [found]
    return found


def test_unknown_fields_are_kept() -> None:
    """Only a name is required: the design's own sample lacks what strict A2A types demand."""
    document = {
        "name": "Weather",
        "x-vendor": {"a": [1, None, 2.5, "ü"]},
        "skills": [{"parameters": [{"default": "7"}]}],
    }
    card = cards.read(json.dumps(document).encode())
    assert card.document == document
    assert len(card.hash) == 64


def test_the_hash_is_of_the_content() -> None:
    """Order of fields, white space and escapes do not make another card; any value does."""
    one = cards.read(b'{"name": "a\\u00fc", "b": 1}').hash
    assert one == cards.read('{"b":1,\n"name":"aü"}'.encode()).hash
    assert one != cards.read('{"b":2,"name":"aü"}'.encode()).hash


def test_signatures_are_kept_and_make_no_other_content() -> None:
    """An agent that signs at every request serves one card."""
    one, other = (cards.read(_body(signatures=[{"signature": text}])) for text in "ab")
    assert (one.content, one.hash == other.hash) == (other.content, False)
    assert one.content == cards.read(_body()).content
    assert one.document["signatures"] == [{"signature": "a"}]


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        (b"", "NotJson", "nothing"),
        (b"<html>secret</html>", "NotJson", "a page"),
        (b'{"name": "secret"', "NotJson", "cut off"),
        (b'{"name": "secret", "a": NaN}', "NotJson", "not of JSON"),
        (b'{"name": "\xff\xfe secret"}', "NotUtf8", "Latin-1"),
        ('{"name": "secret"}'.encode("utf-16"), "NotUtf8", "UTF-16"),
        (b'{"name": "\\ud800 secret"}', "NotJson", "half a character"),
        (b"[" * 100_000, "NotJson", "deep"),
        (b"[]", "NotACard", "a list"),
        (b"null", "NotACard", "null"),
        (b'"secret"', "NotACard", "text"),
        (b'{"secret": 1}', "NotACard", "no name"),
        (b'{"name": 1, "secret": 1}', "NotACard", "a number for a name"),
        (b'{"name": " ", "secret": 1}', "NotACard", "an empty name"),
        (_body(**{f"f{n}": n for n in range(64)}), "TooComplex", "more fields than the CRD allows"),
        (_body(a=[0] * 10_000), "TooComplex", "many values"),
        (_body(a=[[{"b": n} for n in range(99)] for _ in range(99)]), "TooComplex", "many values further down"),
        (_body(a={str(n): 1 for n in range(10_000)}), "TooComplex", "many keys"),
        (_body(a=_nested(40)), "TooComplex", "deeper than anybody reads"),
        (_body(a={"k" * 257: 1}), "TooComplex", "a key that YAML could not carry"),
        (_body(a="<" * 200_000), "TooLarge", "six times as large once the API server has escaped it"),
    ],
)
def test_what_cannot_be_kept_is_refused(body: bytes, code: str, reason: str) -> None:
    """Bounded codes; the message quotes nothing."""
    with pytest.raises(Refused) as refused:
        cards.read(body)
    assert refused.value.code == code, reason
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "document", [{"a": _nested(30)}, {"a": [0] * 9_000}, {"a": "x" * 1_000_000}, {"a": "\u0000\x7f"}]
)
def test_what_can_be_kept_is(document: JSON) -> None:
    """Just inside of the bounds."""
    assert cards.read(_body(**document)).document == {"name": "secret", **document}


@given(st.binary(max_size=200))
def test_bytes_never_end_the_process(body: bytes) -> None:
    """A card or a refusal."""
    with contextlib.suppress(Refused):
        assert isinstance(cards.read(body).document, dict)


def test_a_number_beyond_integers_is_a_cards_own_business() -> None:
    """It is kept as the API server would keep it."""
    assert cards.read(b'{"name": "a", "n": 18446744073709551616}').document["n"] == 2.0**64
