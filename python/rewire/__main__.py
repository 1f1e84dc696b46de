"""``python -m rewire``: the command line."""

import sys

from rewire.cli import main

if __name__ == "__main__":
    sys.exit(main())
