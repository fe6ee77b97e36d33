"""``kagenti`` whose next look at others comes soon: the same program, its pauses shortened, for tests that wait for them.

``python -m tests.e2e.quick operator …``, or ``xds``. That the pauses are as long as documented is for unit tests, whose
clock costs nothing.
"""

import sys
from typing import Final

CARD: Final = 1.0
"""Seconds between two fetches from one agent, and before the first repetition of a failed one; else five."""
KEYS: Final = 5.0
"""Seconds between two fetches of one key set; else thirty."""


def main() -> None:
    """Runs the command line with the shorter pauses of its command."""
    if sys.argv[1] == "operator":
        from kagenti.core.cards import schedule
        from kagenti.operator.cards import loop

        schedule.FIRST_RETRY = loop.QUIET_AFTER_FETCH = CARD  # type: ignore[misc]  # Final, for everybody else
    else:
        from kagenti.xds import keys

        keys.POLL = KEYS  # type: ignore[misc]  # as above
    from kagenti import cli

    cli.main()


if __name__ == "__main__":
    main()
