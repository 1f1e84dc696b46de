"""What users hand over as X, checked once and packed batch by batch.

Any real 2-D array is taken as it lies in memory (read-only, strided, uint8)
and any SciPy CSR as its three arrays: nothing is ever converted as a whole,
except where the core does not know the type at all (float16, uint32, int64
column indices).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import describe, detached, position, refuse_iterables
from rewire._moments import (
    EPS,
    HIGHEST,
    LOWEST,
    MOST,
    Extremes,
    Moments,
    balanced,
    deviations,
    levels,
    quiet,
    shifted,
    within,
)  # fmt: skip
from rewire._warn import warn

__all__ = [
    "CsrSource", "DenseSource", "Source", "as_source", "is_lazy", "numbers_of", "packable", "say_size",
    "say_whole",
]  # fmt: skip

_BLOCK = 1 << 20  # values looked at together: temporaries stay in the cache
_NONE = np.empty(0, np.int64)
# Who has one of these is an array in memory, or makes one of itself.
_PRESENT = ("__array_interface__", "__dlpack__", "__dataframe__", "tocsr", "iloc")
_LARGE = 64 << 20  # bytes from which on it is said that an array is read as a whole
PACKED = ("f4", "f8", "u1", "i1", "u2", "i2", "i4", "i8", "b1")  # what tiles are filled from as it is


def _weighed(x: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted sum over rows, in NumPy's own order: that of BLAS would depend on its threads."""
    return np.einsum("i,ij->j", weight, x)


class _Sums(NamedTuple):
    """Of some columns: sum of weights, weighted means and weighted sums of squared deviations.

    ``extremes`` are there where all values count alike: they come by the way then.
    """

    total: float
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]
    extremes: Extremes | None = None


