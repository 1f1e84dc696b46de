"""Samples that lie in a file that is mapped: where, so that others can map it, or read it in pieces.

Who reads pieces of it maps each of them anew: pages of the map that came from outside stay in memory as long
as the system likes, and count for the process.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._inputs import DenseSource, packable

__all__ = [
    "MappedSource", "bytes_of_row", "is_mapped", "mapped", "mapped_array", "mapped_rows", "mapped_source",
    "place_in_file",
]  # fmt: skip

_SPAN = 16 << 20  # bytes of a map that may be in memory before they are given back
_AROUND = 64 << 10  # what comes with a row, on Linux
_FEW = 8  # times as wide as what is chosen of its rows a file may be
_LOOKED_AT = 16  # rows that tell whether the file is still the one that is mapped here


class MappedSource(DenseSource):
    """Rows of an array in a file, in a map of its own, which a pickle tells the place of.

    Parameters
    ----------
    path, offset, dtype, shape, strides, name
        Where the array is, as :func:`mapped_array` takes it, and how it is called in errors.
    rows : ndarray of int64, optional
        Those that count, in this order: all, by default.
    """

    def __init__(
        self, path: str, offset: int, dtype: str, shape: tuple[int, int], strides: tuple[int, ...], name: str,
        rows: NDArray[np.int64] | None = None, largest: float = 0.0,
    ) -> None:  # fmt: skip
        there = mapped_array(path, offset, dtype, shape, strides)
        super().__init__(there, name)
        self.path, self.offset, self.chosen, self.largest = path, offset, rows, largest
        self._map, self._seen, self._row = _root(there), 0, bytes_of_row(there)
        if rows is not None:
            self.n_samples = len(rows)
        self.shape, self.dtype = (self.n_samples, self.n_features), self.x.dtype

    def __reduce__(self) -> tuple[Any, ...]:
        x = self.x
        return MappedSource, (
            self.path, self.offset, x.dtype.str, x.shape, x.strides, self.name, self.chosen, self.largest,
        )  # fmt: skip

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        if self.chosen is None:
            for start, block in super().blocks():
                yield start, packable(block)
                self._looked_at(len(block) * self._row)
            return
        step = self.step()
        for start in range(0, self.n_samples, step):
            yield start, self._of(np.arange(start, min(start + step, self.n_samples)))

    def step(self) -> int:
        return max(1, min(super().step(), _SPAN // self._row))

    def number(self, row: int) -> int:
        return row if self.chosen is None else int(self.chosen[row])

    def rows(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._of(rows).astype(np.float64)

    def pack(
        self, tiles: _core.Tiles, rows: NDArray[np.int64], mean: NDArray[np.float64] | None,
        scale: NDArray[np.float64] | None, threads: int,
    ) -> None:  # fmt: skip
        tiles.pack(self._of(rows), np.arange(len(rows)), mean, scale, threads)

    def _of(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """These rows, copied."""
        found = packable(self.x[rows if self.chosen is None else self.chosen[rows]])
        self._looked_at(len(rows) * max(self._row, _AROUND))
        return found

    def _looked_at(self, size: int) -> None:
        """So many bytes of the map have come into memory; give them back now and then."""
        self._seen += size
        if self._seen > _SPAN and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._seen = 0


def bytes_of_row(x: NDArray[Any]) -> int:
    """What comes into memory of a file for each row of an array there, with what lies between columns."""
    extent = x.dtype.itemsize + sum((n - 1) * by for n, by in zip(x.shape[1:], x.strides[1:], strict=True))
    return max(1, extent, min(x.strides[0], extent + _AROUND))


def is_mapped(x: Any) -> bool:
    """Whether an array lies in a file that is mapped; copies of it are of its class, and do not."""
    return isinstance(_root(x), mmap.mmap) and _opened(x) is not None


def _root(x: Any) -> Any:
    """What holds the memory of an array."""
    while isinstance(x, np.ndarray):
        x = x.base
    return x


def _opened(x: Any) -> np.memmap[Any, Any] | None:
    """The array that has made the map in which ``x`` lies."""
    file = None
    while isinstance(x, np.ndarray):
        file, x = x if isinstance(x, np.memmap) else file, x.base
    return file


def mapped_array(
    path: str, offset: int, dtype: str | np.dtype[Any], shape: tuple[int, ...], strides: tuple[int, ...]
) -> NDArray[Any]:
    """An array in a file, in a map of its own that has nothing behind its last number."""
    kind = np.dtype(dtype)
    items = 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) // kind.itemsize
    there = np.memmap(path, kind, "r", offset, (items,))
    return np.ndarray(shape, kind, there, 0, strides)


def _is_row_major(x: NDArray[Any]) -> bool:
    """Whether rows lie one behind the other in a file, maybe with others or other columns between."""
    extent = x.dtype.itemsize
    for n, stride in zip(x.shape[::-1], x.strides[::-1], strict=True):
        if n > 1 and (stride < extent or stride % x.dtype.itemsize):
            return False
        extent += (n - 1) * stride
    return True


def place_in_file(x: Any) -> tuple[str, int] | None:
    """Path and offset of a `numpy.memmap`, or of rows and columns of one; None for all else.

    A file that has been replaced since, or whose changes are this process's alone, is no such place, and nor
    is what does not go through it from its beginning to its end, as an array by columns.
    """
    root, file = _root(x), _opened(x)
    if file is None or not isinstance(root, mmap.mmap) or file.filename is None or file.mode == "c":
        return None
    if not x.size or not _is_row_major(x):
        return None
    begins = file.offset - file.offset % mmap.ALLOCATIONGRANULARITY  # of the map, in the file
    offset = begins + x.ctypes.data - np.frombuffer(root, np.uint8).ctypes.data
    path = str(file.filename)
    try:
        found = mapped_array(path, offset, x.dtype, x.shape, x.strides)
    except (OSError, ValueError):  # it is gone, or shorter
        return None
    rows = np.linspace(0, len(x) - 1, _LOOKED_AT).astype(np.int64)
    return (path, offset) if np.array_equal(found[rows], x[rows], equal_nan=x.dtype.kind == "f") else None


def mapped_rows(x: NDArray[Any], place: tuple[str, int], a: int, b: int) -> NDArray[Any]:
    """Rows [a, b) of an array at a place in a file, in a map of their own, which ends with them."""
    path, offset = place
    return mapped_array(path, offset + a * x.strides[0], x.dtype, (b - a, *x.shape[1:]), x.strides)


def mapped(source: DenseSource) -> MappedSource | None:
    """What can be mapped by others, too: see :func:`place_in_file`.

    Not a few columns of many, which a copy holds in less memory than pages of the file take.
    """
    if isinstance(source, MappedSource):
        return source
    if (row := source.x[:1].nbytes) < mmap.PAGESIZE and _FEW * row < source.x.strides[0]:
        return None
    found = mapped_source(source.x, source.name)
    if found is not None:
        found.largest = source.largest
    return found


def mapped_source(x: NDArray[Any], name: str, rows: NDArray[np.int64] | None = None) -> MappedSource | None:
    """A matrix in a file, or some of its rows, which nobody has checked; None where it has no place."""
    place = place_in_file(x)
    return None if place is None else MappedSource(*place, x.dtype.str, x.shape, x.strides, name, rows)
