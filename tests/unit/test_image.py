"""The Dockerfile, as far as it can be shown without Docker: its context is complete, its packages are locked, nobody is root."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IGNORED = (ROOT / ".dockerignore").read_text().splitlines()
COPIES = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if re.match(r"COPY (?!--from)", line)]
SOURCES = [source for sources in COPIES for source in sources]


def test_the_context_holds_what_is_copied_and_nothing_else() -> None:
    """.dockerignore leaves everything out but the sources of COPY."""
    allowed = [line.removeprefix("!") for line in IGNORED if line.startswith("!")]
    assert "*" in IGNORED
    assert SOURCES
    assert [
        source for source in SOURCES if not any(source == entry or source.startswith(f"{entry}/") for entry in allowed)
    ] == []
    assert [entry for entry in allowed if not any(source.startswith(entry) for source in SOURCES)] == []


@pytest.mark.parametrize("line", [line.strip() for line in DOCKERFILE.splitlines() if "pip install" in line])
def test_every_package_is_locked(line: str) -> None:
    """Each installation takes hashes from a lock file, or the wheel that was just built and no index."""
    assert ("--require-hashes --requirement requirements/" in line) or ("--no-index /wheel/" in line)


def test_the_image_runs_as_nobody() -> None:
    """The last USER is numeric, so that runAsNonRoot can be verified, and the chart's."""
    user = re.findall(r"^USER (.+)$", DOCKERFILE, flags=re.MULTILINE)[-1]
    assert user == "65532:65532"
    assert "runAsUser: 65532" in (ROOT / "charts" / "kagenti" / "templates" / "webhook.yaml").read_text()


def test_the_entry_point_is_the_program_that_the_chart_calls() -> None:
    """The chart gives arguments only."""
    assert 'ENTRYPOINT ["/opt/kagenti/bin/kagenti"]' in DOCKERFILE
    assert "command:" not in (ROOT / "charts" / "kagenti" / "templates" / "webhook.yaml").read_text()


def test_the_wheel_is_built_by_the_locked_hatchling() -> None:
    """build.txt names the very versions of dev.txt."""
    build, dev = (
        set(re.findall(r"^\S+==\S+", (ROOT / "requirements" / name).read_text(), re.MULTILINE))
        for name in ("build.txt", "dev.txt")
    )
    assert any(pin.startswith("hatchling==") for pin in build)
    assert build <= dev


def test_no_line_names_an_architecture() -> None:
    """One Dockerfile for all of them (``docker buildx build --platform linux/amd64,linux/arm64``): the lock files have hashes for each."""
    assert re.findall(r"x86_64|amd64|aarch64|arm64|--platform", DOCKERFILE) == []
    compiled = [
        text
        for text in re.split(r"\n(?=\S)", (ROOT / "requirements" / "run.txt").read_text())
        if text.startswith(("orjson", "grpcio"))
    ]
    assert len(compiled) == 2
    assert all(text.count("--hash=") > 10 for text in compiled), "locked for one platform alone"
