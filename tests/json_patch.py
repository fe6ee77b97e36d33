"""JSON patches (RFC 6902) as the API server applies them, by another implementation than ours."""

from collections.abc import Iterable, Mapping
from typing import Any

import jsonpatch
import orjson

JSON = Any  # a document


def applied(document: JSON, operations: Iterable[Mapping[str, JSON]]) -> JSON:
    """Returns the document after the patch; what was given stays as it is, and is copied faster than ``jsonpatch`` would.

    Raises:
        jsonpatch.JsonPatchException: The patch is none, or does not fit.
    """
    return jsonpatch.apply_patch(orjson.loads(orjson.dumps(document)), list(operations), in_place=True)
