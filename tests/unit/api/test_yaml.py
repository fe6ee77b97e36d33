"""Generated files mean the same to readers of YAML 1.1 (kubectl, helm, PyYAML) and of 1.2."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.unit.api.manifests import EXAMPLES, ROOT

JSON = Any  # a document
GENERATED = [
    *(ROOT / "generated" / "crds").glob("*.yaml"),
    *(ROOT / "charts" / "kagenti" / "crds").glob("*.yaml"),
    ROOT / "charts" / "kagenti" / "values.yaml",
    *EXAMPLES,
]


def read(text: str, version: tuple[int, int]) -> list[JSON]:
    """Returns the documents of a text as a reader of that version understands them."""
    yaml = YAML(typ="safe", pure=True)
    yaml.version = version
    return list(yaml.load_all(text))


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_reader_reads_the_same(path: Path) -> None:
    """An Off that became false would be an enum value that nobody can write."""
    text = path.read_text()
    assert read(text, (1, 1)) == read(text, (1, 2))


def test_the_readers_differ() -> None:
    """The comparison above can fail."""
    assert (read("Off", (1, 1)), read("Off", (1, 2))) == ([False], ["Off"])


def test_every_enumerated_text_is_a_text_to_every_reader() -> None:
    """Of a field that is text, all values are."""

    def enums(node: JSON) -> Any:
        if isinstance(node, dict):
            yield from [node["enum"]] if node.get("type") == "string" and "enum" in node else []
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from enums(child)

    found = [values for path in GENERATED for document in read(path.read_text(), (1, 1)) for values in enums(document)]
    assert ["Auto", "Off"] in found
    assert [values for values in found if not all(isinstance(value, str) for value in values)] == []
