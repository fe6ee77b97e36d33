"""What a KubeClient sends, and what a refusal means to whoever asked."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from kagenti import errors
from kagenti.kube.answers import refusal
from kagenti.kube.client import as_yaml


@pytest.mark.parametrize(
    "text", ["\x7f", "\x80\x85\x9f", "\u2028 \u2029", "\ufeff", "\uffff\ufffe", "\x00\x1f", "😀\U0010ffff", "<<"]
)
def test_what_is_applied_is_yaml(text: str) -> None:
    """Server-side apply reads YAML: whatever an agent writes into its card arrives as it was."""
    manifest = {text: [text, {"a": text}]}
    assert YAML(typ="safe", pure=True).load(as_yaml(manifest)) == manifest


@given(st.text(max_size=20))
def test_any_text_is_yaml(text: str) -> None:
    """The same for what nobody thought of."""
    assert YAML(typ="safe", pure=True).load(as_yaml({"a": text})) == {"a": text}


def _invalid(field: str) -> bytes:
    """The API server's answer to an object with a bad field, as kube-apiserver 1.36 gives it."""
    cause = {"reason": "FieldValueInvalid", "message": "Invalid value", "field": field}
    return orjson.dumps({"kind": "Status", "message": "a is invalid", "details": {"causes": [cause]}, "code": 422})


REFUSALS = [
    (409, b"{}", errors.Conflict, "an optimistic lock, or a uid where no object is left"),
    (422, _invalid("metadata.uid"), errors.Conflict, "a uid is immutable: the object was replaced"),
    (422, _invalid("status.phase"), errors.Unreachable, "what we wrote is wrong: neither gone nor replaced"),
    (422, b"<html>", errors.Unreachable, "no Status at all"),
    (422, b'{"details":null}', errors.Unreachable, "a Status without causes"),
    (404, b"{}", errors.NotFound, "gone"),
]


@pytest.mark.parametrize(("status", "body", "expected", "reason"), REFUSALS, ids=[row[3] for row in REFUSALS])
def test_an_answer_becomes_the_error_that_it_means(
    status: int, body: bytes, expected: type[errors.ClusterError], reason: str
) -> None:
    """Whoever writes drops what was replaced and tries an outage again."""
    assert type(refusal(status, body, what="PATCH /x", headers={})) is expected, reason
