"""What ``-o json`` and ``-o yaml`` print: one answer as a document."""

from typing import Any

import orjson

JSON = Any  # an answer of a command: dicts, lists and scalars


def dump(answer: JSON, output: str) -> str:
    """Returns the answer as JSON, or as block-style YAML that readers of 1.1 and 1.2 read alike where ``output`` is yaml."""
    if output != "yaml":
        return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() + "\n"
    from kagenti.cli import scalars  # a tenth of a second that only this format costs

    return scalars.text(answer)
