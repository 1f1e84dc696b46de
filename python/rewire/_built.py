"""Stores made of what others hold: sparse matrices, dense ones, lists of connections."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from rewire._checks import boolean, describe, detached, dtype_name, refuse_sparse
from rewire._core import Store
from rewire._links import check_finite, connections, slots_of, values_of

__all__ = ["FLOATS", "Built"]

FLOATS = ("float32", "float64")  # that weights can be


class Built:
    """A store that can be made in one piece."""

    __slots__ = ()
    _core: Store

    def __init__(self, *, n_out: int, n_in: int, group: int = 1, dtype: DTypeLike = "float32") -> None:
        raise NotImplementedError

    @classmethod
    def from_csr(
        cls, csr: Any, *, group: int = 1, fill: bool = False, dtype: DTypeLike | None = None
    ) -> Self:
        """A store with the connections of a SciPy sparse matrix.

        Parameters
        ----------
        csr : sparse array or matrix of any format, shape (n_out, n_in)
            Stored zeros are connections. Indices need not be sorted, but each connection comes once.
        group : {1, 2, 4, 8}, default 1
            Rows that share their inputs: the matrix must connect all rows of a group or none.
        fill : bool, default False
            Connect the missing rows of a group with weight zero instead.
        dtype : {"float32", "float64"}, optional
            Of the store. By default float64 for a matrix of that dtype, else float32, which must then hold
            integers exactly.

        Raises
        ------
        TypeError
            If ``csr`` is not sparse, or holds no real numbers.
        ValueError
            For a connection stored twice, a value that is not finite or does not fit the dtype, a group not
            connected as a whole.
        IndexError
            If the matrix itself is malformed: an index outside its shape.
        """
        if not all(hasattr(csr, name) for name in ("tocoo", "format", "shape", "dtype")):
            raise TypeError(f"csr must be a SciPy sparse matrix, got {describe(csr)}")
        if len(csr.shape) != 2:
            raise ValueError(f"csr must have two dimensions, got shape {csr.shape}")
        fill = boolean("fill", fill)
        if np.dtype(csr.dtype).kind not in "fiub":
            raise TypeError(f"csr must hold real numbers, got dtype {csr.dtype}")
        name = _dtype_of(dtype, csr)
        store = cls(n_out=csr.shape[0], n_in=csr.shape[1], group=group, dtype=name)
        if csr.format == "csr":
            rows, cols, data = _csr_arrays(csr)
        else:
            coo = csr.tocoo(copy=False)
            rows, cols, data = coo.row, coo.col, coo.data
        if dtype is None:
            _check_exact("csr", data, rows, cols)
        store._load(rows, cols, data, fill, if_twice="; csr.sum_duplicates() adds them up")
        return store

    @classmethod
    def from_arrays(
        cls,
        rows: ArrayLike,
        cols: ArrayLike,
        values: ArrayLike,
        *,
        n_out: int,
        n_in: int,
        group: int = 1,
        fill: bool = False,
        dtype: DTypeLike | None = None,
    ) -> Self:
        """A store with these connections; `to_arrays` gives them back.

        Parameters
        ----------
        rows, cols : int or array of int, shape (m,)
            Connections, in any order, each once. A single number goes with all of the others.
        values : float or array of float, shape (m,)
            Their weights, finite.
        n_out, n_in : int
        group, fill
            As for `from_csr`.
        dtype : {"float32", "float64"}, optional
            Of the store. By default that of ``values`` if that is a float64 or float32 array, else float32.

        Raises
        ------
        TypeError, ValueError, IndexError
            As in `insert`.
        """
        fill, name = boolean("fill", fill), _dtype_of(dtype, values)
        store = cls(n_out=n_out, n_in=n_in, group=group, dtype=name)
        r, c, form = connections(rows, cols, (n_out, n_in))
        store._load(r, c, values_of(values, r, c, form, name), fill)
        return store

    @classmethod
    def from_dense(
        cls, array: ArrayLike, *, group: int = 1, fill: bool = False, dtype: DTypeLike | None = None
    ) -> Self:
        """A store with the elements of a matrix that are not zero; `to_dense` gives them back.

        Parameters
        ----------
        array : array_like, shape (n_out, n_in)
            Finite real numbers.
        group, fill, dtype
            As for `from_csr`. ``fill=True`` keeps what a group has in any of its rows.

        Raises
        ------
        TypeError, ValueError
            For anything else.
        """
        refuse_sparse("array", array, "from_csr takes array.tocsr()")
        try:
            dense = np.asarray(detached(array, "array"))
        except ValueError:
            raise TypeError(f"array must be a matrix of numbers, got {describe(array)}") from None
        if dense.dtype.kind not in "fiub":
            raise TypeError(f"array must hold real numbers, got {describe(dense)}")
        if dense.ndim != 2 or 0 in dense.shape:
            raise ValueError(f"array must have two dimensions, neither of them 0, got shape {dense.shape}")
        fill, name = boolean("fill", fill), _dtype_of(dtype, array)
        store = cls(n_out=dense.shape[0], n_in=dense.shape[1], group=group, dtype=name)
        rows, cols = np.nonzero(dense)
        if dtype is None:
            _check_exact("array", dense[rows, cols], rows, cols)
        store._load(rows, cols, dense[rows, cols], fill)
        return store

    def _load(
        self, rows: NDArray[Any], cols: NDArray[Any], data: NDArray[Any], fill: bool, if_twice: str = ""
    ) -> None:
        """Fill the store, which is empty."""
        core = self._core
        shape = core.n_out, core.n_in
        rows, cols, _ = connections(rows, cols, shape)
        values = check_finite(data, rows, cols, core.dtype)
        slots = slots_of(
            rows,
            cols,
            shape,
            core.group,
            fill=fill,
            if_twice=if_twice,
            if_short="; fill=True adds the missing ones with weight zero",
        )
        indptr = np.zeros(core.n_groups + 1, np.int64)
        np.cumsum(np.bincount(slots.group, minlength=core.n_groups), out=indptr[1:])
        core.load(indptr, slots.source, slots.weights(values, core.group))


def _check_exact(name: str, values: NDArray[Any], rows: NDArray[Any], cols: NDArray[Any]) -> None:
    """ValueError for the first integer that the usual dtype would round."""
    if values.dtype.kind not in "iu":
        return
    wide = values.astype(np.float64)
    odd = (np.abs(wide) >= 2.0**53) | (wide.astype(np.float32) != wide)
    if odd.any():
        at = int(np.argmax(odd))
        raise ValueError(
            f"{name} must hold integers that float32 holds exactly, got {values[at]} for (row {rows[at]}, "
            f"col {cols[at]}): dtype= rounds them, 'float64' those from 2**53 on"
        )


def _dtype_of(dtype: DTypeLike | None, values: Any) -> str:
    """The dtype that is asked for, that of an array of floats, or the usual one."""
    if dtype is not None:
        return dtype_name("dtype", dtype, FLOATS)
    kind = getattr(values, "dtype", None)
    return "float64" if isinstance(kind, np.dtype) and kind.kind == "f" and kind.itemsize == 8 else "float32"


def _csr_arrays(csr: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Row, column and value of each stored entry, exactly as stored."""
    indptr, n = np.asarray(csr.indptr, np.int64), len(csr.indices)
    lengths = np.diff(indptr)
    if indptr.size != csr.shape[0] + 1 or indptr[0] != 0 or (lengths < 0).any() or indptr[-1] > n:
        raise ValueError("csr is malformed: its indptr does not ascend from 0 to the number of its indices")
    stored = slice(0, indptr[-1])
    return np.repeat(np.arange(csr.shape[0]), lengths), csr.indices[stored], csr.data[stored]
