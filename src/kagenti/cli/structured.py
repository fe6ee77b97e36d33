"""What ``-o json`` and ``-o yaml`` print: one answer as a document."""

import io
from typing import Any

import orjson

JSON = Any  # an answer of a command: dicts, lists and scalars


def dump(answer: JSON, output: str) -> str:
    """Returns the answer as JSON, or as block-style YAML that readers of 1.1 and 1.2 read alike where ``output`` is yaml."""
    if output != "yaml":
        return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() + "\n"
    from ruamel.yaml import YAML

    from kagenti.cli.scalars import unambiguous

    text = io.StringIO()
    YAML(pure=True).dump(unambiguous(answer), text)
    return text.getvalue()
