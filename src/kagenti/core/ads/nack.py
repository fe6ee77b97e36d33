"""Envoy's refusals as one readable line, without the dump of the resource that Envoy may put before the reason.

The texts are those of a real Envoy 1.40 (facts §6, and the table of its test). Whoever holds a pod's token can write
anything here, and it ends in status: so it is short, one line, and printable.
"""

import re
from typing import Final

_KEPT: Final = 200
# What parses may still break a constraint; Envoy then names the place as a chain of validation errors.
_CONSTRAINT: Final = "Proto constraint validation failed"
_LINK: Final = re.compile(r": embedded message failed validation \| caused by ")
_PLACE: Final = re.compile(r"\b\w+ValidationError\.")
# A message in text format, made unparseable on purpose by its header; the reason follows on a line that begins ": ".
_DUMP: Final = re.compile(r"goo\.gle/debug[^\n]*(?:\n(?!: )[^\n]*)*")


def clean(message: str) -> str:
    """Returns the reason of a NACK: one line of at most 200 printable characters, its end where it is longer."""
    constraint = message.rfind(_CONSTRAINT)
    text = message[constraint:] if constraint >= 0 else _DUMP.sub("", message)
    text = _PLACE.sub("", _LINK.sub(".", text))
    line = "".join(char for char in " ".join(text.split()) if char.isprintable()).strip(" :")
    if len(line) > _KEPT:
        line = "…" + line[1 - _KEPT :]
    return line or "Envoy gave no reason"
