"""``rewire info``."""

from argparse import Namespace

from rewire.info import report


def run(arguments: Namespace) -> int:
    """Print versions, instruction set and threads."""
    print(report())
    return 0
