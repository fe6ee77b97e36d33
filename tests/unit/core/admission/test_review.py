"""Whatever arrives gets an answer with its uid, or a clean error: never an exception of another kind."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti.core.admission.review import BadReview, Request, parse_review

JSON = Any  # anything that JSON can hold

REVIEW: dict[str, JSON] = {
    "apiVersion": "admission.k8s.io/v1",
    "kind": "AdmissionReview",
    "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE",
        "namespace": "team1",
        "object": {"metadata": {"generateName": "weather-"}, "spec": {"containers": []}},
        "dryRun": True,
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "userInfo": {"username": "alice"},
    },
}


def _with(**changes: JSON) -> bytes:
    return orjson.dumps({**REVIEW, "request": {**REVIEW["request"], **changes}})


def test_a_request_is_read() -> None:
    """The fields that decisions read, and nothing guessed for what is absent."""
    request = parse_review(orjson.dumps(REVIEW))
    assert request == Request(
        uid="705ab4f5-6393-11e8-b7cc-42010a800002",
        operation="CREATE",
        group="",
        kind="Pod",
        namespace="team1",
        name="",
        object=REVIEW["request"]["object"],
        old_object={},
        dry_run=True,
        user="alice",
        resource="pods",
    )
    assert request.subject == "Pod team1/weather-"


@pytest.mark.parametrize(
    ("reason", "body", "says"),
    [
        ("empty", b"", "not JSON"),
        ("text", b"hello", "not JSON"),
        ("not UTF-8", b'{"request": "\xff"}', "not JSON"),
        ("10,000 levels deep", b"[" * 10_000 + b"]" * 10_000, "not JSON"),
        ("a list", b"[]", "no request"),
        ("no request", b"{}", "no request"),
        ("request is text", b'{"request": "x"}', "no request"),
        ("no uid", b'{"request": {}}', "uid"),
        ("uid is a number", b'{"request": {"uid": 1}}', "uid"),
        ("uid is empty", b'{"request": {"uid": ""}}', "uid"),
        ("uid is endless", orjson.dumps({"request": {"uid": "x" * 10_000}}), "uid"),
    ],
)
def test_what_is_no_review_is_a_clean_error_without_uid(reason: str, body: bytes, says: str) -> None:
    """The shell turns these into a 4xx."""
    with pytest.raises(BadReview, match=says) as caught:
        parse_review(body)
    assert caught.value.uid == "", reason


@pytest.mark.parametrize(
    ("reason", "changes", "says"),
    [
        ("unknown operation", {"operation": "PATCH"}, "PATCH"),
        ("operation is a list", {"operation": []}, "operation is a list"),
        ("kind is text", {"kind": "Pod"}, "kind"),
        ("namespace is a number", {"namespace": 3}, "namespace is a number"),
        ("object is a list", {"object": []}, "object is a list"),
        ("object is missing", {"object": None}, "object is missing"),
        ("labels are a list", {"object": {"metadata": {"labels": []}}}, "labels: expected .*got `array`"),
        ("a label is a number", {"object": {"metadata": {"labels": {"a": 1}}}}, "labels.*expected `str`, got `int`"),
        ("owner references are text", {"object": {"metadata": {"ownerReferences": "x"}}}, "ownerReferences"),
        ("metadata is text", {"object": {"metadata": "x"}}, "metadata"),
        ("name is an object", {"object": {"metadata": {"name": {}}}}, "name: expected `str"),
    ],
)
def test_a_review_with_wrong_types_keeps_its_uid(reason: str, changes: dict[str, JSON], says: str) -> None:
    """Such a request can still be answered."""
    with pytest.raises(BadReview, match=says) as caught:
        parse_review(_with(**changes))
    assert caught.value.uid == REVIEW["request"]["uid"], reason


@pytest.mark.parametrize("odd", [None, "alice", [], {}, {"username": 3, "resource": None}])
def test_who_and_what_are_for_the_log_alone(odd: JSON) -> None:
    """No decision reads them, so nothing that stands there refuses a review."""
    request = parse_review(_with(userInfo=odd, resource=odd))
    assert (request.user, request.resource) == ("", "")


def test_another_version_of_the_review_is_refused_by_name() -> None:
    """v1beta1 reviews are not spoken any more."""
    with pytest.raises(BadReview, match="v1beta1") as caught:
        parse_review(orjson.dumps({**REVIEW, "apiVersion": "admission.k8s.io/v1beta1"}))
    assert caught.value.uid


@given(st.binary(max_size=512))
def test_any_bytes_are_a_request_or_a_clean_error(body: bytes) -> None:
    """Bytes from anybody."""
    _only_clean_errors(body)


_LEAVES = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5)
_ANYTHING = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = st.sampled_from([*sorted(REVIEW["request"]), "oldObject", "subResource"])


@given(st.dictionaries(_FIELDS, _ANYTHING, max_size=5))
def test_any_field_of_any_type_is_a_request_or_a_clean_error(changes: dict[str, JSON]) -> None:
    """Reviews that are nearly right."""
    _only_clean_errors(_with(**changes))


def _only_clean_errors(body: bytes) -> None:
    try:
        said = parse_review(body).uid
    except BadReview as error:
        said = str(error)
    assert said
    assert "\n" not in said
