"""Texts that the command line writes, as kubectl reads them: by YAML 1.1."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from kagenti.cli import manifests
from kagenti.cli.scalars import unambiguous

JSON = Any  # a document
ODD = ["Off", "on", "yes", "No", "y", "n", "null", "~", "", "1", "1.5", "0o7", "010", "0b1", "1_000", "1:30", ".5", "1e3",
       "2020-01-01", "true", "=", "<<", "-", "a: b", "a #b"]  # fmt: skip


def read(text: str, version: tuple[int, int]) -> JSON:
    """Returns a document as a reader of that version understands it."""
    yaml = YAML(typ="safe", pure=True)
    yaml.version = version
    return yaml.load(text)


@pytest.mark.parametrize("version", [(1, 1), (1, 2)], ids=str)
@pytest.mark.parametrize("text", ODD)
def test_what_we_add_to_a_manifest_stays_text(
    text: str, version: tuple[int, int], written: Callable[[str], str]
) -> None:
    """As a value and as a key, whatever YAML 1.1 makes of it without quotes."""
    (document,) = manifests.read([written("kind: A\napiVersion: v1\nenv: []\n")])
    manifests.apply(document.content, [{"op": "add", "path": "/env/-", "value": {text: [text]}}])
    assert read(manifests.write(document.content, document), version)["env"] == [{text: [text]}]


@given(text=st.text(alphabet="0123456789:._-+eExobOofFnNyYtTrRuUlLsS~=<", max_size=8))
def test_any_short_text_survives_every_reader(text: str) -> None:
    """As it stands, in a list and as a key."""
    written = io.StringIO()
    YAML(pure=True).dump(unambiguous([text, {text: text}]), written)
    assert read(written.getvalue(), (1, 1)) == read(written.getvalue(), (1, 2)) == [text, {text: text}]
