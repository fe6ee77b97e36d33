"""What holds for every suite: gRPC, which tests use in this very process, keeps out of forks; the collector sweeps rarely."""

import gc
import os
from collections.abc import Iterator

import pytest

# Read when grpc is imported. Its fork handlers abort a child that is forked while gRPC's threads run; nobody here uses
# gRPC in a forked child (gRPC core documentation, "GRPC_ENABLE_FORK_SUPPORT").
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# As the command line does: imports and tests make objects that live on, and the default looks at them again and again.
gc.set_threshold(100_000, 50, 100)


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
