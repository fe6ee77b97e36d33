"""Plain data → what ``-o json`` and ``-o yaml`` print, the same for every command."""

import io
from typing import Any

import orjson

JSON = Any  # plain data


def structured(answer: JSON, output: str) -> str:
    """Returns an answer as indented JSON, or as YAML for ``yaml``."""
    if output == "json":
        return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() + "\n"
    from ruamel.yaml import YAML  # a tenth of a second that only this format costs

    from kagenti.cli.scalars import unambiguous

    text = io.StringIO()
    YAML(pure=True).dump(unambiguous(answer), text)
    return text.getvalue()
