"""Bytes → the request of an AdmissionReview, checked as far as the later steps rely on it; decides nothing.

Source: admission.k8s.io/v1. What cannot be a request raises BadReview; what is one always has a uid to answer to.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
import orjson

from kagenti import errors
from kagenti.core.admission.shape import fault_of_metadata

JSON = Any  # a raw Kubernetes object whose unknown fields must survive

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
OPERATIONS: Final = ("CREATE", "UPDATE", "DELETE", "CONNECT")
API_VERSION: Final = "admission.k8s.io/v1"
# A uid is 36 characters; anything much longer was not written by an API server.
LONGEST_UID: Final = 256


class BadReview(errors.InputError):  # named after what it is about, as its tree is
    """The body is not an AdmissionReview that can be decided; ``uid`` is set where an answer can still carry it."""

    def __init__(self, message: str, uid: str = "") -> None:
        super().__init__(message)
        self.uid = uid


class Request(msgspec.Struct, frozen=True):
    """The parts of ``request`` that decisions read; ``object`` and ``old_object`` are raw and never modified.

    ``object`` is empty on DELETE, ``old_object`` on CREATE. ``name`` is empty while only generateName is known.
    ``user`` and ``resource`` are for the log alone: empty where they are not what an API server writes.
    """

    uid: str
    operation: Operation
    group: str
    kind: str
    namespace: str
    name: str
    object: Mapping[str, JSON]
    old_object: Mapping[str, JSON]
    dry_run: bool = False
    subresource: str = ""
    user: str = ""
    resource: str = ""

    @property
    def subject(self) -> str:
        """The object for people: ``Deployment team1/weather``."""
        metadata = (self.object or self.old_object).get("metadata") or {}
        name = self.name or metadata.get("generateName") or ""
        return f"{self.kind} {self.namespace}/{name}" if self.namespace else f"{self.kind} {name}"


def parse_review(body: bytes) -> Request:
    """Returns the request of an AdmissionReview.

    Args:
        body: As received; its size was limited by the shell. Nesting beyond 1024 levels is refused by the parser.

    Raises:
        BadReview: Not JSON, not an AdmissionReview, no request, no uid, or a field of another type.
    """
    try:
        review = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadReview(f"the body is not JSON: {error.msg}") from error
    if not isinstance(review, dict) or not isinstance(review.get("request"), dict):
        raise BadReview("the body is not an AdmissionReview: it has no request")
    request = review["request"]
    uid = request.get("uid")
    if not isinstance(uid, str) or not 0 < len(uid) <= LONGEST_UID:
        raise BadReview("the AdmissionReview has no request.uid")
    if review.get("apiVersion", API_VERSION) != API_VERSION:
        raise BadReview(f'apiVersion of the review is {_quoted(review["apiVersion"])}, want "{API_VERSION}"', uid)
    return _request(request, uid)


def _request(request: Mapping[str, JSON], uid: str) -> Request:
    operation = _text(request, "operation", uid)
    if operation not in OPERATIONS:
        raise BadReview(f"request.operation is {_quoted(operation)}, want one of {', '.join(OPERATIONS)}", uid)
    kind = request.get("kind")
    if not isinstance(kind, dict):
        raise BadReview(f"request.kind is {_quoted(kind)}, want group, version and kind", uid)
    found = Request(
        uid=uid,
        operation=operation,  # type: ignore[arg-type]  # member of OPERATIONS, checked above
        group=_text(kind, "group", uid),
        kind=_text(kind, "kind", uid),
        namespace=_text(request, "namespace", uid),
        name=_text(request, "name", uid),
        object=_object(request, "object", uid),
        old_object=_object(request, "oldObject", uid),
        dry_run=request.get("dryRun") is True,
        subresource=_text(request, "subResource", uid),
        user=_logged(request.get("userInfo"), "username"),
        resource=_logged(request.get("resource"), "resource"),
    )
    if operation in ("CREATE", "UPDATE") and not found.object:
        raise BadReview(f"request.object is missing on {operation}", uid)
    return found


def _text(node: Mapping[str, JSON], key: str, uid: str) -> str:
    value = node.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadReview(f"request field {key} is {_quoted(value)}, want text", uid)
    return value


def _logged(node: JSON, key: str) -> str:
    """Returns a text that no decision reads; whatever else stands there is no reason to refuse a review."""
    value = node.get(key) if isinstance(node, dict) else None
    return value if isinstance(value, str) else ""


def _object(request: Mapping[str, JSON], key: str, uid: str) -> Mapping[str, JSON]:
    value = request.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadReview(f"request.{key} is {_quoted(value)}, want an object", uid)
    fault = fault_of_metadata(value.get("metadata"), f"{key}.metadata")
    if fault:
        raise BadReview(f"request.{fault}", uid)
    return value


def _quoted(value: JSON) -> str:
    """Names a value without repeating much of it: its JSON type, or a short text."""
    if isinstance(value, str):
        return orjson.dumps(value[:64]).decode()  # escapes what would break the line
    names = {dict: "an object", list: "a list", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")
