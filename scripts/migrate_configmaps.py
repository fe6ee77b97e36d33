"""``kagenti migrate configmaps`` for people who look for it here; takes the same arguments."""

import sys

from kagenti import cli


def main() -> None:
    """Runs the command with our own arguments."""
    sys.argv = ["kagenti", "migrate", "configmaps", *sys.argv[1:]]
    cli.main()


if __name__ == "__main__":
    main()
