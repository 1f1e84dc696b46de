"""The command line: ``rewire COMMAND``, also ``python -m rewire COMMAND``.

`options.py` says what can be typed; each command is a module with ``run(arguments) -> exit code``. Errors
end here, as one line on standard error and an exit code.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import traceback
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence

from rewire._checks import printable
from rewire._fileio import FileError, is_standard_output
from rewire.cli._modules import import_all
from rewire.cli._shared import UsageError
from rewire.cli.options import build_parser
from rewire.errors import WorkerError
from rewire.progress import print_beside, silence_stdout
from rewire.workers.world import abort

__all__ = ["main"]

FAILED, USAGE, BAD_FILE, INTERRUPTED = 1, 2, 3, 130

# Errors whose message is for people; of any other kind the name is shown as well.
_EXPECTED = (ValueError, TypeError, OSError, MemoryError, ArithmeticError, ImportError, WorkerError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process by default.

    Returns
    -------
    int
        0 fine, 1 the run failed, 2 wrong usage, 3 a corrupt or unsafe file, 130 interrupted, 129 or 143
        hung up or terminated.
    """
    # Closed by whoever has started us (``>&-``): what is printed goes nowhere, and no file gets their number.
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files, labels and notes may hold any letter
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = build_parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as leaving:  # argparse has said what there is to say
        return int(leaving.code or 0)
    if arguments.command is None:
        return _overview(parser)
    try:
        with _warnings_in_a_line(arguments.command), _report_beside(getattr(arguments, "json", None)):
            import_all(getattr(arguments, "modules", None) or ())
            code = _command(arguments.command)(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _say(arguments.command, "interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has left: nobody is there to complain to
        silence_stdout()
        return FAILED
    except UsageError as error:
        return _say(arguments.command, error, USAGE)
    except FileError as error:
        return _say(arguments.command, error, BAD_FILE)
    except Exception as error:
        words = str(error) or type(error).__name__
        return _say(arguments.command, words if isinstance(error, _EXPECTED) else repr(error), FAILED)


def _overview(parser: ArgumentParser) -> int:
    """Which commands there are, for who has typed none."""
    try:
        parser.print_help()
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
    return USAGE


def _command(name: str) -> Callable[[Namespace], int]:
    """The function of a command; its module is imported only now."""
    module = {"eval": "evaluate"}.get(name, name)
    return importlib.import_module(f"rewire.cli.{module}").run


def _report_beside(record: str | None) -> contextlib.AbstractContextManager[object]:
    """Print the report to standard error where --json goes to standard output: that holds JSON alone."""
    if record is None or not is_standard_output(record):
        return contextlib.nullcontext()
    return contextlib.redirect_stdout(sys.stderr)


@contextlib.contextmanager
def _warnings_in_a_line(command: str) -> Iterator[None]:
    """Print warnings as errors are: for people, who have typed a command and not a line of Python."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        print_beside(f"rewire {command}: warning: {' '.join(str(message).split())}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _say(command: str, words: object, code: int) -> int:
    """One line on standard error; with REWIRE_DEBUG the traceback before it. Other ranks end, too."""
    if os.environ.get("REWIRE_DEBUG", "0") not in ("", "0"):
        traceback.print_exc()
    line = printable(" ".join(str(words).split()))
    print_beside(f"rewire {command}: {line}")
    if command == "train":
        abort(code)
    return code
