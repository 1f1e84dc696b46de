"""Samples that lie in a file: workers map it as well, so that it is nowhere read into memory as a whole."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._inputs import DenseSource

__all__ = ["MappedSource", "mapped"]

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


def mapped(source: DenseSource) -> MappedSource | None:
    """What can be mapped by others, too: contiguous rows of a `numpy.memmap`; None for all else.

    A file that has been replaced since, or whose changes are this process's alone, cannot be.
    """
    x, file = source.x, None
    root: Any = x
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
    said = str(file.filename), offset, x.dtype.str, x.shape, source.name, source.largest
    try:
        found = MappedSource.opened(*said)
    except (OSError, ValueError):  # it is gone, or shorter
        return None
    rows = np.linspace(0, len(x) - 1, _LOOKED_AT).astype(np.int64)
    return found if np.array_equal(found.x[rows], x[rows]) else None
