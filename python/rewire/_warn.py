"""Warnings that point at the user's line, however deep inside the package they are found."""

from __future__ import annotations

import os
import sys
import warnings

import numpy as np

__all__ = ["warn"]

# NumPy too: ``np.errstate`` as a decorator puts a frame of its own between the user and us.
_INSIDE = tuple(os.path.dirname(os.path.abspath(file)) + os.sep for file in (__file__, np.__file__))


def warn(message: str, category: type[Warning]) -> None:
    """Warn as if the first caller outside this package had done it."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
