"""Generated files mean the same to readers of YAML 1.1 (kubectl, helm, PyYAML) and of 1.2."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ruamel.yaml import YAML
from ruamel.yaml.resolver import implicit_resolvers

from tests.documents import documents
from tests.unit.api.manifests import EXAMPLES, ROOT

JSON = Any  # a document
CRDS = sorted((ROOT / "generated" / "crds").glob("*.yaml"))  # the chart's are copies, compared by the drift check
GENERATED = [*CRDS, ROOT / "charts" / "kagenti" / "values.yaml", *EXAMPLES]


class _Reader(yaml.CSafeLoader):
    """libyaml, with what a plain scalar is taken from ruamel's table for YAML 1.2: ruamel's own reader takes ten times as long."""


_Reader.yaml_implicit_resolvers = {}
for _versions, _tag, _pattern, _first in implicit_resolvers:
    if (1, 2) in _versions:
        _Reader.add_implicit_resolver(_tag, _pattern, _first)


def read_as_1_2(text: str) -> list[JSON]:
    """Returns the documents of a text as a reader of YAML 1.2 understands them."""
    return list(yaml.load_all(text, _Reader))


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_reader_reads_the_same(path: Path) -> None:
    """An Off that became false would be an enum value that nobody can write."""
    text = path.read_text()
    assert documents(text) == read_as_1_2(text)


@pytest.mark.parametrize("text", ["Off", "yes", "True", "~", "", "7", "0o14", "1e3", "1.5", "2026-01-01", "a", "'Off'"])
def test_it_is_the_reader_of_1_2(text: str) -> None:
    """As ruamel's own reads it."""
    assert read_as_1_2(f"a: {text}") == list(YAML(typ="safe", pure=True).load_all(f"a: {text}"))


def test_the_readers_differ() -> None:
    """The comparison above can fail."""
    assert (documents("Off"), read_as_1_2("Off")) == ([False], ["Off"])


def test_every_enumerated_text_is_a_text_to_every_reader() -> None:
    """Of a field that is text, all values are."""

    def enums(node: JSON) -> Any:
        if isinstance(node, dict):
            yield from [node["enum"]] if node.get("type") == "string" and "enum" in node else []
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from enums(child)

    found = [values for path in GENERATED for document in documents(path.read_text()) for values in enums(document)]
    assert ["Auto", "Off"] in found
    assert [values for values in found if not all(isinstance(value, str) for value in values)] == []
