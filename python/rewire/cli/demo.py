"""``rewire demo``."""

from argparse import Namespace

from rewire import demo
from rewire.cli._shared import UsageError, check_outputs, rerun_with_blas_threads, use_threads
from rewire.plots import _style


def run(arguments: Namespace) -> int:
    """Run the demonstration, on one thread unless told otherwise, the dense network as well as the sparse."""
    check_outputs(arguments.out)
    use_threads(1 if arguments.threads is None else arguments.threads)
    code = rerun_with_blas_threads(["demo", "--out", arguments.out, "--seed", str(arguments.seed)])
    if code is None:
        if _style.available() and (kind := _style.kind_of(arguments.out)) not in _style.kinds():
            raise UsageError(f"--out must end in one of .{', .'.join(_style.kinds())}, got .{kind}")
        demo.main(arguments.out, seed=arguments.seed)
    return code or 0
