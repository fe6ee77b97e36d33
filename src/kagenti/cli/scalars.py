"""Texts that every YAML reader reads as texts: kubectl and helm read YAML 1.1, where off, y and 1:30 are something else."""

import io
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.resolver import implicit_resolvers
from ruamel.yaml.scalarstring import SingleQuotedScalarString

JSON = Any  # any document

# What a plain scalar means to a YAML 1.1 reader besides text; what it means to a YAML 1.2 reader is quoted by ruamel itself.
_MEANINGS: Final = tuple(pattern for versions, _, pattern, _ in implicit_resolvers if (1, 1) in versions)


def quoted(text: str) -> str:
    """Returns a text that is written in quotes where YAML 1.1 would read a boolean, a number, a date or null."""
    return SingleQuotedScalarString(text) if any(pattern.match(text) for pattern in _MEANINGS) else text


def unambiguous(node: JSON) -> JSON:
    """Returns a document whose texts, keys too, mean the same to readers of YAML 1.1 and 1.2."""
    if isinstance(node, dict):
        return {quoted(key): unambiguous(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [unambiguous(item) for item in node]
    return quoted(node) if type(node) is str else node  # and no text whose style is chosen already


def text(value: JSON) -> str:
    """Returns plain data as one YAML document that kubectl reads alike."""
    yaml, out = YAML(pure=True), io.StringIO()
    yaml.width = _UNFOLDED
    yaml.dump(unambiguous(value), out)
    return out.getvalue()


_UNFOLDED: Final = 1 << 24  # longer than any line: no value is folded
