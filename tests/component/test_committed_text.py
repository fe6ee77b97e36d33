"""What git knows: no file holds on one machine only."""

import re
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]


OF_ONE_MACHINE = re.compile(
    r"/(?:root|work|home/\w+|Users/\w+)/|/opt/wheels"  # folders
    r"|--(?:extra-)?index-url|--find-links|PIP_INDEX|UV_INDEX|GOPROXY|GOSUMDB"  # where packages come from
    r"|pypi\.org|pythonhosted|proxy\.golang|registry\.npmjs"
)


def committed() -> list[Path]:
    """Returns every file that git knows, but for this one, which has to name what it looks for."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file() and ROOT / name != HERE]


def machine_bound(path: Path) -> list[str]:
    """Returns the lines of a text file that hold on one machine only, or that name a package host."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return []  # a picture
    return [
        f"{path.name}:{number} {line.strip()[:80]}"
        for number, line in enumerate(text.splitlines(), 1)
        if OF_ONE_MACHINE.search(line)
    ]


def test_committed_text_names_no_machine_and_no_host() -> None:
    """No file says where this checkout lies or where packages are fetched from: that is the machine's own setting."""
    files = committed()
    assert len(files) > 200, "git did not list the checkout"
    assert [line for path in files for line in machine_bound(path)] == []


def test_the_check_of_committed_text_can_fail(tmp_path: Path) -> None:
    """It notices a home folder, an index and a proxy."""
    page = tmp_path / "page.md"
    faults = ("cd /home/alice/src", "pip install --index-url x", "export GOPROXY=direct", "see /work" + "/main")
    page.write_text("\n".join(["a clean line", *faults]))
    assert len(machine_bound(page)) == len(faults)
