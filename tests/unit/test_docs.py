"""The docs name only what exists."""

import re
from pathlib import Path

import pytest
from scripts.gen_reasons import SECTIONS

from kagenti.cli import catalogue, manifests
from kagenti_api.v1alpha1.agentcard import (
    FETCH_FAILURES,
    HOST_NETWORK,
    MULTIPLE_WORKLOADS,
    NO_PODS,
    NO_READY_POD,
    SYNC_SUCCESS,
)

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMED = re.compile(
    r"`((?:api|src|tests|docs|charts|examples|bench|scripts|generated)/[A-Za-z0-9_./-]*|(?:charts|examples)/[a-z]+)`"
)
TEST = re.compile(r"`(tests/[A-Za-z0-9_./-]+\.py)::(\w+)`")
LINK = re.compile(r"\]\(((?!https?:)[^)#]+)\)")


def test_every_path_that_a_page_names_exists() -> None:
    """Paths in backticks are relative to the root, links to the page."""
    missing = []
    for page in DOCS:
        text = page.read_text()
        missing += [f"{page}: {name}" for name in NAMED.findall(text) if not (ROOT / name).exists()]
        missing += [f"{page}: {name}" for name in LINK.findall(text) if not (page.parent / name).exists()]
    assert missing == []


def test_every_test_that_a_page_names_exists() -> None:
    """A page that says what proves a line names a file and a test of it."""
    named = [found for page in DOCS for found in TEST.findall(page.read_text())]
    assert named
    missing = [f"{file}::{name}" for file, name in named if not _defines(ROOT / file, name)]
    assert missing == []


def _examples() -> list[tuple[str, str]]:
    """Returns (page, text) of every example in YAML."""
    fenced = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [(str(page.relative_to(ROOT)), text) for page in DOCS for text in fenced.findall(page.read_text())]


@pytest.mark.parametrize(("page", "text"), _examples())
def test_an_example_of_a_page_is_what_the_api_server_takes(page: str, text: str, tmp_path: Path) -> None:
    """Objects of ours by the generated schema; ``kagenti inject`` reads them so too."""
    (tmp_path / "example.yaml").write_text(text)
    documents = manifests.read([str(tmp_path / "example.yaml")])
    assert documents, page
    assert catalogue.from_documents(documents, namespace="default").objects, (
        f"{page} has an example without an object of ours"
    )


def _defines(file: Path, name: str) -> bool:
    return file.exists() and re.search(rf"\bdef {name}\(", file.read_text()) is not None


# A code is a constant or the first argument of a Finding; the proper names of other things are not.
CODE = re.compile(r'(?:^[A-Z_]+: Final = |\bFinding\(\s*)"([A-Z][a-z]+[A-Za-z]*)"', re.MULTILINE)


def test_every_reason_code_is_explained() -> None:
    """The table of docs/triggers-and-admission.md has each code that core can answer, and no other."""
    sources = (path.read_text() for path in (ROOT / "src" / "kagenti" / "core").rglob("*.py"))
    defined = {code for text in sources for code in CODE.findall(text)}
    explained = {code for meanings in SECTIONS.values() for code in meanings}
    assert sorted(defined ^ explained) == []


def test_the_page_has_every_code() -> None:
    """What the generator knows is on the page."""
    page = (ROOT / "docs" / "triggers-and-admission.md").read_text()
    codes = {code for meanings in SECTIONS.values() for code in meanings}
    assert sorted(code for code in codes if f"| `{code}` |" not in page) == []


def test_every_reason_of_synced_is_explained() -> None:
    """In docs/agent-cards.md, and no other there."""
    table = (ROOT / "docs" / "agent-cards.md").read_text().partition("## Reasons of `Synced`")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {code for row in rows for code in re.findall(r"`(\w+)`", row)}
    assert named == {SYNC_SUCCESS, MULTIPLE_WORKLOADS, NO_PODS, NO_READY_POD, HOST_NETWORK, *FETCH_FAILURES}
