"""Warnings that point at the user's line, however deep inside the package they are found."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar

import numpy as np

from rewire.errors import InterruptedWarning

__all__ = ["says_interrupted", "tell_interrupted", "warn"]

# NumPy too: ``np.errstate`` as a decorator puts a frame of its own between the user and us.
_INSIDE = tuple(os.path.dirname(os.path.abspath(file)) + os.sep for file in (__file__, np.__file__))


def warn(message: str, category: type[Warning]) -> None:
    """Warn as if the first caller outside this package had done it."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


_SAID = ContextVar("_SAID", default=False)


@contextlib.contextmanager
def says_interrupted() -> Iterator[None]:
    """Who calls ``Trainer.fit`` in here says itself that Ctrl-C has ended it."""
    before = _SAID.set(True)
    try:
        yield
    finally:
        _SAID.reset(before)


def tell_interrupted(what: str, done: str) -> None:
    """Warn that Ctrl-C has ended a call, unless its caller does."""
    if not _SAID.get():
        warn(f"{what} was interrupted after {done}; what has been learnt so far is kept", InterruptedWarning)
