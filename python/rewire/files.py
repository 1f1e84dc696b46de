"""Networks and trainers on disk: one safetensors file each, checked piece by piece when it is read.

Networks and trainers save and load themselves; `_saving.py` says what a file holds and what is checked.
"""

from __future__ import annotations

from rewire._fileio import FileError
from rewire._saving import Contents, Path, opened, read
from rewire.network import Sequential

__all__ = ["Contents", "FileError", "load", "opened", "read"]


def load(path: Path) -> Sequential:
    """The network in a file that `Sequential.save` or `Trainer.save` wrote; see `Sequential.load`.

    A file of the second kind holds a trainer as well, which `Trainer.resume` reads.
    """
    return Sequential.load(path)
