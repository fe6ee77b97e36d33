"""Which Java the Keycloak of the tests runs on, and what is said where there is none."""

import os
from pathlib import Path

import pytest

from tests.e2e.keycloak import distribution, java
from tests.e2e.keycloak.distribution import BUILT_FOR, key


def stand_in(folder: Path, version: str) -> Path:
    """Makes a program that says it is a Java of that version."""
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "java"
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-20' >&2\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of PATH; no JAVA_HOME."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"))
    return tmp_path / "path"


def test_java_home_goes_before_path(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As every Java program has it."""
    stand_in(path, "17.0.15")
    home = stand_in(tmp_path / "home", "21")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert java.java() == str(home)


def test_an_old_java_home_is_passed_over(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Java that is new enough further on is taken; 1.8 is 8."""
    found = stand_in(path, "17.0.15")
    stand_in(tmp_path / "home", "1.8.0_422")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert java.java() == str(found)


@pytest.mark.parametrize("version", ["", "11.0.2"])
def test_without_java_it_says_what_is_lacking_and_what_to_do(
    version: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who is not root cannot have it installed."""
    if version:
        stand_in(path, version)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(java.Unavailable, match=r"no Java >= 17 in JAVA_HOME or PATH.*install Java >= 17 and Maven"):
        java.java()


@pytest.mark.parametrize(
    ("reason", "said"),
    [(java.Unavailable("no Java"), "will be skipped"), (RuntimeError("no network"), "will try again: no network")],
)
def test_fetching_ahead_never_stops_the_suite(
    reason: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``make binaries`` says what it could not have, and leaves the verdict to the tests."""

    def find() -> None:
        raise reason

    monkeypatch.setattr(distribution, "find", find)
    distribution.main()
    assert said in capsys.readouterr().err


def test_the_cache_is_keyed_by_artifact_content_and_build_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version, another archive, or another database is another folder."""
    names = {key()}
    for name, value in {"ARTIFACT": "other", "SHA256": "0", "BUILT_FOR": (*BUILT_FOR, "--features=spiffe")}.items():
        monkeypatch.setattr(f"tests.e2e.keycloak.distribution.{name}", value)
        names.add(key())
    assert len(names) == 4
