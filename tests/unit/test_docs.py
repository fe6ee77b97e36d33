"""The docs name only what exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMED = re.compile(
    r"`((?:api|src|tests|docs|charts|examples|bench|scripts|generated)/[A-Za-z0-9_./-]*|(?:charts|examples)/[a-z]+)`"
)
LINK = re.compile(r"\]\(((?!https?:)[^)#]+)\)")


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    """Paths in backticks are relative to the root, links to the page."""
    text = page.read_text()
    missing = [name for name in NAMED.findall(text) if not (ROOT / name).exists()]
    missing += [name for name in LINK.findall(text) if not (page.parent / name).exists()]
    assert missing == []
