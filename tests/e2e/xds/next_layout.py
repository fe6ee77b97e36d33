"""``kagenti`` as it will be one day: the same program, whose own static layout is the next one.

No released version has it yet, so this takes its place: ``python -m tests.e2e.xds.next_layout xds …``.
"""

from kagenti.core import envoy
from kagenti.core.envoy import layout, proxy

NEXT = layout.LAYOUT + 1


def main() -> None:
    """Runs the command line with the number raised, before anything has read it."""
    layout.LAYOUT = envoy.LAYOUT = proxy.LAYOUT = NEXT  # type: ignore[misc]  # Final, for everybody else

    from kagenti import cli
    from kagenti.core import delivery

    assert max(delivery.LAYOUTS) == NEXT, "somebody read the layout's number before it was raised"
    cli.main()


if __name__ == "__main__":
    main()
