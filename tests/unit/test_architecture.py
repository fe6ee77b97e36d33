"""The house: what imports cannot show about purity, and names that no room may have."""

import ast
import re
from pathlib import Path

import pytest

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


def test_lock_files_name_no_url() -> None:
    """Versions and hashes only."""
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    assert [path.name for path in locks] == ["agent.txt", "build.txt", "dev.txt", "run.txt"]
    assert [path.name for path in [*locks, ROOT / "pyproject.toml"] if "://" in path.read_text()] == []


# What serves, or is served, without an audit event that tests/unit/conftest.py would hear: gRPC opens its sockets from C.
STARTING = re.compile(
    r"^\s*(?:(?:from|import) (?:grpc|kagenti\.xds\.server|tests\.component|tests\.e2e)\b"
    r"|from kagenti\.xds import .*\bserver\b|from tests import .*\b(?:component|e2e)\b)",
    re.MULTILINE,
)


def test_unit_tests_import_nothing_that_starts_a_server() -> None:
    """Neither gRPC nor our server of it, nor the servers of other suites: none of them is one import away."""
    files = sorted((ROOT / "tests" / "unit").rglob("*.py"))
    assert len(files) > 100
    assert [str(path.relative_to(ROOT)) for path in files if STARTING.search(path.read_text())] == []


@pytest.mark.parametrize(
    "line",
    [
        "import grpc.aio",
        "    from kagenti.xds.server import Server",
        "from tests.e2e import plane",
        "from tests import e2e",
        "from kagenti.xds import server",
    ],
)
def test_the_check_of_imports_can_fail(line: str) -> None:
    """At the top of a file or in a function."""
    assert STARTING.search(f"import re\n{line}\n")
    assert not STARTING.search(f"import re\n# {line}\n")
