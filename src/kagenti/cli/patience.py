"""A sign of life on stderr from a command that takes longer than a person waits without one."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

AFTER = 2.0  # seconds


@contextmanager
def told(what: str) -> Iterator[None]:
    """Says once what is still being looked at, where the block takes longer than ``AFTER``."""
    timer = threading.Timer(AFTER, _say, (what,))
    timer.daemon = True  # an error must not wait for it
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(what: str) -> None:
    sys.stderr.write(f"kagenti: still looking at {what}\n")
    sys.stderr.flush()
