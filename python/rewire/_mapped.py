"""Samples that lie in a file that is mapped: where, so that others can map it, or read it in pieces.

Who reads pieces of it maps each of them anew: pages of the map that came from outside stay in memory as long
as the system likes, and count for the process.
"""

from __future__ import annotations

import math
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._inputs import DenseSource

__all__ = ["MappedSource", "mapped", "mapped_rows", "place_in_file"]

_LOOKED_AT = 16  # rows that tell whether the file is still the one that is mapped here


class MappedSource(DenseSource):
    """Rows of an array in a file, which a pickle tells the place of."""

    largest: float

    def __init__(self, x: NDArray[Any], name: str, path: str, offset: int, largest: float) -> None:
        super().__init__(x, name)
        self.path, self.offset, self.largest = path, offset, largest

    def __reduce__(self) -> tuple[Any, ...]:
        said = self.path, self.offset, self.x.dtype.str, self.x.shape, self.name, self.largest
        return MappedSource.opened, said

    @classmethod
    def opened(
        cls, path: str, offset: int, dtype: str, shape: tuple[int, int], name: str, largest: float
    ) -> MappedSource:
        """The rows as another process maps them."""
        x = np.memmap(path, dtype, "r", offset, shape, "C")
        return cls(np.asarray(x), name, path, offset, largest)


def place_in_file(x: Any) -> tuple[str, int] | None:
    """Path and offset of contiguous rows of a `numpy.memmap`, or of a view of one; None for all else.

    A file that has been replaced since, or whose changes are this process's alone, is no such place.
    """
    file, root = None, x
    while isinstance(root, np.ndarray):
        if isinstance(root, np.memmap):
            file = root
        root = root.base
    if file is None or not isinstance(root, mmap.mmap) or file.filename is None or file.mode == "c":
        return None
    if not x.flags.c_contiguous or not x.size:
        return None
    begins = file.offset - file.offset % mmap.ALLOCATIONGRANULARITY  # of the map, in the file
    offset = begins + x.ctypes.data - np.frombuffer(root, np.uint8).ctypes.data
    path = str(file.filename)
    try:
        found = np.memmap(path, x.dtype, "r", offset, x.shape, "C")
    except (OSError, ValueError):  # it is gone, or shorter
        return None
    rows = np.linspace(0, len(x) - 1, _LOOKED_AT).astype(np.int64)
    return (path, offset) if np.array_equal(found[rows], x[rows], equal_nan=x.dtype.kind == "f") else None


def mapped_rows(x: NDArray[Any], place: tuple[str, int], a: int, b: int) -> NDArray[Any]:
    """Rows [a, b) of an array at a place in a file, in a map of their own, which ends with them."""
    row = x.dtype.itemsize * math.prod(x.shape[1:])
    return np.memmap(place[0], x.dtype, "r", place[1] + a * row, (b - a, *x.shape[1:]))


def mapped(source: DenseSource) -> MappedSource | None:
    """What can be mapped by others, too: see :func:`place_in_file`."""
    x, place = source.x, place_in_file(source.x)
    if place is None:
        return None
    return MappedSource.opened(*place, x.dtype.str, x.shape, source.name, source.largest)
