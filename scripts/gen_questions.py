"""Writes docs/open-questions.md, and the trigger question in docs/triggers.md, from evidence; ``--check`` fails on drift.

The words stand in scripts/questions, the evidence does not: ``{{xds: row}}`` is the measured cell of a row that a bench has
published in docs/figures, ``{{triggers[2]: row}}`` another cell of it, ``{{triggers[*]: row}}`` all of them, and ``{{live}}`` a
count taken from the code or the examples. Tests are named there, and tests/unit/test_docs.py looks whether they exist.
"""

import functools
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import yaml

from kagenti_api.v1alpha1.fields import LAYERED_FIELDS

ROOT = Path(__file__).resolve().parent.parent
WORDS, FIGURES = ROOT / "scripts" / "questions", ROOT / "docs" / "figures"
PAGE, TRIGGERS = ROOT / "docs" / "open-questions.md", ROOT / "docs" / "triggers.md"
BEGIN, END = "<!-- question:begin (written by scripts/gen_questions.py) -->\n", "<!-- question:end -->"
FLEET: Final = 50
HEAD: Final = "<!-- Written by scripts/gen_questions.py from scripts/questions/open-questions.md; do not edit. -->\n"
_PLACE: Final = re.compile(r"\{\{(?:(?P<table>\w+)(?:\[(?P<cell>\d+|\*)\])?: )?(?P<name>[^}]+)\}\}")


@functools.cache
def table(name: str) -> dict[str, list[str]]:
    """Returns the rows of a published table, by their first cell."""
    lines = (FIGURES / f"{name}.md").read_text().splitlines()
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| "))
    return {row[0]: row[1:] for row in cells}


@functools.cache
def counts() -> dict[str, int]:
    """Returns what is counted in the code, its tests and the examples."""
    classes = Counter(field.mark.class_ for field in LAYERED_FIELDS.values())
    found = {"settings": len(LAYERED_FIELDS), "live": classes["live"] + classes["both"], "restart": classes["restart"]}
    found["refused manifests"] = len(list((ROOT / "tests" / "unit" / "data" / "crds" / "invalid").glob("*.yaml")))
    found["fleet"] = FLEET
    for trigger, example in (("label", "weather-agent-label.yaml"), ("runtime", "weather-agent-runtime.yaml")):
        text = (ROOT / "examples" / example).read_text()
        objects = sum(document is not None for document in yaml.safe_load_all(text))
        found[f"objects by {trigger}"], found[f"fleet by {trigger}"] = objects, FLEET * objects
        found[f"labels by {trigger}"] = sum(line.strip().startswith("kagenti.io/") for line in text.splitlines())
    return found


def filled(text: str) -> str:
    """Returns words with their evidence; raises LookupError where some is missing."""
    return _PLACE.sub(_evidence, text)


def _evidence(place: re.Match[str]) -> str:
    name, where, cell = place["name"], place["table"], place["cell"] or "0"
    if where is None:
        if name not in counts():
            raise LookupError(f"{name!r} is nothing that is counted; one of {', '.join(counts())}")
        return str(counts()[name])
    if not (FIGURES / f"{where}.md").exists() or name not in table(where):
        raise LookupError(
            f"docs/figures/{where}.md has no row {name!r}; run make bench BENCH={where}, or mend the words"
        )
    row = table(where)[name]
    return " | ".join(row) if cell == "*" else row[int(cell)]


def main() -> int:
    """Writes or checks both pages; returns 1 on drift, and where evidence is missing."""
    head, _, rest = TRIGGERS.read_text().partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        print(f"gen_questions: {TRIGGERS.name} has lost its marks {BEGIN.strip()} and {END}")
        return 1
    try:
        question = filled((WORDS / "trigger-question.md").read_text())
        wanted = {TRIGGERS: f"{head}{BEGIN}{question}{END}{tail}"}
        wanted[PAGE] = HEAD + filled((WORDS / "open-questions.md").read_text())
    except LookupError as problem:
        print(f"gen_questions: {problem}")
        return 1
    drifted = [page for page, content in wanted.items() if not page.exists() or page.read_text() != content]
    for page in drifted:
        if "--check" in sys.argv[1:]:
            print(f"gen_questions: {page.relative_to(ROOT)} has drifted; run make crds and commit the result")
        else:
            page.write_text(wanted[page])
            print(f"gen_questions: wrote {page.relative_to(ROOT)}")
    return int(bool(drifted) and "--check" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
