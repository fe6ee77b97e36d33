"""The house: what imports cannot show about purity, and names that no room may have."""

import ast
import re
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]
SOURCES = sorted(
    path
    for folder in ("src/kagenti", "api")
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)
PURE = [path for path in SOURCES if "core" in path.parts or path.is_relative_to(ROOT / "api")]
FORBIDDEN_CALLS = {"open", "print", "input", "exec", "eval"}
FORBIDDEN_ATTRIBUTES = {("datetime", "now"), ("datetime", "utcnow"), ("date", "today"), ("uuid", "uuid4")}


def _faults(path: Path) -> list[str]:
    faults = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            faults.append(f"{path}:{node.lineno} is asynchronous")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            faults.append(f"{path}:{node.lineno} calls {node.func.id}")
        named = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if named and (node.value.id, node.attr) in FORBIDDEN_ATTRIBUTES:
            faults.append(f"{path}:{node.lineno} reads {node.value.id}.{node.attr}")
    return faults


def test_core_and_api_are_pure() -> None:
    """No file of core or api opens a file, reads a clock, prints, or is asynchronous."""
    assert PURE
    assert [fault for path in PURE for fault in _faults(path)] == []


def test_purity_check_can_fail(tmp_path: Path) -> None:
    """The check above notices each kind of fault."""
    impure = tmp_path / "impure.py"
    impure.write_text("import datetime\nasync def f():\n    open('x')\n    return datetime.datetime.now()\n")
    impure.write_text("from datetime import datetime\nasync def f():\n    open('x')\n    return datetime.now()\n")
    assert len(_faults(impure)) == 3


def test_no_room_without_a_noun() -> None:
    """No module is called utils, helpers, common, misc or shared."""
    names = {path.stem for path in SOURCES} | {path.parent.name for path in SOURCES}
    assert names.isdisjoint({"utils", "util", "helpers", "helper", "common", "misc", "shared"})


def test_no_file_outgrows_its_noun() -> None:
    """A file of more than 400 lines hides a second noun."""
    long = {
        str(path.relative_to(ROOT)): count for path in SOURCES if (count := len(path.read_text().splitlines())) > 400
    }
    assert long == {}


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


def test_lock_files_name_no_url() -> None:
    """Versions and hashes only."""
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    assert [path.name for path in locks] == ["agent.txt", "build.txt", "dev.txt", "run.txt"]
    assert [path.name for path in [*locks, ROOT / "pyproject.toml"] if "://" in path.read_text()] == []


def test_the_check_of_committed_text_can_fail(tmp_path: Path) -> None:
    """It notices a home folder, an index and a proxy."""
    page = tmp_path / "page.md"
    faults = ("cd /home/alice/src", "pip install --index-url x", "export GOPROXY=direct", "see /work" + "/main")
    page.write_text("\n".join(["a clean line", *faults]))
    assert len(machine_bound(page)) == len(faults)
