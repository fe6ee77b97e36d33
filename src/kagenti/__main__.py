"""``python -m kagenti``: the same as the command ``kagenti``."""

from kagenti.cli import main

if __name__ == "__main__":
    main()
