"""``kagenti migrate configmaps`` for people who look for it here; takes the same arguments."""

import sys

from kagenti import cli

if __name__ == "__main__":
    sys.argv = ["kagenti", "migrate", "configmaps", *sys.argv[1:]]
    cli.main()
