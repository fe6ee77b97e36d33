"""Golden pairs: real manifests in, the injected ones out; rewritten by ``pytest --update-golden``, read in review like code.

The command line writes them, so that the files are exactly what a user would see. Every pair is compared as content, a
few byte for byte: writing YAML is what takes the time, and it is the same code for each.
"""

import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kagenti import __version__
from kagenti.cli import app, catalogue, manifests
from kagenti.cli.evaluation import Evaluator
from kagenti.cli.setup import Setup
from kagenti.core.installation import Installation
from kagenti.core.workload import Subject, subject_of
from tests.documents import documents
from tests.json_patch import applied

JSON = Any  # a manifest

DATA = Path(__file__).resolve().parents[2] / "data" / "inject"
CASES = sorted(path.name.removesuffix(".in.yaml") for path in DATA.glob("*.in.yaml"))
BYTE_FOR_BYTE = ("defaults", "own-init-container-and-unknown-field")
NOW = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)


def printed(path: Path) -> str:
    """Returns what ``kagenti inject`` prints for a file."""
    arguments = ["inject", "-f", str(path), "--now", NOW.isoformat(), "-n", "team1"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def injected(path: Path) -> list[JSON]:
    """Returns the documents of a file as injection leaves them."""
    documents = manifests.read([str(path)])
    held = catalogue.from_documents(documents, namespace="team1")
    evaluator = Evaluator(
        held, Setup("both", "pods", enrolled=True, installation=Installation(version=__version__)), NOW
    )
    found = []
    for document in documents:
        manifest = manifests.plain(document.content)
        subject = subject_of(manifest, namespace="team1")
        if subject is not None:
            patch = evaluator.evaluate(Subject(subject.owner, subject.template, subject.path)).patch
            manifest = applied(manifest, patch)
        found.append(manifest)
    return found


@pytest.mark.parametrize("case", CASES)
def test_injection_is_what_the_golden_file_says(case: str, request: pytest.FixtureRequest) -> None:
    """The output equals the golden file; for some byte for byte, as the command prints it."""
    given, golden = DATA / f"{case}.in.yaml", DATA / f"{case}.out.yaml"
    if request.config.getoption("--update-golden"):
        golden.write_text(printed(given))
    assert golden.exists(), "no golden file: run pytest --update-golden and read what it wrote"
    if case in BYTE_FOR_BYTE:
        assert printed(given) == golden.read_text()
    assert injected(given) == documents(golden.read_text())


def test_there_is_a_pair_for_every_file() -> None:
    """No golden file is without its input, and the cases that are compared byte for byte exist."""
    outputs = {path.name.removesuffix(".out.yaml") for path in DATA.glob("*.out.yaml")}
    assert outputs == set(CASES)
    assert set(BYTE_FOR_BYTE) <= outputs
