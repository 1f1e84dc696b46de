"""``rewire demo``."""

from argparse import Namespace

from rewire import demo
from rewire.cli._shared import check_outputs, rerun_with_blas_threads, use_threads


def run(arguments: Namespace) -> int:
    """Run the demonstration, on one thread unless told otherwise, the dense network as well as the sparse."""
    check_outputs(arguments.out)
    use_threads(1 if arguments.threads is None else arguments.threads)
    code = rerun_with_blas_threads(["demo", "--out", arguments.out, "--seed", str(arguments.seed)])
    if code is None:
        demo.main(arguments.out, seed=arguments.seed)
    return code or 0
