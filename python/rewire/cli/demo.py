"""``rewire demo``."""

from argparse import Namespace

from rewire import demo
from rewire.cli._shared import check_outputs, use_threads


def run(arguments: Namespace) -> int:
    """Run the demonstration."""
    check_outputs(arguments.out)
    use_threads(arguments.threads)
    demo.main(arguments.out, seed=arguments.seed)
    return 0
