"""Products with a store: vectors and matrices as SciPy has them, samples in rows as networks have them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire import _core
from rewire._checks import describe, detached, refuse_sparse
from rewire._core import Store, Tiles
from rewire._inputs import PACKED, CsrSource, as_source
from rewire._links import fitting
from rewire._no_array import NoArray, refuse
from rewire.threads import resolve, settings

__all__ = ["Products"]

ONE_THREAD = 100_000  # multiply-adds below which the core uses no second thread

_answers: dict[tuple[object, ...], int] = {}  # of `resolve`, which asks the system each time


def threads_for(threads: int | None, work: int) -> int:
    """The number of threads for so many multiply-adds."""
    if threads is not None:
        return resolve(threads)
    if work <= ONE_THREAD:
        return 1
    key = settings()
    if key not in _answers:
        _answers.clear()
        _answers[key] = resolve(None)
    return _answers[key]


def _is_sparse(x: Any) -> bool:
    return hasattr(x, "tocsr") and hasattr(x, "shape")


def _numbers(name: str, x: ArrayLike, dtype: str) -> NDArray[Any]:
    """An array of real numbers, those that are finite in the store's dtype too."""
    refuse_sparse(name, x, f"{name}.toarray() is dense")
    try:
        found = np.asarray(detached(x, name))
    except ValueError:
        raise TypeError(f"{name} must be an array of numbers, got {describe(x)}") from None
    if found.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got {describe(found)}")
    if found.dtype.kind == "f" and found.dtype.itemsize > np.dtype(dtype).itemsize:
        return fitting(name, found, np.dtype(dtype))
    return found


def _samples(name: str, x: ArrayLike, width: int, dtype: str) -> NDArray[Any]:
    """Real numbers, samples in rows or one sample alone."""
    found = _numbers(name, x, dtype)
    if found.ndim not in (1, 2) or found.shape[-1] != width:
        raise ValueError(f"{name} must have shape (samples, {width}) or ({width},), got shape {found.shape}")
    return found


def _refuse_beyond(source: CsrSource, dtype: str) -> None:
    """ValueError for a finite value that the store's dtype cannot hold; row and column are named."""
    with np.errstate(all="ignore"):
        bad = np.isinf(source.values.astype(dtype)) & np.isfinite(source.values)
    if bad.any():
        at = int(np.argmax(bad))
        row = int(np.searchsorted(source.indptr, at, side="right")) - 1
        where = f"row {row}, column {source.columns[at]}"
        raise ValueError(f"{source.name} must fit {dtype}, got {source.values[at]} in {where}")


