"""Answers as the API server reads them."""

import base64
from typing import Any

import orjson

from kagenti.core.admission import respond
from kagenti.core.admission.review import Request

REQUEST = Request("uid-1", "CREATE", "", "Pod", "team1", "weather", {"metadata": {}}, {})


def _response(answer: respond.Answer) -> Any:
    review = orjson.loads(answer.body())
    assert (review["apiVersion"], review["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    return review["response"]


def test_an_admission_without_patch() -> None:
    """No patch, no patchType: an empty patch is not sent at all."""
    assert _response(respond.allowed(REQUEST, reason="NoTrigger")) == {
        "uid": "uid-1",
        "allowed": True,
        "auditAnnotations": {"decision": "allowed", "reason": "NoTrigger"},
    }


def test_a_patch_is_base64_of_json() -> None:
    """The patch as admission.k8s.io/v1 wants it."""
    patch = [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]
    response = _response(respond.allowed(REQUEST, reason="Label", patch=patch, audit={"trigger": "Label"}))
    assert response["patchType"] == "JSONPatch"
    assert orjson.loads(base64.b64decode(response["patch"])) == patch
    assert response["auditAnnotations"]["trigger"] == "Label"


def test_a_denial_names_its_reason_first() -> None:
    """Kubectl prints the message: reason code, colon, sentence."""
    response = _response(respond.denied(REQUEST, reason="InvalidLabel", message="label is odd"))
    assert response["allowed"] is False
    assert response["status"] == {
        "metadata": {},
        "status": "Failure",
        "message": "InvalidLabel: label is odd",
        "reason": "Forbidden",
        "code": 403,
    }


def test_warnings_are_whole_where_there_is_room() -> None:
    """What to do stands at the end of a sentence; the API server cuts only what exceeds 4096 characters together."""
    long = ["x" * 400 + "; do this", "y" * 300]
    assert respond.shortened([*long, "short"]) == [*long, "short"]


def test_warnings_are_short_distinct_single_lines() -> None:
    """Together too long, the API server cuts each at 256 characters, and a newline in a header is an error."""
    long = ["x" * respond.ROOM]
    warnings = ["one\ntwo", "one two", *long, *(f"w{number}" for number in range(40))]
    kept = respond.shortened(warnings)
    assert kept[:3] == ["one two", "x" * 255 + "…", "w0"]
    assert all(len(line) <= 256 and "\n" not in line for line in kept)
    assert len(kept) == respond.MOST_WARNINGS + 1
    assert len(set(kept)) == len(kept)


def test_a_crash_is_answered_with_the_uid_and_code_500() -> None:
    """The exception's text is for our log, not for the caller."""

    def crash() -> respond.Answer:
        raise ValueError("secret detail")

    answer = respond.guarded(REQUEST, crash)
    response = _response(answer)
    assert isinstance(answer.defect, ValueError)
    assert (response["uid"], response["allowed"], response["status"]["code"]) == ("uid-1", False, 500)
    assert "secret detail" not in response["status"]["message"]


def test_a_refused_review_keeps_its_uid() -> None:
    """Code 400 for content that no API server sends."""
    response = _response(respond.refused("uid-2", "request.kind is null"))
    assert (response["uid"], response["status"]["code"]) == ("uid-2", 400)
