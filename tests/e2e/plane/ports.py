"""Ports for servers that are started a moment after their port was chosen."""

import itertools
import os
import random
import socket
from typing import Final

_FIRST, _LAST = 20_000, 32_767
"""Below what Linux gives whoever asks for any port (``ip_local_port_range``, from 32768 on): nobody is given ours meanwhile."""
_PROCESSES: Final = 16  # beside each other: workers of pytest-xdist by their number, others by their pid
_number = int(os.environ.get("PYTEST_XDIST_WORKER", f"gw{os.getpid()}").removeprefix("gw")) % _PROCESSES

_ours = range(_FIRST + _number, _LAST + 1, _PROCESSES)
# None twice in a process, and seldom one of an earlier run: kubectl keeps for hours what a server of that address served.
_numbers = itertools.cycle(random.sample(_ours, len(_ours)))


def free_port() -> int:
    """Returns a port that nobody listens on, and that nobody else is given before all others have had their turn.

    Raises:
        OSError: Every port of this process is taken.
    """
    for port in itertools.islice(_numbers, len(_ours)):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError(f"every {_PROCESSES}th port from {_ours[0]} to {_LAST} is taken")
