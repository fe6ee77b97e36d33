"""An agent's card: untrusted JSON, kept as it is or refused as a whole with words of our own.

The bounds are those of what it is kept in: the API server escapes and stores a status as JSON, and etcd takes 1.5 MiB
with everything around it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from kagenti.core.settings import digest
from kagenti.core.untrusted import Refused

JSON = Any  # the agent's own; unknown fields are kept

MOST_BYTES: Final = 1024 * 1024
"""Bytes of an answer (spec 06)."""
SIGNATURES: Final = "signatures"
"""Field of a card (A2A 1.0, AgentCard)."""
_MOST_STORED: Final = 1024 * 1024  # bytes, as the API server writes them
_MOST_FIELDS: Final = 64  # of the card itself; maxProperties of the CRD
_MOST_VALUES: Final = 10_000  # in all; the largest card that we know of has some 600
_DEEPEST: Final = 32
_LONGEST_KEY: Final = 256
_NUMBER: Final = 24  # bytes: Go writes floats below 1e21 without an exponent
_ESCAPED: Final = ("<", ">", "&", "\u2028", "\u2029")  # encoding/json writes each as six bytes


@dataclass(frozen=True, slots=True)
class Card:
    """A usable card; ``hash`` is the SHA-256 of its canonical JSON, so that spelling and order do not matter.

    ``content`` is that of the card without its signatures: an agent may sign anew at every request (A2A: ``signatures``
    cover the rest), and that makes no other card.
    """

    document: JSON
    hash: str
    content: str


def read(body: bytes) -> Card:
    """Returns the card in an answer's body.

    Raises:
        Refused: NotUtf8, NotJson, NotACard, TooComplex or TooLarge; the message quotes nothing of the body.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(*_unreadable(body)) from error
    if not isinstance(document, dict):
        raise Refused("NotACard", "the answer is JSON, but no object")
    name = document.get("name")
    if not isinstance(name, str) or not name.strip():
        raise Refused("NotACard", 'the answer has no text "name", which every agent card has')
    if len(document) > _MOST_FIELDS:
        raise Refused("TooComplex", f"the card has more than {_MOST_FIELDS} fields")
    _measure(document)
    hash_ = digest(document)
    return Card(document, hash_, digest(unsigned(document)) if SIGNATURES in document else hash_)


def unsigned(document: Mapping[str, JSON]) -> Mapping[str, JSON]:
    """Returns a card without its signatures."""
    return {key: value for key, value in document.items() if key != SIGNATURES}


def _unreadable(body: bytes) -> tuple[str, str]:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "NotUtf8", "the answer is not UTF-8 (RFC 8259 section 8.1)"
    return "NotJson", "the answer is not JSON"


def _measure(document: JSON) -> None:
    """Refuses what is too deep, too varied or too large to be kept; counts before it looks at anything twice."""
    values = stored = 0
    level = [document]
    for _ in range(_DEEPEST):
        values += len(level)
        if values + sum(len(value) for value in level if isinstance(value, dict | list)) > _MOST_VALUES:
            raise Refused("TooComplex", f"the card has more than {_MOST_VALUES} values")
        stored += sum(map(_size, level))
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            break
    else:
        raise Refused("TooComplex", f"the card is nested deeper than {_DEEPEST} levels")
    if stored > _MOST_STORED:
        raise Refused("TooLarge", f"the card would take more than {_MOST_STORED // 1024} KiB in the API server")


def _inside(value: JSON) -> Iterable[JSON]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _size(value: JSON) -> int:
    """Returns the bytes of one value without what stands in it, at most."""
    match value:
        case str():
            return _text(value)
        case dict():
            if any(len(key) > _LONGEST_KEY for key in value):
                raise Refused("TooComplex", f"a field's name is longer than {_LONGEST_KEY} characters")
            return sum(_text(key) + 2 for key in value) + 2
        case list():
            return len(value) + 2
    return _NUMBER


def _text(text: str) -> int:
    plain = len(orjson.dumps(text))
    return plain + sum(5 * text.count(character) for character in _ESCAPED)
