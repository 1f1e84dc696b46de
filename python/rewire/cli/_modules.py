"""``--import``: modules of one's own, so that what they register can be named on the command line."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from rewire._checks import printable
from rewire.cli._shared import UsageError

__all__ = ["import_all"]


def import_all(given: Iterable[str]) -> None:
    """Import modules by their names, from the folder we are in as well, or files by their paths.

    A module is code, and is run: what a file of ours names is never imported, only what somebody types.

    Raises
    ------
    UsageError
        If there is none, or if it raises.
    """
    for what in given:
        try:
            _import_file(what) if _is_path(what) else _import_module(what)
        except (UsageError, MemoryError):
            raise
        except Exception as error:  # whatever somebody's module raises
            words = f"{type(error).__name__}: {printable(str(error))}"
            raise UsageError(f"--import: {what} cannot be imported: {words}") from error


def _is_path(what: str) -> bool:
    return what.endswith(".py") or os.sep in what


def _import_module(name: str) -> None:
    _look_in(os.getcwd())
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and not f"{name}.".startswith(f"{error.name}."):
            raise
        raise UsageError(f"--import: there is no module {name}") from error


def _import_file(path: str) -> None:
    """As `python FILE` finds what lies beside it; other processes import it by the name of the file."""
    file = Path(path).resolve()
    if not file.is_file():
        raise UsageError(f"--import: there is no file {path}")
    name = file.stem
    if file.suffix != ".py" or not name.isidentifier():
        raise UsageError(f"--import: a file must be called like a module, such as my_rules.py, got {path}")
    known: ModuleType | None = sys.modules.get(name)
    if known is not None:
        if getattr(known, "__file__", None) != str(file):
            raise UsageError(f"--import: {path} has the name of another module, {name}: rename it")
        return
    _look_in(str(file.parent))
    found = importlib.util.find_spec(name)
    if found is None or found.origin != str(file):
        raise UsageError(f"--import: {path} has the name of another module, {name}: rename it")
    importlib.import_module(name)


def _look_in(folder: str) -> None:
    if folder not in sys.path and not (folder == os.getcwd() and "" in sys.path):
        sys.path.insert(0, folder)
