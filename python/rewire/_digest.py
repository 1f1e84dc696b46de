"""What tells arrays from others, for digests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["take_array"]

_BLOCK = 1 << 24  # bytes that a digest takes at a time


def take_array(array: NDArray[Any], update: Callable[[bytes], None]) -> None:
    """Let a digest have values, shape and type."""
    update(f"{array.shape} {array.dtype}".encode())
    array = np.atleast_1d(array)
    step = max(1, _BLOCK // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        update(np.ascontiguousarray(array[start : start + step]).tobytes())
