"""The examples' programs: they compile, name only what they say they need, and the one on the standard library serves."""

import ast
import importlib.util
import json
import sys
import threading
import urllib.error
import urllib.request
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted((ROOT / "examples" / "agent").glob("*.py"))


def imported(tree: ast.AST) -> set[str]:
    """Returns the top-level packages that a program imports."""
    names = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


def load(path: Path) -> ModuleType:
    """Imports a program under a name of its own; its main part does not run."""
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def test_the_card_is_served_at_both_paths() -> None:
    """The program's own handler on a free port: the card under the new and the old name, 404 for all else."""
    card = load(ROOT / "examples" / "agent" / "card.py")
    with ThreadingHTTPServer(("127.0.0.1", 0), card.Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            base = f"http://127.0.0.1:{server.server_address[1]}"
            for path in ("/.well-known/agent-card.json", "/.well-known/agent.json"):
                with urllib.request.urlopen(base + path, timeout=5) as answer:  # noqa: S310  # loopback
                    assert json.load(answer) == card.CARD
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(base + "/secret", timeout=5)  # noqa: S310  # loopback
            with refused.value:
                assert refused.value.code == 404
        finally:
            server.shutdown()
            thread.join()
