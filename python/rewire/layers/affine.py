"""What a layer is near one input: a linear map, where its function is made of straight pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Affine", "compose", "diagonal", "identity"]

Vector = NDArray[np.float64]


class Affine(NamedTuple):
    """y = A x + b, which a layer is for one x, and for all others on the same pieces.

    Attributes
    ----------
    rows, cols, values : ndarray, shape (entries,)
        Of A, in any order; each place at most once.
    offset : ndarray of float64, shape (n_out,)
        b.
    pieces : ndarray of int8, shape (values,)
        On which piece of its function each value lies: 1 above the (right) knee, 0 below it, -1 left of a
        second knee. Empty for a layer without knees.
    """

    rows: NDArray[Any]
    cols: NDArray[Any]
    values: Vector
    offset: Vector
    pieces: NDArray[np.int8]

    def of(self, x: Vector) -> Vector:
        """A x + b."""
        sums = np.bincount(self.rows, self.values * x[self.cols], minlength=self.offset.size)
        found: Vector = sums + self.offset
        return found

    def matrix(self, n_in: int) -> Any:
        """A as a SciPy CSR array, shape (n_out, n_in)."""
        from scipy.sparse import csr_array

        return csr_array((self.values, (self.rows, self.cols)), shape=(self.offset.size, n_in))


NONE = np.zeros(0, np.int8)


def diagonal(slope: Vector, offset: Vector, pieces: NDArray[np.int8] = NONE) -> Affine:
    """A layer that treats every value by itself."""
    each = np.arange(slope.size)
    return Affine(each, each, slope, offset, pieces)


def identity(n: int) -> Affine:
    """A layer that changes nothing."""
    return diagonal(np.ones(n), np.zeros(n))


def compose(parts: Sequence[Affine], n_in: int) -> Affine:
    """Layers in a row as one; from the last to the first, which is cheap where there are few outputs.

    Needs SciPy.
    """
    if not parts:
        return identity(n_in)
    widths = [n_in, *(part.offset.size for part in parts)]
    whole = parts[-1].matrix(widths[-2])
    offset = parts[-1].offset.copy()
    for part, n in zip(parts[-2::-1], widths[-3::-1], strict=True):
        offset += whole @ part.offset
        whole = whole @ part.matrix(n)
    found = whole.tocoo()
    pieces = np.concatenate([part.pieces for part in parts])
    return Affine(found.row, found.col, found.data, offset, pieces)
