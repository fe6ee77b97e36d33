"""The manifests that a schema must accept or refuse, with what a refusal must name."""

from pathlib import Path
from typing import Any

from tests.documents import documents

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "tests" / "unit" / "data" / "crds"
JSON = Any  # a raw manifest

VALID = sorted([*(DATA / "valid").glob("*.yaml")])
INVALID = sorted((DATA / "invalid").glob("*.yaml"))
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def load(path: Path) -> list[JSON]:
    """Returns the documents of a file that are of our kinds."""
    return [
        document
        for document in documents(path.read_text())
        if document and document["apiVersion"].startswith("kagenti.io/")
    ]


def expected(path: Path) -> str:
    """Returns what a refusal must name: the first line's ``# expect:``."""
    return path.read_text().splitlines()[0].removeprefix("# expect: ")
