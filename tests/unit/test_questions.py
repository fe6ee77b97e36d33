"""The pages that answer questions take their evidence from published tables and counts, or are not written."""

from pathlib import Path

import pytest
from scripts import gen_questions

PAGES = sorted(gen_questions.WORDS.glob("*.md"))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("{{xds: no such row}}", "make bench BENCH=xds"),
        ("{{nowhere: row}}", "docs/figures/nowhere.md"),
        ("{{no such count}}", "nothing that is counted"),
    ],
)
def test_missing_evidence_is_an_error_that_says_where_to_get_it(place: str, said: str) -> None:
    """No page is written with a hole in it, or with yesterday's figure."""
    with pytest.raises(LookupError, match=said):
        gen_questions.filled(place)


def test_a_cell_a_row_and_a_count_are_taken_as_they_stand() -> None:
    """From the published table, by the row's first cell."""
    row = "failed requests in 200 live updates, 8 connections without a pause"
    cells = gen_questions.table("xds")[row]
    assert gen_questions.filled(f"a {{{{xds: {row}}}}} b") == f"a {cells[0]} b"
    assert gen_questions.filled(f"{{{{xds[1]: {row}}}}}") == cells[1]
    assert gen_questions.filled(f"{{{{xds[*]: {row}}}}}") == " | ".join(cells)
    assert int(gen_questions.filled("{{settings}}")) > int(gen_questions.filled("{{live}}")) > 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_every_row_has_as_many_cells_as_its_head(page: Path) -> None:
    """A row taken whole from a bench has a cell for each mechanism."""
    bars = 0
    for line in gen_questions.filled(page.read_text()).splitlines():
        bars = (bars or line.count("|")) if line.startswith("|") else 0
        assert line.startswith("|") is (bars > 0)
        assert not bars or line.count("|") == bars, line
