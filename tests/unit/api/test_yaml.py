"""Generated files mean the same to readers of YAML 1.1 (kubectl, helm, PyYAML) and of 1.2."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.documents import documents
from tests.unit.api.manifests import EXAMPLES, ROOT

JSON = Any  # a document
CRDS = sorted((ROOT / "generated" / "crds").glob("*.yaml"))  # the chart's are copies, compared by the drift check
GENERATED = [*CRDS, ROOT / "charts" / "kagenti" / "values.yaml", *EXAMPLES]


def read_as_1_2(text: str) -> list[JSON]:
    """Returns the documents of a text as a reader of YAML 1.2 understands them."""
    return list(YAML(typ="safe", pure=True).load_all(text))


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_reader_reads_the_same(path: Path) -> None:
    """An Off that became false would be an enum value that nobody can write."""
    text = path.read_text()
    assert documents(text) == read_as_1_2(text)


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
