"""A verdict → the AdmissionReview that the API server reads; every answer carries the request's uid.

Source: admission.k8s.io/v1; warnings and audit annotations as the API server limits them.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import orjson
import pybase64

from kagenti.core.admission.review import Request
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a JSON patch operation as it is sent

# The API server keeps 256 characters of a warning once all of them, of every webhook, exceed 4096 (apiserver,
# pkg/endpoints/filters/warning.go); what would be cut off is better cut by us, with a sign.
LONGEST_WARNING: Final = 256
ROOM: Final = 3072
"""Characters of one answer's warnings that are sent whole: three quarters of what the API server keeps."""
MOST_WARNINGS: Final = 15
# Shown by kubectl in full; a merge of many findings must not become a page.
LONGEST_MESSAGE: Final = 2048

INTERNAL_ERROR: Final = "InternalError"
BAD_REQUEST: Final = "BadRequest"


class Answer(msgspec.Struct, frozen=True):
    """The response to one review, before it is JSON.

    ``reason`` is our code, for metrics and the audit log. ``patch`` is a list of JSON patch operations; an empty one
    is sent as no patch. ``defect`` is the exception behind a code 500, for the shell's log.
    """

    uid: str
    allowed: bool
    reason: str
    code: int = 200
    message: str = ""
    warnings: tuple[str, ...] = ()
    audit: Mapping[str, str] = msgspec.field(default_factory=dict)
    patch: Sequence[JSON] = ()
    defect: Exception | None = None

    def body(self) -> bytes:
        """Returns the AdmissionReview as JSON."""
        response: dict[str, JSON] = {"uid": self.uid, "allowed": self.allowed}
        if not self.allowed:
            response["status"] = {
                "metadata": {},
                "status": "Failure",
                "message": f"{self.reason}: {self.message}"[:LONGEST_MESSAGE],
                "reason": _STATUS_REASONS.get(self.code, "Forbidden"),
                "code": self.code,
            }
        if self.warnings:
            response["warnings"] = shortened(self.warnings)
        if self.audit:
            response["auditAnnotations"] = self.audit
        review = orjson.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
        return _with_patch(review, self.patch) if self.patch else review


def _with_patch(review: bytes, patch: Sequence[JSON]) -> bytes:
    """Returns the review with a patch as the last field of its response: some 60 KB, which are copied once."""
    text = orjson.dumps([_prepared(step) if step["path"].startswith(_FILES) else step for step in patch])
    start = review.removesuffix(b"}}")
    return b"".join((start, b',"patchType":"JSONPatch","patch":"', pybase64.b64encode(text), b'"}}'))


def _prepared(operation: JSON) -> JSON:
    """Returns an operation on one of our files with its text in JSON already: all pods share the same few."""
    text = operation.get("value")
    return {**operation, "value": _as_json(text)} if isinstance(text, str) else operation


@functools.lru_cache(maxsize=128)
def _as_json(text: str) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(text))


_FILES: Final = f"/metadata/annotations/{wellknown.CONFIG_PREFIX.replace('/', '~1')}"
_STATUS_REASONS: Final = {
    400: "BadRequest",
    403: "Forbidden",
    409: "Conflict",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


def allowed(
    request: Request,
    *,
    reason: str,
    warnings: Iterable[str] = (),
    audit: Mapping[str, str] | None = None,
    patch: Sequence[JSON] = (),
) -> Answer:
    """Returns an admission, with a patch where there is one."""
    return Answer(
        uid=request.uid,
        allowed=True,
        reason=reason,
        warnings=tuple(warnings),
        audit={"decision": "allowed", "reason": reason, **(audit or {})},
        patch=patch,
    )


def denied(
    request: Request,
    *,
    reason: str,
    message: str,
    code: int = 403,
    warnings: Iterable[str] = (),
    audit: Mapping[str, str] | None = None,
) -> Answer:
    """Returns a denial; ``code`` is the HTTP status that the client sees."""
    return Answer(
        uid=request.uid,
        allowed=False,
        reason=reason,
        code=code,
        message=message,
        warnings=tuple(warnings),
        audit={"decision": "denied", "reason": reason, **(audit or {})},
    )


def refused(uid: str, message: str) -> Answer:
    """Returns the denial of a review whose content cannot be what an API server sends (code 400)."""
    return Answer(
        uid=uid,
        allowed=False,
        reason=BAD_REQUEST,
        code=400,
        message=message,
        audit={"decision": "denied", "reason": BAD_REQUEST},
    )


def errored(uid: str, defect: Exception) -> Answer:
    """Returns the denial for a defect of ours (code 500); the exception's text stays in the shell's log."""
    message = f"{type(defect).__name__} in kagenti; nothing was decided, see the log of the webhook for this uid: {uid}"
    return Answer(
        uid=uid,
        allowed=False,
        reason=INTERNAL_ERROR,
        code=500,
        message=message,
        audit={"decision": "denied", "reason": INTERNAL_ERROR},
        defect=defect,
    )


def guarded(request: Request, decide: Callable[[], Answer]) -> Answer:
    """Returns the answer of ``decide``, or the answer to its crash: every review gets one."""
    try:
        return decide()
    except Exception as defect:  # whatever it is, the API server waits for an answer with this uid
        return errored(request.uid, defect)


def shortened(warnings: Iterable[str]) -> list[str]:
    """Returns distinct warnings within the API server's limits, first come first kept, each on one line."""
    lines = list(dict.fromkeys(" ".join(warning.split()) for warning in warnings))
    if len(lines) > MOST_WARNINGS:
        lines[MOST_WARNINGS:] = ["kagenti: further warnings left out; kagenti explain shows all"]
    if sum(map(len, lines)) <= ROOM:
        return lines
    return [line if len(line) <= LONGEST_WARNING else line[: LONGEST_WARNING - 1] + "…" for line in lines]
