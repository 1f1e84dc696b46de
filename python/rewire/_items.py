"""A store by its connections: ``store[i, j]``, rows, columns, pairs."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire import _core
from rewire._checks import describe
from rewire._core import Plan, Store
from rewire._links import check_finite, connections, index, named_once, slots_of, values_of
from rewire._no_array import NoArray, refuse

__all__ = ["Items"]

_NONE = np.empty(0, np.int32)
_AT_ONCE = 4096  # connections that become Python's numbers together


class Items(NoArray):
    """A mapping from (row, column) to weights, 0.0 where nothing is connected."""

    __slots__ = ()
    _core: Store

    def to_arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any]]:
        """What the store says of itself."""
        raise NotImplementedError

    def remove(self, rows: ArrayLike, cols: ArrayLike) -> None:
        """What the store does."""
        raise NotImplementedError

    @property
    def _shape(self) -> tuple[int, int]:
        return self._core.n_out, self._core.n_in

    # --- one ------------------------------------------------------------------------

    @overload
    def __getitem__(self, key: tuple[int, int]) -> float: ...
    @overload
    def __getitem__(self, key: tuple[ArrayLike, ArrayLike]) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        """The weight of a connection, 0.0 where there is none; of several, for arrays of rows and columns.

        Arrays are broadcast as NumPy's indices are: ``store[np.ix_(rows, cols)]`` is a dense block.

        ``(i, j) in store`` tells a stored 0.0 from no connection.

        Raises
        ------
        IndexError
            For what lies outside the store. Nothing counts from the end.
        TypeError
            For slices and masks, and for what is no integer.
        """
        if type(key) is tuple and len(key) == 2:
            found: Any = _core.get_one(self._core, key[0], key[1])
            if found is None:
                found = _core.weights_of(self._core, key[0], key[1])
            if found is not None:
                return found
        found = self._look(_core.weights_of, *self._pair(key))
        return found if found.ndim else float(found)

    def __setitem__(self, key: tuple[ArrayLike, ArrayLike], value: ArrayLike) -> None:
        """Set the weight of a connection, which is inserted if it is not there; or of several: see `set`."""
        if type(key) is tuple and len(key) == 2 and _core.set_one(self._core, key[0], key[1], value):
            return
        self.set(*self._pair(key), value)

    def __delitem__(self, key: tuple[ArrayLike, ArrayLike]) -> None:
        """``del store[i, j]`` is ``store.remove(i, j)``."""
        if type(key) is tuple and len(key) == 2 and _core.remove_one(self._core, key[0], key[1]):
            return
        self.remove(*self._pair(key))

    def __contains__(self, key: object) -> bool:
        """``(i, j) in store``: is j connected to i? Outside the store nothing is.

        As with a dict, ``in`` takes keys, not the ``(i, j, w)`` that a loop gives: TypeError for these.
        """
        if not isinstance(key, tuple) or len(key) != 2:
            raise TypeError(
                "`in` takes the position of a connection, `(row, col) in store` (store[row, col] is its "
                f"weight), got {describe(key)}"
            )
        found = _core.has_one(self._core, key[0], key[1])
        if found is not None:
            return found
        for value in key:
            if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
                raise TypeError(
                    "`(row, col) in store` takes two integers (store.contains(rows, cols) takes arrays), "
                    f"got {describe(key)}"
                )
        row, col = (operator.index(value) for value in key)
        inside = 0 <= row < self._core.n_out and 0 <= col < self._core.n_in
        return inside and bool(self.contains(row, col))

    def _look(self, look: Callable[[Store, Any, Any], Any], rows: Any, cols: Any) -> NDArray[Any]:
        """What is said of any connections, in the shape that NumPy gives to such indices."""
        r, c, form = connections(rows, cols, self._shape)
        found: NDArray[Any] = look(self._core, r, c)
        return found.reshape(form)

    def _pair(self, key: object) -> tuple[Any, Any]:
        """Rows and columns; what only arrays and matrices can be asked is refused."""
        if getattr(key, "dtype", None) == np.bool_:
            refuse(self, "mask")
        if not isinstance(key, tuple) or len(key) != 2 or any(k is None or k is ... for k in key):
            refuse(self, "item")
        if any(isinstance(k, slice) for k in key):
            refuse(self, "item")
        return key

    # --- all ------------------------------------------------------------------------

    def __len__(self) -> int:
        """Connections, as `nnz`."""
        return self._core.nnz

    def __iter__(self) -> Iterator[tuple[int, int, float]]:
        """All (row, col, weight), row by row, as they were when the loop began."""
        arrays = self.to_arrays()
        for start in range(0, arrays[0].size, _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            yield from zip(*(a[part].tolist() for a in arrays), strict=True)

    # --- rows and columns -------------------------------------------------------------

    def row(self, i: int) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """The connections into output neuron ``i``, as copies.

        Returns
        -------
        cols : ndarray of int32, shape (m,)
            Ascending.
        weights : ndarray of the store's dtype, shape (m,)

        Raises
        ------
        IndexError, TypeError
            If there is no such row.
        """
        found = _core.row_links(self._core, i)
        return found or self.row(index("row", i, self._core.n_out))

    def column(self, j: int) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """The connections out of input ``j``, as copies.

        Goes by way of the fan-out mirror, which is built where there is none. Small edits are carried into it
        until its room is used up, after net insertions of about a sixty-fourth of the connections; the next
        call builds it again, in one pass over the store. It takes 12 bytes an input, so that a store of more
        than 65,536 inputs has one only while these are at most 16 for each connection and row; else every row
        is searched.

        Returns
        -------
        rows : ndarray of int32, shape (m,)
            Ascending.
        weights : ndarray of the store's dtype, shape (m,)

        Raises
        ------
        IndexError, TypeError
            If there is no such column.
        RuntimeError
            While another thread edits the store; or reads it, where the mirror has to be built.
        """
        found = _core.source_links(self._core, j)
        return found or self.column(index("column", j, self._core.n_in))

    # --- pairs ------------------------------------------------------------------------

    @overload
    def contains(self, rows: int, cols: int) -> np.bool_: ...
    @overload
    def contains(self, rows: ArrayLike, cols: ArrayLike) -> Any: ...
    def contains(self, rows: Any, cols: Any) -> Any:
        """Which of these pairs are connected? Of one pair a NumPy bool, of arrays an array.

        Arrays are broadcast as NumPy's indices are. Raises as `insert` for pairs outside the store.
        """
        one = _core.has_one(self._core, rows, cols)
        if one is not None:
            return np.bool_(one)
        found = _core.which_of(self._core, rows, cols)
        return self._look(_core.which_of, rows, cols)[()] if found is None else found

    def set(self, rows: ArrayLike, cols: ArrayLike, values: ArrayLike) -> None:
        """Set weights; connections that are not there are inserted. All of them or none.

        Parameters
        ----------
        rows, cols : int or array of int
            Connections, in any order, each named once; broadcast as in `insert`.
        values : float or array of float, of the shape of the connections
            Finite; rounded to the dtype of the store.

        Raises
        ------
        ValueError, IndexError, TypeError, BufferError
            As in `insert`: of those that are not there, whole groups must be named. Weights of connections
            that are there may be set while a view is open.
        RuntimeError
            While another thread reads or edits the store.
        """
        core = self._core
        if _core.set_one(core, rows, cols, values) or _core.set_many(core, rows, cols, values, False):
            return
        r, c, form = connections(rows, cols, self._shape)
        v = values_of(values, r, c, form, core.dtype)
        if not _core.set_many(core, r, c, v, False):
            self._set(Plan(core), r, c, v)

    def add(self, rows: ArrayLike, cols: ArrayLike, values: ArrayLike) -> None:
        """Add to weights, 0.0 for connections that are not there and are inserted. All of them or none.

        Raises as `set`, and for sums that overflow. Weights are read first and written afterwards: of two
        threads that add to one weight at the same time, one sum may be lost.
        """
        core = self._core
        if _core.set_many(core, rows, cols, values, True):
            return
        r, c, form = connections(rows, cols, self._shape)
        v = values_of(values, r, c, form, core.dtype)
        if _core.set_many(core, r, c, v, True):
            return
        plan = Plan(core)  # of the store as it is when the weights are read
        now, _ = _core.get_links(core, r, c)
        with np.errstate(over="ignore"):
            sums = now + v
        self._set(plan, r, c, check_finite(sums, r, c))

    def _set(self, plan: Plan, r: NDArray[np.int64], c: NDArray[np.int64], v: NDArray[Any]) -> None:
        """Weights of connections, by an empty plan of the store."""
        core = self._core
        named_once(r, c, core.n_in)
        v = np.ascontiguousarray(v)
        _, there = _core.get_links(core, r, c)
        if not there.all():
            new = slots_of(r[~there], c[~there], self._shape, core.group)
            weights = new.weights(v[~there], core.group)
            try:
                plan.pairs(_NONE, _NONE, new.group, new.source, weights)
            except _core.LinkExists:  # it was not there just now
                raise RuntimeError("the store is in use by another thread") from None
        _core.put_links(plan, r, c, v)
