"""Waiting on a condition with a deadline: the only way in which tests pass time."""

import time
from collections.abc import Callable

_STEP = 0.02  # seconds between two looks; small against what is waited for, large against a look's cost


def wait_until(
    condition: Callable[[], object], deadline: float, describe: Callable[[], str], *, every: float = _STEP
) -> None:
    """Returns once ``condition()`` is true; raises TimeoutError with ``describe()`` after ``deadline`` seconds.

    ``every`` is for looks that cost much: seconds between two.
    """
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {deadline:g} s: {describe()}")
        time.sleep(every)
