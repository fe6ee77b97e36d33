"""The command against an API server of this process; run as the unit tests run it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.cli.api_server import Server, serving
from tests.unit.cli.conftest import kagenti, written

__all__ = ["kagenti", "written"]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Server]:
    """An API server that serves what the test puts into it."""
    with serving(tmp_path) as server:
        yield server
