"""How a store's connections come and go."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rewire import _core
from rewire._core import Store
from rewire._edit_plan import EditPlan

__all__ = ["Edits"]


class Edits:
    """Connections that can be edited, all of an edit or nothing."""

    __slots__ = ()
    _core: Store

    def insert(self, rows: ArrayLike, cols: ArrayLike, values: ArrayLike | None = None) -> None:
        """Connect inputs ``cols`` to output neurons ``rows``: all of them or none.

        Parameters
        ----------
        rows, cols : int or array of int
            Connections, in any order; broadcast as NumPy's indices are: a single number goes with all of the
            others, ``np.ix_(rows, cols)`` are all pairs. One connection of a store with ``group=1`` takes
            about half a microsecond.
        values : float or array of float, of the shape of the connections, optional
            Their weights, finite; rounded to the dtype of the store. By default the birth value of weights,
            0.0 unless `set_birth` has changed it.

        Raises
        ------
        ValueError
            For a connection that is there already or named twice, for a group not named as a whole,
            for shapes that do not go together, for a value that is not finite or overflows the dtype of the
            store.
        IndexError
            For a connection outside the store.
        TypeError
            For indices that are not integers, or values that are no real numbers.
        BufferError
            While a view of the store is open, or one of its arrays is still referenced.

        Notes
        -----
        Other fields of the new slots hold their birth values.
        """
        core = self._core
        if _core.insert_one(core, rows, cols, values) or _core.insert_many(core, rows, cols, values):
            return
        plan = EditPlan(self._core)
        plan.insert(rows, cols, values)
        plan.commit(threads=1)

    def remove(self, rows: ArrayLike, cols: ArrayLike) -> None:
        """Disconnect inputs ``cols`` from output neurons ``rows``: all of them or none.

        Parameters
        ----------
        rows, cols : int or array of int
            Connections, as in `insert`.

        Raises
        ------
        KeyError
            For a connection that is not there.
        ValueError, IndexError, TypeError, BufferError
            As in `insert`.
        """
        if _core.remove_one(self._core, rows, cols) or _core.remove_many(self._core, rows, cols):
            return
        plan = EditPlan(self._core)
        plan.remove(rows, cols)
        plan.commit(threads=1)

    def prune(
        self, *, below: float | None = None, count: int | None = None, threads: int | None = None
    ) -> int:
        """Remove the weakest connections.

        Parameters
        ----------
        below : float >= 0
            Those of smaller magnitude. With groups a slot goes as a whole, by the sum of magnitudes over its
            rows.
        count : int
            Or so many slots: the smallest by the same measure; of equals those that a hash of their position
            names.
        threads : int, optional

        Returns
        -------
        int
            How many connections were removed.

        Raises
        ------
        TypeError, ValueError
            If not just one of ``below`` and ``count`` is given, for a negative number, for more slots than
            there are.
        BufferError
            As in `insert`.
        """
        before, plan = self._core.nnz, EditPlan(self._core)
        plan.prune(below=below, count=count, threads=threads)
        plan.commit(threads=threads)
        return before - self._core.nnz

    def grow(
        self,
        count: int,
        *,
        seed: int | np.random.Generator | None = None,
        value: float | None = None,
        threads: int | None = None,
    ) -> int:
        """Insert slots at random positions that are empty, all equally likely.

        Parameters
        ----------
        count : int
            Slots: with ``group=1`` connections.
        seed : int or numpy.random.Generator, optional
            One seed names one draw, so a loop takes another one each time, or a generator, which gives its
            next number. By default a fresh one from the system.
        value : float, optional
            Their weight. By default the birth value of weights.
        threads : int, optional

        Returns
        -------
        int
            How many connections were inserted.

        Raises
        ------
        TypeError, ValueError
            For no count, or more than there are empty positions; for a value that is not finite.
        BufferError
            As in `insert`.
        """
        before, plan = self._core.nnz, EditPlan(self._core)
        plan.grow(count, seed=seed, value=value, threads=threads)
        plan.commit(threads=threads)
        return self._core.nnz - before

    def plan(self) -> EditPlan:
        """An empty plan: removals and insertions to be carried out together, see :class:`EditPlan`."""
        return EditPlan(self._core)
