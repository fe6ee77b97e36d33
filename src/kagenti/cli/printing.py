"""Plain data → what ``-o json`` and ``-o yaml`` print, the same for every command."""

from typing import Any

import orjson

JSON = Any  # plain data


def structured(answer: JSON, output: str) -> str:
    """Returns an answer as indented JSON, or as YAML for ``yaml``."""
    if output == "json":
        return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() + "\n"
    from kagenti.cli import scalars  # a tenth of a second that only this format costs

    return scalars.text(answer)
