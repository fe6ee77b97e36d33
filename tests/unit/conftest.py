"""Options of the unit suite, and how many examples its properties try.

``quick`` is what everybody runs: the suite stays within 15 seconds. ``thorough`` is for a change to a property or to what it
speaks of: ``make unit ARGS="--hypothesis-profile thorough"``.
"""

import gc
from collections.abc import Iterator

import pytest
from hypothesis import settings

# As the command line does: imports and tests make objects that live on, and the default looks at them again and again.
gc.set_threshold(100_000, 50, 100)

# No deadline for a single example: on a shared machine it would measure the neighbours.
settings.register_profile("quick", max_examples=10, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile("quick")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--update-golden``."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files from what the code does")


def pytest_collection_finish() -> None:
    """Takes what is loaded out of the collector's sight: a process under test that collects walks its own objects only."""
    gc.freeze()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gives the collector's settings back that a served process changes, and keeps what a test leaks collectable.

    A process collects and freezes once its caches are full. Here that would walk whatever the session holds, ten times as
    much work as all else that such a test does.
    """
    monkeypatch.setattr(gc, "collect", lambda: 0)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
