"""A pytest plugin for thousands of small tests in several processes (``-p tests.workers -n …``): fewer words, rarer sweeps.

Of a test that passes, a worker of pytest-xdist sends one report instead of three and two notices; most of what that costs
both sides is spent on them. ``--durations`` therefore knows calls alone. What went wrong is always sent, in any phase.
"""

import gc

import pytest
from _pytest.runner import runtestprotocol

# Collected tests are hundreds of thousands of objects that live until the end; at Python's default (700) they are swept
# again and again, for a seventh of the time.
gc.set_threshold(100_000, 50, 100)


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Runs a test as pytest does, where this is a worker, and reports its call and what did not pass."""
    if not hasattr(item.config, "workerinput"):
        return None
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
    return True
