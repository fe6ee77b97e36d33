"""Golden pairs: real manifests in, the injected ones out; rewritten by ``pytest --update-golden``, read in review like code.

The command line is the way in, so that the files are exactly what a user would see.
"""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from kagenti.cli import app

DATA = Path(__file__).resolve().parents[2] / "data" / "inject"
CASES = sorted(path.name.removesuffix(".in.yaml") for path in DATA.glob("*.in.yaml"))


def injected(path: Path) -> str:
    """Returns what ``kagenti inject`` prints for a file."""
    arguments = ["inject", "-f", str(path), "--now", "2026-11-24T12:00:00Z", "-n", "team1"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("case", CASES)
def test_injection_is_what_the_golden_file_says(case: str, request: pytest.FixtureRequest) -> None:
    """The output equals the golden file byte for byte."""
    found, golden = injected(DATA / f"{case}.in.yaml"), DATA / f"{case}.out.yaml"
    if request.config.getoption("--update-golden"):
        golden.write_text(found)
    assert golden.exists(), "no golden file: run pytest --update-golden and read what it wrote"
    assert found == golden.read_text()


def test_there_is_a_pair_for_every_file() -> None:
    """No golden file is without its input."""
    outputs = {path.name.removesuffix(".out.yaml") for path in DATA.glob("*.out.yaml")}
    assert outputs == set(CASES)
