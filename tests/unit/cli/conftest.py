"""The command as a user runs it: arguments in, exit code and both outputs out."""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.main

from kagenti import cli


@dataclass(frozen=True)
class Done:
    """What a run of the command left."""

    code: int
    out: str
    err: str


@functools.cache
def command() -> Callable[[], None]:
    """The command line as typer builds it anew for each call, which takes longer than many a command: built once here."""
    return typer.main.get_command(cli.app)


@pytest.fixture
def kagenti(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs ``kagenti`` with these arguments, through the function that turns errors into exit codes."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["kagenti", *arguments])
        monkeypatch.setattr(cli, "app", command())
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return Done(int(ended.value.code or 0), told.out, told.err)

    return run


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., str]:
    """Writes a manifest to a file and returns its path."""

    def write(text: str, name: str = "app.yaml") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write
