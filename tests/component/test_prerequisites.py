"""scripts/prerequisites.py: quiet where everything is there, and never the reason that a run ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import prerequisites

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only one on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(prerequisites, "SYSTEM_FOLDERS", ())
    return tmp_path


def program(folder: Path, name: str, text: str = "exit 0") -> None:
    """Puts a program into the folder."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_nothing_is_said_where_nothing_is_missing(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything is on PATH already."""
    for name in prerequisites.PROGRAMS:
        program(machine, name)
    prerequisites.main()
    assert capsys.readouterr() == ("", "")


def test_a_person_is_told_what_to_install(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without apt-get the packages are named, and the run goes on."""
    program(machine, "nsenter")
    prerequisites.main()
    said = capsys.readouterr().err
    assert "ip, iptables, ip6tables, setpriv not found" in said
    assert "apt-get install iproute2 iptables util-linux" in said


def test_root_installs_what_is_missing(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """apt-get is asked for the packages of the missing programs only, each step with its time."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in set(prerequisites.PROGRAMS) - {"ip"}:
        program(machine, name)
    program(machine, "apt-get", f'echo "$@" >> {machine}/asked; : > {machine}/ip; /bin/chmod +x {machine}/ip')
    prerequisites.main()
    assert (machine / "asked").read_text().splitlines() == [
        "-q update",
        "-q install --yes --no-install-recommends iproute2",
    ]
    said = capsys.readouterr()
    assert "done in" in said.out
    assert said.err == ""


def test_a_failing_apt_get_does_not_end_the_run(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it said is shown, and what is still missing."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    program(machine, "apt-get", "echo no network >&2; exit 100")
    prerequisites.main()
    said = capsys.readouterr()
    assert "no network" in said.out
    assert "not found" in said.err


def test_ci_asks_for_it_first() -> None:
    """.ci/run calls it with the system's Python, before anything is installed."""
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    calls = [line for line in lines if "prerequisites.py" in line or line.startswith("make ")]
    assert "prerequisites.py" in calls[0]
    done = subprocess.run([sys.executable, "-S", "-E", "-c", "import scripts.prerequisites"], cwd=ROOT)
    assert done.returncode == 0
