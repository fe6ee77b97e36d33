"""Ports for servers that are started a moment after their port was chosen."""

import itertools
import os
import socket
from typing import Final

_FIRST: Final = 20_000
"""Below what Linux gives whoever asks for any port (``ip_local_port_range``, from 32768 on): nobody is given ours meanwhile."""
_BLOCKS, _SIZE = 120, 80

_block = _FIRST + os.getpid() % _BLOCKS * _SIZE  # two processes beside each other choose from different ones
_numbers = itertools.cycle(range(_block, _block + _SIZE))


def free_port() -> int:
    """Returns a port that nobody listens on, and that nobody else is given before its turn comes again.

    Raises:
        OSError: All of this process's block are taken.
    """
    for port in itertools.islice(_numbers, _SIZE):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError(f"every port from {_block} to {_block + _SIZE - 1} is taken")
