"""Options of the unit suite, and how many examples its properties try.

``quick`` is what everybody runs: the suite stays within 15 seconds. ``thorough`` is for a change to a property or to what it
speaks of: ``make unit ARGS="--hypothesis-profile thorough"``.
"""

import pytest
from hypothesis import settings

# No deadline for a single example: on a shared machine it would measure the neighbours.
settings.register_profile("quick", max_examples=10, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile("quick")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--update-golden``."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files from what the code does")
