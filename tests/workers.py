"""A pytest plugin for thousands of small tests in several processes (``-p tests.workers -n …``): fewer words between them.

Of a test that passes, a worker of pytest-xdist sends one report instead of three and two notices; most of what that costs
both sides is spent on them. ``--durations`` therefore knows calls alone. What went wrong is always sent, in any phase.
"""

import pytest
from _pytest.runner import runtestprotocol


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Runs a test as pytest does, where this is a worker, and reports its call and what did not pass."""
    if not hasattr(item.config, "workerinput"):
        return None
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
    return True
