"""Anything with a shape and slices: arrays that are mapped, and those of h5py, zarr, dask and the like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._checks import detached
from rewire._inputs import is_lazy
from rewire._mapped import bytes_of_row, mapped_rows, place_in_file
from rewire.streams.pieces import Piece, Pieces

__all__ = ["Rows", "Sliced"]


_SPAN = 8 << 20  # bytes of a file that are mapped at a time for some rows of it


class Rows:
    """Some rows of an array in a mapped file, of which slices are read.

    Parameters
    ----------
    array : ndarray, shape (m, n)
    rows : ndarray of int64
        In any order.
    """

    def __init__(self, array: NDArray[Any], rows: NDArray[np.int64]) -> None:
        self.array, self.rows, self._place = array, rows, place_in_file(array)
        self.shape, self.dtype, self.ndim = (len(rows), *array.shape[1:]), array.dtype, array.ndim

    def __getitem__(self, some: slice) -> NDArray[Any]:
        rows = self.rows[some]
        if self._place is None or not len(rows):
            return self.array[rows]
        order = np.argsort(rows, kind="stable")
        rows, found = rows[order], np.empty((len(rows), *self.shape[1:]), self.dtype)
        apart, at = max(1, _SPAN // bytes_of_row(self.array)), 0
        while at < len(rows):  # no map is larger, for its pages count
            first = int(rows[at])
            end = int(np.searchsorted(rows, first + apart))
            there = mapped_rows(self.array, self._place, first, int(rows[end - 1]) + 1)
            found[order[at:end]] = there[rows[at:end] - first]
            at = end
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


class Sliced(Pieces):
    """Rows [a, b) of X, of y and of the weights, a unit each.

    Parameters
    ----------
    x : object with shape (m, n) and slices
    y, weight : object with m rows and slices, array-like or None
    which : str
        What stands before ``X`` and ``y`` in errors.
    """

    def __init__(self, x: Any, y: Any, weight: Any, which: str = "") -> None:
        self.n_samples, self.n_features = _shape(x, f"{which}X")
        self._x = _Rows(x, f"{which}X")
        self.chunk = self._x.chunk
        names = getattr(x, "columns", None)  # of a data frame
        self.columns = tuple(map(str, names)) if isinstance(names, Iterable) else None
        self._y, self._weight = _Rows(y, f"{which}y"), _Rows(weight, f"{which}sample_weight")
        for name, rows in (("y", self._y), ("sample_weight", self._weight)):
            if rows.samples not in (None, self.n_samples):
                raise ValueError(
                    f"{which}X and {which}{name} must have as many rows, got {self.n_samples} and "
                    f"{rows.samples}"
                )

    def read(self, unit: int, rows: int, epoch: int) -> Iterator[Piece]:
        rows, n = self.outline().aligned(rows), self.n_samples or 0
        a, b = unit * rows, min(n, unit * rows + rows)
        yield Piece(self._x.read(a, b), self._y.read(a, b), self._weight.read(a, b), f"[{a}:{b}]")

    def described(self) -> str:
        return f"{self._x.kind} of shape {(self.n_samples, self.n_features)}"


class _Rows:
    """Rows of one array."""

    def __init__(self, x: Any, name: str) -> None:
        self._name = name
        self.kind = f"{type(x).__module__.partition('.')[0]}.{type(x).__name__}"
        self._place = None
        x = detached(x, name)
        if hasattr(x, "tocsr"):
            x = x.tocsr()  # of all sparse kinds, not all have slices
        elif x is not None and not is_lazy(x):
            x = np.asarray(x)
            self._place = place_in_file(x)
        self._lazy = x is not None and is_lazy(x)
        self._x, self.samples = x, None if x is None or not x.shape else int(_known(x, name)[0])
        self.chunk = _chunk(x)

    def read(self, a: int, b: int) -> Any:
        """Rows [a, b), in memory."""
        if self._x is None or self.samples is None:  # who checks says what is wrong with it
            return self._x
        if self._place is None:
            found = self._x[a:b]
            if not hasattr(found, "tocsr"):
                # A class of somebody's may fill the same array with each slice.
                found = np.array(detached(found, self._name), copy=True if self._lazy else None)
            if found.ndim and found.shape[0] != b - a:
                raise ValueError(
                    f"{self._name}[{a}:{b}] must have {b - a} rows, got {found.shape[0]}: {self.kind} has "
                    "others than its shape says"
                )
            return found
        return np.array(mapped_rows(self._x, self._place, a, b))


def _shape(x: Any, name: str) -> tuple[int, int]:
    """Samples and features; an error where they are not told."""
    shape = _known(x, name)
    if len(shape) != 2:
        raise ValueError(f"{name} must be 2-D (samples, features), got shape {tuple(shape)}")
    kind = getattr(getattr(x, "dtype", None), "kind", "f")
    if kind not in "fiubO":
        raise TypeError(f"{name} must hold real numbers, got dtype {x.dtype}")
    return int(shape[0]), int(shape[1])


def _known(x: Any, name: str) -> tuple[Any, ...]:
    """Its shape; ValueError where that has no numbers yet."""
    shape: tuple[Any, ...] = tuple(x.shape)
    if not all(isinstance(n, (int, np.integer)) for n in shape):
        cure = "to_dask_array(lengths=True)" if hasattr(x, "to_dask_array") else "compute_chunk_sizes()"
        said = ", ".join(str(n) if isinstance(n, (int, float, np.number)) else "?" for n in shape)
        raise ValueError(f"{name} must have a known shape, got ({said}); {cure} of dask finds it")
    return shape


def _chunk(x: Any) -> int | None:
    """Rows that are stored, or computed, together; None where nothing is known."""
    chunks = getattr(x, "chunks", None)
    if not isinstance(chunks, tuple) or not chunks:
        return None
    first = max(chunks[0], default=0) if isinstance(chunks[0], tuple) else chunks[0]
    return int(first) if isinstance(first, (int, np.integer)) and first > 0 else None
