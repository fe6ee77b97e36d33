"""The command as a user runs it: arguments in, exit code and both outputs out."""

import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from kagenti import cli
from tests.unit.cli.api_server import Server, serving


@dataclass(frozen=True)
class Done:
    """What a run of the command left."""

    code: int
    out: str
    err: str


# A process builds its command line once, from signatures; for hundreds of runs in this one that is a quarter of the time.
command_line = functools.cache(typer.main.get_command)


@pytest.fixture
def kagenti(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs ``kagenti`` with these arguments, through the function that turns errors into exit codes."""
    monkeypatch.setattr(typer.main, "get_command", command_line)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["kagenti", *arguments])
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


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Server]:
    """An API server that serves what the test puts into it."""
    with serving(tmp_path) as server:
        yield server