class Products(NoArray):
    """A matrix of shape ``(n_out, n_in)`` that multiplies."""

    __slots__ = ()
    _core: Store

    # --- samples in rows ----------------------------------------------------------

    def forward(self, X: ArrayLike, *, threads: int | None = None) -> NDArray[Any]:
        """``X @ W.T``: the outputs of samples.

        Parameters
        ----------
        X : array_like or SciPy sparse matrix, shape (samples, n_in) or (n_in,)
            Real numbers of any dtype, order and strides. What is not connected is not looked at, be it NaN;
            but finite numbers that the store's dtype cannot hold are refused. To look for these makes float64
            samples 1.4 to 1.5 times as slow as float32 ones in a float32 store (500 x 1000, density 5 %).
        threads : int, optional
            See :func:`rewire.get_num_threads`. The bits do not depend on it.

        Returns
        -------
        ndarray of the store's dtype, shape (samples, n_out) or (n_out,)

        Raises
        ------
        TypeError, ValueError
            For anything else.
        """
        core = self._core
        if not _is_sparse(X):
            return self._times(_samples("X", X, core.n_in, core.dtype), False, threads)
        if getattr(X, "shape", None) == (0, core.n_in):
            return np.empty((0, core.n_out), core.dtype)
        source = as_source(X, core.n_in)
        assert isinstance(source, CsrSource)
        if source.values.dtype.itemsize > np.dtype(core.dtype).itemsize:
            _refuse_beyond(source, core.dtype)
        tiles = _tiles(core.n_in, source.n_samples, core.dtype)
        n = threads_for(threads, core.nnz * source.n_samples)
        source.pack(tiles, np.arange(source.n_samples), None, None, n)
        return self._through(tiles, False, n)

    def backward_input(self, G: ArrayLike, *, threads: int | None = None) -> NDArray[Any]:
        """``G @ W``: what reaches the inputs, for instance gradients for these.

        Goes by way of the fan-out mirror where there is one (:meth:`column` builds it) and that pays.

        Parameters
        ----------
        G : array_like, shape (samples, n_out) or (n_out,)
        threads : int, optional

        Returns
        -------
        ndarray of the store's dtype, shape (samples, n_in) or (n_in,)

        Raises
        ------
        TypeError, ValueError
            As in :meth:`forward`, and for sparse matrices.
        """
        return self._times(_samples("G", G, self._core.n_out, self._core.dtype), True, threads)

    def gradient(self, X: ArrayLike, G: ArrayLike, *, threads: int | None = None) -> NDArray[Any]:
        """``G.T @ X`` at the connections: sums over samples of output times input, where there is a weight.

        The gradient of the weights, and the change of Hebb's rule.

        Parameters
        ----------
        X : array_like, shape (samples, n_in) or (n_in,)
        G : array_like, shape (samples, n_out) or (n_out,)
        threads : int, optional

        Returns
        -------
        ndarray of the store's dtype, shape (slots, group)
            In the order of :meth:`get_field` and :meth:`set_field`: with ``group=1`` that of
            :meth:`to_arrays`, ``ravel()`` gives shape (nnz,). Rows beyond ``n_out`` are zero.

        Raises
        ------
        TypeError, ValueError
            As in :meth:`forward`, and for sparse matrices; for another number of samples in X and G.
        RuntimeError
            While another thread edits the store. Any number of threads may ask for gradients and products.
        """
        core = self._core
        x, g = (
            np.atleast_2d(_samples("X", X, core.n_in, core.dtype)),
            np.atleast_2d(_samples("G", G, core.n_out, core.dtype)),
        )
        if len(x) != len(g):
            raise ValueError(f"X and G must have the same number of samples, got {len(x)} and {len(g)}")
        if len(x) == 0:
            return np.zeros((core.slots, core.group), core.dtype)
        n = threads_for(threads, core.nnz * len(x))
        return _core.link_gradient(core, _packed(x, core.dtype, n), _packed(g, core.dtype, n), n)

    def _times(self, x: NDArray[Any], back: bool, threads: int | None) -> NDArray[Any]:
        """``x @ W.T``, or back ``x @ W``, for one sample or samples in rows."""
        core = self._core
        if x.ndim == 1:
            x = np.ascontiguousarray(x, core.dtype)
            return _core.times_one(core, x, back, threads_for(threads, core.nnz))
        if len(x) == 1:
            return self._times(x[0], back, threads)[np.newaxis]
        if len(x) == 0:
            return np.empty((0, core.n_in if back else core.n_out), core.dtype)
        n = threads_for(threads, core.nnz * len(x))
        return self._through(_packed(x, core.dtype, n), back, n)

    def _through(self, x: Tiles, back: bool, threads: int) -> NDArray[Any]:
        core = self._core
        y = _tiles(core.n_in if back else core.n_out, x.batch, core.dtype)
        if back:
            _core.backward_input(core, x, y, threads)
        else:
            _core.forward(core, x, None, "linear", 0.0, y, None, threads)
        return y.unpack(threads=threads)

    # --- vectors, and matrices whose columns are vectors ----------------------------

    def __matmul__(self, x: Any) -> NDArray[Any]:
        """``store @ x`` for x of shape (n_in,) or (n_in, k): as SciPy has it, but in the store's dtype.

        A float32 store gives float32 for a float64 x too, as a layer does: SciPy copies all weights to
        float64 there. ``WeightStore(dtype="float64")`` computes in float64.
        """
        found = _core.times_plain(self._core, x, False, ONE_THREAD)
        return self._matmul(x, self._core.n_in, False) if found is None else found

    def __rmatmul__(self, x: Any) -> NDArray[Any]:
        """``x @ store`` for x of shape (n_out,) or (k, n_out)."""
        found = _core.times_plain(self._core, x, True, ONE_THREAD)
        if found is not None:
            return found
        if isinstance(x, NoArray) or _is_sparse(x):
            refuse(self, "product")
        return self._times(_samples("x", x, self._core.n_out, self._core.dtype), True, None)

    def _matmul(self, x: Any, width: int, back: bool) -> NDArray[Any]:
        if isinstance(x, NoArray) or _is_sparse(x):
            refuse(self, "product")
        found = _numbers("x", x, self._core.dtype)
        if found.ndim not in (1, 2) or found.shape[0] != width:
            raise ValueError(f"x must have shape ({width},) or ({width}, k), got shape {found.shape}")
        tile = _core.tile_size(found.shape[1], self._core.dtype) if found.ndim == 2 else 0
        if 1 < tile >= found.shape[1] and found.dtype == self._core.dtype:
            return self._columns(found, back)
        return self._times(found.T, back, None).T

    def _columns(self, x: NDArray[Any], back: bool) -> NDArray[Any]:
        """A few vectors beside each other: as they lie in a tile."""
        core, k = self._core, x.shape[1]
        n = threads_for(None, core.nnz * k)
        given = _tiles(x.shape[0], k, core.dtype)
        made = _tiles(core.n_in if back else core.n_out, k, core.dtype)
        given.array()[0, :, :k] = x
        if back:
            _core.backward_input(core, given, made, n)
        else:
            _core.forward(core, given, None, "linear", 0.0, made, None, n)
        return made.array()[0, :, :k].copy()

    def matvec(self, x: ArrayLike) -> NDArray[Any]:
        """``store @ x``: with :meth:`rmatvec` all that ``scipy.sparse.linalg`` asks of a linear operator."""
        return self._matmul(x, self._core.n_in, False)

    def rmatvec(self, x: ArrayLike) -> NDArray[Any]:
        """``W.T @ x`` for x of shape (n_out,) or (n_out, k)."""
        return self._matmul(x, self._core.n_out, True)


def _tiles(n: int, batch: int, dtype: str) -> Tiles:
    return Tiles(n, batch, _core.tile_size(batch, dtype), dtype)


def _packed(x: NDArray[Any], dtype: str, threads: int) -> Tiles:
    """Samples in rows as the kernels want them."""
    if x.dtype.str[1:] not in PACKED or not x.dtype.isnative:
        x = x.astype(dtype)
    tiles = _tiles(x.shape[1], len(x), dtype)
    tiles.pack(x, threads=threads)
    return tiles
