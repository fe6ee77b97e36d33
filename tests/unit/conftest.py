"""Options of the unit suite, how many examples its properties try, and that a unit test starts nothing and contacts nobody.

``quick`` is what everybody runs: the suite stays within 15 seconds. ``thorough`` is for a change to a property or to what it
speaks of: ``make unit ARGS="--hypothesis-profile thorough"``.

A socket that is bound or connected, a name that is looked up, or a process that is begun, fails the test that does it, as
Python reports such events to audit hooks (Python documentation, "Audit events table"). The pair of connected sockets that an
event loop has is no such event. gRPC opens its sockets unseen, from C: ``test_architecture`` keeps it out by its name.
"""

import sys
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import settings

# No deadline for a single example: on a shared machine it would measure the neighbours.
settings.register_profile("quick", max_examples=10, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile("quick")

# What is done, and where in the arguments of the event stands to whom or what.
EVENTS: Final = {
    "socket.bind": ("opens a socket at", 1),
    "socket.connect": ("opens a socket to", 1),
    "socket.sendto": ("sends from a socket to", 1),
    "socket.getaddrinfo": ("looks up", 0),
    "socket.gethostbyname": ("looks up", 0),
    "subprocess.Popen": ("starts", 1),
    "os.posix_spawn": ("starts", 1),
    "os.spawn": ("starts", 2),
    "os.system": ("starts", 0),
    "os.fork": ("forks", None),
    "os.forkpty": ("forks", None),
}


@dataclass(slots=True)
class Boundary:
    """Whether a unit test is running now, and what it did that no unit test does."""

    watching: bool = False
    crossed: str = ""


BOUNDARY: Final = Boundary()


def heard(event: str, arguments: tuple[Any, ...]) -> None:
    """Takes an audit event of this process: two million in a run of the suite, so what is none of ours is told first.

    Raises:
        pytest.fail.Exception: It is one of ``EVENTS``, and a unit test is running.
    """
    if event in EVENTS and BOUNDARY.watching:
        does, place = EVENTS[event]
        what = does if place is None else f"{does} {arguments[place]!r}"
        BOUNDARY.crossed = f"{event}: this test {what}; what starts or contacts something belongs in tests/component"
        pytest.fail(BOUNDARY.crossed)


sys.addaudithook(heard)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Watches from before the first fixture on; pytest calls these three for the tests of this folder only."""
    BOUNDARY.watching, BOUNDARY.crossed = True, ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Fails also the test whose failure on the spot somebody caught, as a task that nobody awaits does."""
    result = yield
    if BOUNDARY.crossed:
        pytest.fail(BOUNDARY.crossed)
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """Leaves what other suites do in this process alone."""
    BOUNDARY.watching = False


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--update-golden``."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files from what the code does")
