"""What users hand over as X, checked once and packed batch by batch.

Any real 2-D array is taken as it lies in memory (read-only, strided, uint8)
and any SciPy CSR as its three arrays: nothing is ever converted as a whole,
except where the core does not know the type at all (float16, uint32, int64
column indices).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import describe, detached, refuse_iterables

__all__ = ["CsrSource", "DenseSource", "as_source"]

_BLOCK = 1 << 20  # values looked at together: temporaries stay in the cache
_PACKED = ("f4", "f8", "u1", "i1", "u2", "i2", "i4", "i8", "b1")


def _sum_rows(x: NDArray[np.float64], weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """The (weighted) sum over rows, in NumPy's own order: that of BLAS would depend on its threads."""
    return x.sum(axis=0) if weight is None else np.einsum("i,ij->j", weight, x)


class DenseSource:
    """Rows of an array (m, n)."""

    def __init__(self, x: NDArray[Any]) -> None:
        self.x = x
        self.n_samples, self.n_features = x.shape

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """First row and a view of the rows, about a million values at a time."""
        step = max(1, _BLOCK // max(1, self.n_features))
        for start in range(0, self.n_samples, step):
            yield start, self.x[start : start + step]

    def check_finite(self, name: str) -> None:
        """ValueError naming row and column of the first NaN or infinity."""
        if self.x.dtype.kind != "f":
            return
        for start, block in self.blocks():
            finite = np.isfinite(block)
            if not finite.all():
                row, column = divmod(int(np.argmin(finite)), self.n_features)
                raise ValueError(
                    f"{name} must be finite, got {block[row, column]} in row {start + row}, column {column}"
                )

    def moments(
        self, weight: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and variance of each feature, blocks merged as in Chan, Golub, LeVeque (1983)."""
        mean = np.zeros(self.n_features)
        m2 = np.zeros(self.n_features)
        total = 0.0
        for start, block in self.blocks():
            x = block.astype(np.float64, order="C")  # sums in the same order whatever the layout
            w = None if weight is None else weight[start : start + len(x)]
            amount = float(len(x) if w is None else w.sum())
            if amount == 0.0:
                continue
            delta = _sum_rows(x, w) / amount
            x -= delta
            m2 += _sum_rows(np.square(x, out=x), w)
            delta -= mean
            m2 += delta * delta * (total * amount / (total + amount))
            total += amount
            mean += delta * (amount / total)
        return mean, m2 / total

    def pack(
        self,
        tiles: _core.Tiles,
        rows: NDArray[np.int64],
        mean: NDArray[np.float64] | None,
        scale: NDArray[np.float64] | None,
        threads: int,
    ) -> None:
        """Put ``rows`` into ``tiles``, standardised."""
        tiles.pack(self.x, rows, mean, scale, threads)


class CsrSource:
    """Rows of a SciPy CSR matrix or array, as (indptr, columns, values)."""

    def __init__(self, shape: tuple[int, int], indptr: Any, columns: Any, values: Any, name: str) -> None:
        self.n_samples, self.n_features = shape
        self.indptr = np.ascontiguousarray(indptr, dtype=np.int64)
        columns = np.asarray(columns)
        if len(self.indptr) != self.n_samples + 1 or self.indptr[0] != 0 or np.any(np.diff(self.indptr) < 0):
            raise ValueError(f"{name} must be a valid CSR matrix, got an indptr that does not ascend from 0")
        stored = int(self.indptr[-1])
        if stored > len(columns) or stored > len(values):
            raise ValueError(f"{name} must be a valid CSR matrix, got fewer values than indptr tells")
        columns, values = columns[:stored], np.asarray(values)[:stored]  # SciPy may have room for more
        if stored and (columns.min() < 0 or columns.max() >= self.n_features):
            bad = int(columns.min() if columns.min() < 0 else columns.max())
            raise ValueError(f"{name} must have columns in [0, {self.n_features}), got {bad}")
        self.columns = np.ascontiguousarray(columns, dtype=np.int32)
        single = values.dtype.kind == "f" and values.dtype.itemsize <= 4
        self.values = np.ascontiguousarray(values, dtype=np.float32 if single else np.float64)

    def check_finite(self, name: str) -> None:
        """ValueError naming row and column of the first NaN or infinity."""
        for start in range(0, len(self.values), _BLOCK):
            finite = np.isfinite(self.values[start : start + _BLOCK])
            if not finite.all():
                at = start + int(np.argmin(finite))
                row = int(np.searchsorted(self.indptr, at, side="right")) - 1
                raise ValueError(
                    f"{name} must be finite, got {self.values[at]} in row {row}, column {self.columns[at]}"
                )

    def moments(
        self, weight: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and variance of each feature, zeros that are not stored included. No column twice in a row."""
        columns, values, n = self.columns, self.values.astype(np.float64, copy=False), self.n_features
        w = np.repeat(np.ones(self.n_samples) if weight is None else weight, np.diff(self.indptr))
        total = float(self.n_samples if weight is None else weight.sum())
        mean = np.bincount(columns, weights=w * values, minlength=n) / total
        stored = np.bincount(columns, weights=w, minlength=n)
        m2 = np.bincount(columns, weights=w * (values - mean[columns]) ** 2, minlength=n)
        return mean, (m2 + (total - stored) * mean**2) / total

    def pack(
        self,
        tiles: _core.Tiles,
        rows: NDArray[np.int64],
        mean: NDArray[np.float64] | None,
        scale: NDArray[np.float64] | None,
        threads: int,
    ) -> None:
        """Put ``rows`` into ``tiles``, standardised."""
        tiles.pack_csr(self.indptr, self.columns, self.values, rows, mean, scale, threads)


Source = DenseSource | CsrSource


def _is_scipy_sparse(x: Any) -> bool:
    return hasattr(x, "tocsr") and hasattr(x, "shape")


def _from_scipy(x: Any, name: str) -> CsrSource:
    if len(x.shape) != 2:
        raise ValueError(f"{name} must be 2-D (samples, features), got shape {x.shape}")
    x = x.tocsr()
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {x.dtype}")
    if not x.has_canonical_format:  # a column twice in a row means their sum; moments count stored values
        x = x.copy()
        x.sum_duplicates()
    return CsrSource(x.shape, x.indptr, x.indices, x.data, name)


def _from_array(x: Any, name: str) -> DenseSource:
    refuse_iterables(name, x)
    try:
        a = np.asarray(detached(x))
    except ValueError as error:
        raise TypeError(f"{name} must be a 2-D array of real numbers: {error}") from None
    if a.dtype == object:
        try:
            a = a.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name} must hold real numbers, got dtype object: {error}") from None
    if a.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {a.dtype}")
    if a.ndim != 2:
        hint = f"; {name}.reshape(1, -1) is one sample" if a.ndim == 1 else ""
        raise ValueError(f"{name} must be 2-D (samples, features), got shape {a.shape}{hint}")
    if a.dtype.str[1:] not in _PACKED or not a.dtype.isnative:
        wide = {"f2": "f4", "u4": "i8", "u8": "f8"}.get(a.dtype.str[1:], a.dtype.str[1:])
        a = a.astype(wide if wide in _PACKED else "f8")
    return DenseSource(a)


def as_source(x: Any, n_features: int | None, name: str = "X", *, n_samples: int | None = None) -> Source:
    """Check X and wrap it.

    Parameters
    ----------
    x : array-like or SciPy sparse, shape (m, n_features)
        Real numbers, finite. Any strides, read-only too.
    n_features : int or None
        What the network takes; None takes all.
    name : str
        What the argument is called in an error.
    n_samples : int, optional
        Rows that are wanted.

    Raises
    ------
    TypeError
        If it does not hold real numbers.
    ValueError
        For another rank or shape, no rows, or a value that is not finite (row and column are named).
    """
    if x is None:
        raise TypeError(f"{name} must be a 2-D array of real numbers, got {describe(x)}")
    source: Source = _from_scipy(x, name) if _is_scipy_sparse(x) else _from_array(x, name)
    shape = (source.n_samples, source.n_features)
    if n_features is not None and source.n_features != n_features:
        raise ValueError(f"{name} must have {n_features} features, got shape {shape}")
    if source.n_samples < 1:
        raise ValueError(f"{name} must have at least one row, got shape {shape}")
    if n_samples is not None and source.n_samples != n_samples:
        raise ValueError(f"{name} must have {n_samples} rows, got shape {shape}")
    source.check_finite(name)
    return source
