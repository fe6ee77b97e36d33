"""What an answer of the API server means that is no success, with its own words."""

from collections.abc import Mapping
from typing import Final

import orjson

from kagenti import errors

_BY_STATUS: Final[Mapping[int, type[errors.ClusterError]]] = {
    401: errors.Forbidden,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    410: errors.Gone,
}


def refusal(status: int, body: bytes, *, what: str, headers: Mapping[str, str]) -> errors.ClusterError:
    """Returns the error that an answer of the API server means, with the server's own words."""
    message = f"{what} was answered {status}: {_said(body)}"
    if status == 429:  # HTTP: too many requests
        return errors.TooManyRequests(message, retry_after=_seconds(headers.get("Retry-After", "")))
    if status == 422 and _is_about_uid(body):  # HTTP: unprocessable; a precondition says 409, an immutable field this
        return errors.Conflict(message)
    return _BY_STATUS.get(status, errors.Unreachable)(message)


def _is_about_uid(body: bytes) -> bool:
    """Whether a write is refused because the object of that name is another one than the writer knew."""
    try:
        causes = orjson.loads(body)["details"]["causes"]
        return any(cause["field"] == "metadata.uid" for cause in causes)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return False


def _said(body: bytes) -> str:
    try:
        status = orjson.loads(body)
        return str(status["message"])[:500]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return body[:200].decode(errors="replace")


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() else None
