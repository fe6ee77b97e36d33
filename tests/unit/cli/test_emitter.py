"""The emitter writes what ruamel's own writes, whatever the text, the width and the place."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.emitter import RoundTripEmitter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

from kagenti.cli.emitter import Emitter

JSON = Any  # a document
SHAPED = ["", "---", "-", "- a", "a ", " a", "{}", "{} ", '{"a": "it\'s"}', "[1, 2]", "it's", 'say "a\\b"', "a: b", "a #b",
          "#a", "?", "? a", ":", ":a", "a:", "é", "'é'", "{\x07", "{\n", "a,b", "*", "&a", "!a", "|", ">", "%", "@", "`"]  # fmt: skip


def written(content: JSON, emitter: type[RoundTripEmitter], *, width: int) -> str:
    """Returns a document as that emitter writes it."""
    yaml = YAML()
    yaml.Emitter, yaml.width = emitter, width
    text = io.StringIO()
    yaml.dump(content, text)
    return text.getvalue()


def same(text: str, width: int) -> bool:
    """Whether both write a text alike: alone, as key and value, and in the quotes that its author chose."""
    double, single = DoubleQuotedScalarString(text), SingleQuotedScalarString(text)
    within = [text, {text: [text], "a": {text: text}}, double, single, {double: text}]
    return all(
        written(content, Emitter, width=width) == written(content, RoundTripEmitter, width=width)
        for content in (text, double, within)
    )


@pytest.mark.parametrize("width", [8, 1 << 24], ids=["folded", "unfolded"])
def test_what_yaml_treats_specially(width: int) -> None:
    assert [text for text in SHAPED if not (same(text, width) and same(text * 9, width))] == []


@given(text=st.text(alphabet="ab9 .-/_{}[]:#,'\"\\\n\té", max_size=40), width=st.sampled_from([8, 1 << 24]))
def test_any_text(text: str, width: int) -> None:
    assert same(text, width)
