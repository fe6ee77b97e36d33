"""The examples' programs: they compile, and name only what they say they need."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted((ROOT / "examples" / "agent").glob("*.py"))


def imported(tree: ast.AST) -> set[str]:
    """Returns the top-level packages that a program imports."""
    names = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


def test_there_are_programs() -> None:
    """The two of the design."""
    assert [path.name for path in PROGRAMS] == ["card.py", "telemetry.py"]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_it_compiles_and_says_what_it_needs(path: Path) -> None:
    """Whatever is not in the standard library stands in the docstring as a package to install."""
    tree = ast.parse(path.read_text())
    compile(tree, path.name, "exec")
    foreign = imported(tree) - set(sys.stdlib_module_names)
    assert [name for name in foreign if name not in (ast.get_docstring(tree) or "")] == []
