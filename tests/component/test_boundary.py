"""What a unit test must not do fails it, in a session of its own that has the hooks of the unit suite for one of two folders."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
HOOKS: Final = """\
from tests.unit.conftest import pytest_runtest_call, pytest_runtest_setup, pytest_runtest_teardown
"""
TESTS: Final = """\
import asyncio, contextlib, os, socket, subprocess, pytest

@pytest.fixture
def bound():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        yield made

def test_fixture(bound):
    pass

def test_bind():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))

def test_connect():
    with socket.socket() as made:
        made.connect_ex(("127.0.0.1", 1))

def test_lookup():
    socket.getaddrinfo("127.0.0.1", 80)

def test_server():
    async def serve():
        (await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)).close()
    asyncio.run(serve())

def test_caught():
    with socket.socket() as made, contextlib.suppress(BaseException):
        made.bind(("127.0.0.1", 0))

def test_popen():
    subprocess.run(["true"])

def test_system():
    os.system("true")

def test_fork():
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)

def test_loop():
    asyncio.run(asyncio.sleep(0))
"""
ENDS: Final = re.compile(r"^(PASSED|FAILED|ERROR) (\w+)/test_it\.py::test_(\w+)(?: - (.*))?$", re.MULTILINE)


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[str, str]]:
    """How each test of the two folders ended, and what was said, by folder and test."""
    folder = tmp_path_factory.mktemp("boundary")
    for name, hooks in (("unit", HOOKS), ("component", "")):
        (folder / name).mkdir()
        (folder / name / "conftest.py").write_text(hooks)
        (folder / name / "test_it.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    plugins = [
        word for name in ("asyncio", "xdist", "hypothesispytest", "cacheprovider") for word in ("-p", f"no:{name}")
    ]
    command = [sys.executable, "-m", "pytest", *plugins, "-q", "-rA", "--import-mode=importlib", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "400"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    return {(place, name): (end, said) for end, place, name, said in ENDS.findall(done.stdout)}


AT: Final = "socket.bind: this test opens a socket at ('127.0.0.1', 0)"
EXPECTED: Final = {
    "fixture": ("ERROR", AT),
    "bind": ("FAILED", AT),
    "connect": ("FAILED", "socket.connect: this test opens a socket to ('127.0.0.1', 1)"),
    "lookup": ("FAILED", "socket.getaddrinfo: this test looks up '127.0.0.1'"),
    "server": ("FAILED", AT),
    "caught": ("FAILED", AT),
    "popen": ("FAILED", "subprocess.Popen: this test starts ['true']"),
    "system": ("FAILED", "os.system: this test starts b'true'"),
    "fork": ("FAILED", "os.fork: this test forks"),
    "loop": ("PASSED", ""),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_no_unit_test_does_fails_it(name: str, ends: dict[tuple[str, str], tuple[str, str]]) -> None:
    """With one sentence; the very same passes beside the unit tests, and the pair of sockets of a loop anywhere."""
    end, said = EXPECTED[name]
    found, told = ends["unit", name]
    assert found == end
    assert said in told
    assert ("; what starts or contacts something belongs in tests/component" in told) == bool(said)
    assert ends["component", name] == ("PASSED", "")