class Source:
    """Base of both kinds: rows of real numbers."""

    name = "X"
    n_samples: int
    n_features: int
    largest: float  # no |x| is larger

    def check_finite(self) -> None:
        """ValueError naming row and column of the first NaN or infinity."""
        raise NotImplementedError

    def rows(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """These rows as an array."""
        raise NotImplementedError

    def pack(
        self,
        tiles: _core.Tiles,
        rows: NDArray[np.int64],
        mean: NDArray[np.float64] | None,
        scale: NDArray[np.float64] | None,
        threads: int,
    ) -> None:
        """Put ``rows`` into ``tiles``, standardised."""
        raise NotImplementedError

    def moments(self, weight: NDArray[np.float64] | None = None) -> Moments:
        """Mean and deviation of each feature; ``weight`` is at least 0 and not all 0."""
        return self._moments(weight)[0]

    def extremes(self, weight: NDArray[np.float64] | None = None) -> Extremes:
        """The least and the largest value of each feature, in rows that have weight."""
        raise NotImplementedError

    def seen(self, weight: NDArray[np.float64] | None = None) -> tuple[Moments, Extremes]:
        """Both, for little more than one of them."""
        moments, extremes = self._moments(weight)
        return moments, self.extremes(weight) if extremes is None else extremes

    def _moments(self, weight: NDArray[np.float64] | None) -> tuple[Moments, Extremes | None]:
        """The moments, and the extremes if they come by the way."""
        with quiet():
            near, level = balanced(weight)
            rows = self.n_samples
            total, mean, m2, extremes = self._sums(None, None, near)
            exponent: NDArray[np.int64] | None = None
            doubtful = _NONE
            if not within(m2, LOWEST, HIGHEST):
                doubtful = np.flatnonzero(~((m2 >= LOWEST) & (m2 <= HIGHEST)))
            if doubtful.size:  # squares may have overflowed or vanished; or the feature never varies
                found = levels(self._largest(doubtful, near))
                if found.any():
                    exponent = np.zeros(self.n_features, np.int64)
                    far, exponent[doubtful] = doubtful[found != 0], found
                    again = self._sums(far, exponent[far], near)
                    mean[far], m2[far] = again.mean, again.m2
            # What never varies keeps rounding noise as its deviation; dividing by that makes it huge.
            deviation, varies = _core.deviations(mean, m2, total, rows * EPS)
            if exponent is not None:
                mean, deviation = shifted(mean, exponent), deviations(deviation, exponent)
                varies = bool(deviation.all())
            if not varies:  # a mean keeps the rounding of its sum, which nothing divides: it may be huge
                still = np.flatnonzero(deviation == 0)
                mean[still] = self._first(still, near)
            count = min(float(np.ldexp(total, level)), MOST) if level else total
            return Moments(count, mean, deviation, rows), extremes

    def _sums(
        self,
        columns: NDArray[np.int64] | None,
        exponent: NDArray[np.int64] | None,
        weight: NDArray[np.float64] | None,
    ) -> _Sums:
        """Over all columns, or over some of them, brought near 1 by ``exponent``."""
        raise NotImplementedError

    def _largest(self, columns: NDArray[np.int64], weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """The largest magnitude of each of these columns, in rows that have weight."""
        raise NotImplementedError

    def _first(self, columns: NDArray[np.int64], weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """A value of each of these columns, out of the first row that has most weight."""
        at = 0 if weight is None else int(np.argmax(weight))
        return self.rows(np.array([at]))[0, columns] + 0.0  # -0.0 is 0.0, as in a sum


class DenseSource(Source):
    """Rows of an array (m, n)."""

    def __init__(self, x: NDArray[Any], name: str = "X") -> None:
        self.x, self.name = x, name
        self.n_samples, self.n_features = x.shape

    def step(self) -> int:
        """Rows of a block: about a million values."""
        return max(1, _BLOCK // max(1, self.n_features))

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """First row and a view of the rows, a block at a time."""
        step = self.step()
        for start in range(0, self.n_samples, step):
            yield start, self.x[start : start + step]

    def check_finite(self) -> None:
        if self.x.dtype.kind != "f":
            # Of integers the range of their type will do: nothing has to be read.
            self.largest = 1.0 if self.x.dtype.kind == "b" else float(np.iinfo(self.x.dtype).max) + 1.0
            return
        self.largest = 0.0
        for start, block in self.blocks():
            extreme = _core.largest(block.ravel("K"))
            if not extreme < math.inf:
                finite = np.isfinite(block)
                row, column = divmod(int(np.argmin(finite)), self.n_features)
                where = f"row {self.number(start + row)}, column {column}"
                raise ValueError(f"{self.name} must be finite, got {block[row, column]} in {where}")
            self.largest = max(self.largest, extreme)

    def number(self, row: int) -> int:
        """What whoever gave X calls this row."""
        return row

    def rows(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.x[rows].astype(np.float64)

    def _moments(self, weight: NDArray[np.float64] | None) -> tuple[Moments, Extremes | None]:
        rows = self.n_samples
        if weight is None and 0 < rows <= self.step():
            ((_, block),) = self.blocks()  # not the array: of one in a file only some rows may count
            found = _core.block_moments(np.ascontiguousarray(block, np.float64), rows * EPS, LOWEST, HIGHEST)
            if found is not None:
                _, mean, deviation, low, high = found
                return Moments(float(rows), mean, deviation, rows), Extremes(low, high)
        return super()._moments(weight)

    def _sums(
        self,
        columns: NDArray[np.int64] | None,
        exponent: NDArray[np.int64] | None,
        weight: NDArray[np.float64] | None,
    ) -> _Sums:
        # Blocks are merged as in Chan, Golub, LeVeque (1983).
        n = self.n_features if columns is None else len(columns)
        mean, m2, total = np.zeros(n), np.zeros(n), 0.0
        extremes: Extremes | None = None
        for start, block in self.blocks():
            w = None if weight is None else weight[start : start + len(block)]
            if columns is None or exponent is None:
                x = np.ascontiguousarray(block, np.float64)  # sums in the same order whatever the layout
            else:
                x = np.ascontiguousarray(block[:, columns], np.float64)
                if w is not None:  # what has no weight may overflow, and 0 times that is no number
                    x, w = x[w > 0], w[w > 0]
                x = np.ldexp(x, -exponent)
            amount = float(len(x) if w is None else w.sum())
            if amount == 0.0:
                continue
            if w is None:
                _, delta, squares, *ends = _core.column_sums(x)
                one = Extremes(*ends)
                extremes = one if extremes is None else extremes.merged(one)
            else:
                delta = _weighed(x, w) / amount
                squares = _weighed(np.square(x - delta), w)
            if total == 0.0:
                mean, m2, total = delta, squares, amount
                continue
            m2 += squares
            delta -= mean
            m2 += delta * delta * (total * amount / (total + amount))
            total += amount
            mean += delta * (amount / total)
        return _Sums(total, mean, m2, extremes)

    def extremes(self, weight: NDArray[np.float64] | None = None) -> Extremes:
        found: Extremes | None = None
        for start, block in self.blocks():
            x = block if weight is None else block[weight[start : start + len(block)] > 0]
            if len(x):
                sides = (bound.reduce(x, axis=0) for bound in (np.minimum, np.maximum))
                one = Extremes(*(side.astype(np.float64, copy=False) for side in sides))
                found = one if found is None else found.merged(one)
        assert found is not None  # some row has weight
        return found

    def _largest(self, columns: NDArray[np.int64], weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
        found = np.zeros(len(columns))
        for start, block in self.blocks():
            x = block[:, columns]
            if weight is not None:
                x = x[weight[start : start + len(block)] > 0]
            np.maximum(found, np.abs(x.astype(np.float64)).max(axis=0, initial=0.0), out=found)
        return found

    def pack(
        self,
        tiles: _core.Tiles,
        rows: NDArray[np.int64],
        mean: NDArray[np.float64] | None,
        scale: NDArray[np.float64] | None,
        threads: int,
    ) -> None:
        tiles.pack(self.x, rows, mean, scale, threads)


class CsrSource(Source):
    """Rows of a SciPy CSR matrix or array that is valid, as (indptr, columns, values)."""

    def __init__(self, shape: tuple[int, int], indptr: Any, columns: Any, values: Any, name: str) -> None:
        self.n_samples, self.n_features, self.name = *shape, name
        self.indptr = np.ascontiguousarray(indptr, dtype=np.int64)
        stored = int(self.indptr[-1])
        columns, values = np.asarray(columns)[:stored], np.asarray(values)[:stored]  # SciPy may have more
        self.columns = np.ascontiguousarray(columns, dtype=np.int32)
        self.longest = int(np.diff(self.indptr).max(initial=0))  # stored values of a row, at most
        single = values.dtype.kind == "f" and values.dtype.itemsize <= 4
        with quiet():  # a long double may be out of range, and is refused by name
            self.values = np.ascontiguousarray(values, dtype=np.float32 if single else np.float64)

    def check_finite(self) -> None:
        self.largest = 0.0
        for start in range(0, len(self.values), _BLOCK):
            block = self.values[start : start + _BLOCK]
            extreme = _core.largest(block)
            if not extreme < math.inf:
                at = start + int(np.argmin(np.isfinite(block)))
                row = int(np.searchsorted(self.indptr, at, side="right")) - 1
                where = f"row {row}, column {self.columns[at]}"
                raise ValueError(f"{self.name} must be finite, got {self.values[at]} in {where}")
            self.largest = max(self.largest, extreme)

    def rows(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        found = np.zeros((len(rows), self.n_features))
        for i, row in enumerate(rows):
            entries = slice(self.indptr[row], self.indptr[row + 1])
            found[i, self.columns[entries]] = self.values[entries]
        return found

    def _entries(self, columns: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the stored values of these columns are, and which of the columns each belongs to."""
        number = np.full(self.n_features, -1)
        number[columns] = np.arange(len(columns))
        at = np.flatnonzero(number[self.columns] >= 0)
        return at, number[self.columns[at]]

    def _sums(
        self,
        chosen: NDArray[np.int64] | None,
        exponent: NDArray[np.int64] | None,
        weight: NDArray[np.float64] | None,
    ) -> _Sums:
        # Zeros that are not stored are counted. No column stands twice in a row.
        columns, values, n = self.columns, self.values.astype(np.float64, copy=False), self.n_features
        if chosen is None and weight is None:
            _, mean, m2, *ends = _core.entry_sums(columns, values, self.n_samples, n)
            return _Sums(float(self.n_samples), mean, m2, Extremes(*ends))
        w = np.repeat(np.ones(self.n_samples) if weight is None else weight, np.diff(self.indptr))
        total = float(self.n_samples if weight is None else weight.sum())
        which: NDArray[Any] = columns
        if chosen is not None and exponent is not None:
            at, which = self._entries(chosen)
            at, which = at[w[at] > 0], which[w[at] > 0]
            values, w, n = np.ldexp(values[at], -exponent[which]), w[at], len(chosen)
        mean = np.bincount(which, weights=w * values, minlength=n) / total
        stored = np.bincount(which, weights=w, minlength=n)
        m2 = np.bincount(which, weights=w * (values - mean[which]) ** 2, minlength=n)
        return _Sums(total, mean, m2 + (total - stored) * mean**2)

    def extremes(self, weight: NDArray[np.float64] | None = None) -> Extremes:
        columns, values, rows = self.columns, self.values.astype(np.float64, copy=False), self.n_samples
        if weight is not None:
            counted = np.repeat(weight > 0, np.diff(self.indptr))
            columns, values, rows = columns[counted], values[counted], int(np.count_nonzero(weight))
        # Where a column is not stored in every row there is a zero, too.
        full = np.bincount(columns, minlength=self.n_features) == rows
        low, high = np.where(full, math.inf, 0.0), np.where(full, -math.inf, 0.0)
        np.minimum.at(low, columns, values)
        np.maximum.at(high, columns, values)
        return Extremes(low, high)

    def _largest(self, columns: NDArray[np.int64], weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
        at, which = self._entries(columns)
        values = np.abs(self.values[at].astype(np.float64))
        if weight is not None:
            values[np.repeat(weight, np.diff(self.indptr))[at] == 0] = 0.0
        found = np.zeros(len(columns))
        np.maximum.at(found, which, values)
        return found

    def pack(
        self,
        tiles: _core.Tiles,
        rows: NDArray[np.int64],
        mean: NDArray[np.float64] | None,
        scale: NDArray[np.float64] | None,
        threads: int,
    ) -> None:
        tiles.pack_csr(self.indptr, self.columns, self.values, rows, mean, scale, threads)

    def load(
        self,
        few: _core.SparseInputs,
        rows: NDArray[np.int64],
        scale: NDArray[np.float64] | None,
        shift: NDArray[np.float64] | None,
        zero: NDArray[Any] | None,
        whole: NDArray[np.int32] | None,
        threads: int,
    ) -> None:
        """Put ``rows`` into ``few``, standardised: see `Standardizer.folded`."""
        few.load(
            self.indptr, self.columns, self.values, np.ascontiguousarray(rows), shift=shift, scale=scale,
            zero=zero, whole=whole, threads=threads,
        )  # fmt: skip


def _is_scipy_sparse(x: Any) -> bool:
    return hasattr(x, "tocsr") and hasattr(x, "shape")


def _check_csr(shape: tuple[int, int], indptr: Any, columns: Any, values: Any, name: str) -> None:
    """ValueError unless these are a matrix: SciPy reads and writes where they say, in memory or not."""
    must = f"{name} must be a valid CSR matrix"
    if len(indptr) != shape[0] + 1 or indptr[0] != 0 or np.any(indptr[1:] < indptr[:-1]):
        raise ValueError(f"{must}, got an indptr that does not ascend from 0")
    stored = int(indptr[-1])
    if stored > len(columns) or stored > len(values):
        raise ValueError(f"{must}, got fewer values than indptr tells")
    least, most = (bound(columns[:stored], initial=0) for bound in (np.min, np.max))
    if least < 0 or most >= max(1, shape[1]):
        raise ValueError(f"{name} must have columns in [0, {shape[1]}), got {least if least < 0 else most}")


def _from_scipy(x: Any, name: str) -> CsrSource:
    if len(x.shape) != 2:
        raise ValueError(f"{name} must be 2-D (samples, features), got shape {x.shape}")
    x = x.tocsr()
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {x.dtype}")
    _check_csr(x.shape, x.indptr, x.indices, x.data, name)
    if not x.has_canonical_format:  # a column twice in a row means their sum; moments count stored values
        x = x.copy()
        x.sum_duplicates()
    return CsrSource(x.shape, x.indptr, x.indices, x.data, name)


def is_lazy(x: Any) -> bool:
    """Whether it has a shape and slices, and is no array in memory: one of h5py, zarr, dask and the like."""
    shape = getattr(x, "shape", None)
    if not isinstance(shape, tuple) or not shape or not hasattr(type(x), "__getitem__"):
        return False
    if not isinstance(shape[0], (int, float, np.number)):
        return True  # what nobody has computed yet, as of a table of dask
    return not any(hasattr(x, name) for name in _PRESENT)


def say_whole(x: Any, name: str) -> None:
    """Warn that something large is about to be in memory as a whole."""
    itemsize = getattr(getattr(x, "dtype", None), "itemsize", 8)
    if not all(isinstance(n, (int, float, np.number)) for n in x.shape):
        return
    with contextlib.suppress(TypeError, ValueError):  # of an unknown shape
        say_size(
            f"{name}, {type(x).__module__}.{type(x).__name__} of shape {x.shape},",
            math.prod(x.shape) * itemsize,
            "Trainer.fit and evaluate, and predict of a network, read it in pieces",
        )


def say_size(what: str, size: int, cure: str) -> None:
    """Warn that so many bytes are about to be in memory, if they are many; ``cure`` says what else helps."""
    if size > _LARGE:
        warn(f"{what} is read into memory as a whole here, {size >> 20:,} MiB; {cure}", UserWarning)


def numbers_of(a: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Objects as float64; TypeError where they are no real numbers, ValueError where one is too large."""
    try:
        with quiet():
            return a.astype(np.float64)
    except OverflowError:  # an integer of Python's

        def beyond(value: Any) -> bool:
            try:
                return not math.isfinite(value)
            except OverflowError:
                return True

        at = next(i for i in np.ndindex(a.shape) if beyond(a[i]))
        raise ValueError(f"{name} must be finite in float64, got a larger number {position(at)}") from None
    except (TypeError, ValueError) as error:

        def strange(value: Any) -> bool:
            try:
                float(value)
            except OverflowError:
                return False
            except (TypeError, ValueError):
                return True
            return False

        at = next((i for i in np.ndindex(a.shape) if strange(a[i])), ())
        where = f" {position(at)}" if at else ""
        raise TypeError(f"{name} must hold real numbers, got dtype object: {error}{where}") from None


def _from_array(x: Any, name: str) -> DenseSource:
    if type(x) is np.ndarray and x.ndim == 2 and x.dtype.isnative and x.dtype.str[1:] in PACKED:
        return DenseSource(x, name)
    refuse_iterables(name, x)
    if is_lazy(x):
        say_whole(x, name)
    try:
        a = np.asarray(detached(x, name))
    except ValueError as error:
        raise TypeError(f"{name} must be a 2-D array of real numbers: {error}") from None
    if a.dtype == object:
        a = numbers_of(a, name)
    if a.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {a.dtype}")
    if a.ndim != 2:
        hint = f"; {name.partition(' of ')[0]}.reshape(1, -1) is one sample" if a.ndim == 1 else ""
        raise ValueError(f"{name} must be 2-D (samples, features), got shape {a.shape}{hint}")
    return DenseSource(packable(a), name)


def packable(a: NDArray[Any]) -> NDArray[Any]:
    """Numbers in a type that the core knows: the array itself where it is of one."""
    if a.dtype.str[1:] in PACKED and a.dtype.isnative:
        return a
    wide = {"f2": "f4", "u4": "i8", "u8": "f8"}.get(a.dtype.str[1:], a.dtype.str[1:])
    with quiet():
        return a.astype(wide if wide in PACKED else "f8")


def as_source(x: Any, n_features: int | None, name: str = "X", *, n_samples: int | None = None) -> Source:
    """Check X and wrap it.

    Parameters
    ----------
    x : array-like or SciPy sparse, shape (m, n_features), or Source
        Real numbers, finite. Any strides, read-only too. A source has been checked.
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
    if isinstance(x, Source):
        source = x
    else:
        source = _from_scipy(x, name) if _is_scipy_sparse(x) else _from_array(x, name)
    shape = (source.n_samples, source.n_features)
    if n_features is not None and source.n_features != n_features:
        raise ValueError(f"{name} must have {n_features} features, got shape {shape}")
    if source.n_samples < 1:
        raise ValueError(f"{name} must have at least one row, got shape {shape}")
    if n_samples is not None and source.n_samples != n_samples:
        raise ValueError(f"{name} must have {n_samples} rows, got shape {shape}")
    if source is not x:
        source.check_finite()
    return source
