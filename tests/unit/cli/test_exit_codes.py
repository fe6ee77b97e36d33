"""Every error of the tree ends in one line and the exit code of its branch; what is no error of the tree is a defect."""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from kagenti import cli, errors

ROOT = Path(__file__).parents[3]
CODES = {errors.InputError: 2, errors.ClusterError: 3, errors.Defect: 70}


def below(branch: type[errors.KagentiError]) -> Iterator[type[errors.KagentiError]]:
    """Yields a class and everything under it."""
    yield branch
    for child in branch.__subclasses__():
        yield from below(child)


TABLE = [
    (found, code) for branch, code in CODES.items() for found in below(branch) if found.__module__ == errors.__name__
]


def test_the_table_is_complete() -> None:
    """A new branch of the tree needs an exit code; a room's own error stands under one of the branches."""
    assert [found for found in below(errors.KagentiError) if not issubclass(found, tuple(CODES))] == [
        errors.KagentiError
    ]


@pytest.mark.parametrize(
    ("problem", "code", "line"),
    [
        *((found("app.yaml:1: mend it"), code, "kagenti: app.yaml:1: mend it\n") for found, code in TABLE),
        (KeyError("spec"), 70, "kagenti: defect: KeyError: 'spec'; KAGENTI_DEBUG=1 shows where\n"),
        (BrokenPipeError(), 0, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_ends_in_its_exit_code(
    problem: Exception, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr, nothing on stdout."""

    def fail() -> None:
        raise problem

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.delenv("KAGENTI_DEBUG", raising=False)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, *capsys.readouterr()) == (code, "", line)


def test_wrong_arguments_are_an_input_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also those that the parser of arguments refuses."""
    monkeypatch.setattr(sys, "argv", ["kagenti", "inject", "--mode", "never", "-f", "x"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "'never' is not one of" in capsys.readouterr().err


def test_kubectl_finds_the_command_as_a_plugin() -> None:
    """A program ``kubectl-kagenti`` on PATH is what ``kubectl kagenti`` runs."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["kubectl-kagenti"] == scripts["kagenti"]
