"""A change of a store's connections, put together by hand: see ``sparse_core/store/plan.h``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire import _core
from rewire._checks import describe, integer, number, seed
from rewire._core import LinkAbsent, LinkError, LinkExists, Store
from rewire._links import connections, slots_of, values_of
from rewire._products import threads_for

__all__ = ["EditPlan"]

_NONE = np.empty(0, np.int32)
_PASS = 40  # multiply-adds that a pass over a slot is worth

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


class EditPlan:
    """A change of one store: what to remove, then what to insert, all of it or nothing.

    Made by :meth:`WeightStore.plan`. At most one of :meth:`remove` and :meth:`prune`, and after it at most
    one of :meth:`insert` and :meth:`grow`; :meth:`commit` carries both out. A position that the plan empties
    may be filled by it again: that connection is new, with birth values in all fields.

    Examples
    --------
    >>> from rewire import WeightStore
    >>> store = WeightStore.from_dense([[0.5, 0.0, -0.1], [0.0, 2.0, 0.0]])
    >>> plan = store.plan()
    >>> plan.prune(below=0.2)
    >>> plan.insert(1, 0, 1.5)
    >>> store.nnz, plan.n_removed, plan.n_inserted
    (3, 1, 1)
    >>> plan.commit()
    >>> list(store)
    [(0, 0, 0.5), (1, 0, 1.5), (1, 1, 2.0)]
    """

    __slots__ = ("_plan", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._plan = _core.Plan(store)

    # --- what goes --------------------------------------------------------------------

    def remove(self, rows: ArrayLike, cols: ArrayLike) -> None:
        """Remove connections. Parameters and errors as for :meth:`WeightStore.remove`."""
        self._first("remove")
        store = self._store
        r, c, _ = connections(rows, cols, self._shape)
        slots = slots_of(r, c, self._shape, store.group)
        try:
            self._plan.pairs(slots.group, slots.source, _NONE, _NONE, None)
        except LinkAbsent as link:
            message = f"connection {self._name(link)} is not there"  # a KeyError without quotes
            raise LinkAbsent(message, link.group, link.source) from None

    def prune(
        self, *, below: float | None = None, count: int | None = None, threads: int | None = None
    ) -> None:
        """Remove the weakest connections. Parameters and errors as for :meth:`WeightStore.prune`."""
        self._first("prune")
        if (below is None) == (count is None):
            raise TypeError("prune takes either below= or count=")
        store = self._store
        n = threads_for(threads, store.slots * _PASS)
        if below is not None:
            self._plan.prune_below(number("below", below, low=0.0), n)
        else:
            self._plan.prune_smallest(integer("count", count, low=0, high=store.slots), 0, 0, 0, n)

    # --- what comes -------------------------------------------------------------------

    def insert(self, rows: ArrayLike, cols: ArrayLike, values: ArrayLike | None = None) -> None:
        """Insert connections. Parameters and errors as for :meth:`WeightStore.insert`."""
        self._then("insert")
        store = self._store
        r, c, form = connections(rows, cols, self._shape)
        v = values_of(store.fields["weight"][2] if values is None else values, r, c, form, store.dtype)
        slots = slots_of(r, c, self._shape, store.group)
        try:
            self._plan.insert(slots.group, slots.source, slots.weights(v, store.group))
        except LinkExists as link:
            message = f"connection {self._name(link)} is already there"
            raise LinkExists(message, link.group, link.source) from None

    def grow(
        self,
        count: int,
        *,
        seed: int | np.random.Generator | None = None,
        value: float | None = None,
        threads: int | None = None,
    ) -> None:
        """Insert at random empty positions. Parameters and errors as for :meth:`WeightStore.grow`."""
        self._then("grow")
        store = self._store
        empty = store.n_groups * store.n_in - store.slots + self._plan.n_removed
        n = integer("count", count, low=0, high=empty)
        word = seed_of(seed)
        workers = threads_for(threads, n * _PASS)
        most = float(np.finfo(store.dtype).max)
        if value is not None:
            value = number("value", value, low=-most, high=most)
        elif n:
            number("the birth value of weights", store.fields["weight"][2], low=-most, high=most)
        self._plan.grow_random(n, word, 0, 0, workers)
        if value is not None:
            self._plan.draw_weights("constant", value, False, word, 0, 0, workers)

    # --- what there is ------------------------------------------------------------------

    @property
    def n_removed(self) -> int:
        """Slots that go: with ``group=1`` connections."""
        return self._plan.n_removed

    @property
    def n_inserted(self) -> int:
        """Slots that come: with ``group=1`` connections."""
        return self._plan.n_inserted

    def removed(self) -> Pairs:
        """(rows, cols) of the connections that go; RuntimeError once the store has changed."""
        return self._pairs(*self._plan.removed())

    def inserted(self) -> Pairs:
        """(rows, cols) of the connections that come."""
        return self._pairs(*self._plan.inserted())

    def mapping(self) -> NDArray[np.int64]:
        """Where slots come from: what carries along whatever you keep for each slot elsewhere.

        Before :meth:`commit` or after it, until the store changes in another way. Fields of the store move by
        themselves.

        Returns
        -------
        ndarray of int64, shape (slots after the commit,)
            Of each slot, in the order of :meth:`WeightStore.get_field`, the slot that it was, or -1 for a
            new one; ``kept[mapping]`` with birth values where it is -1. With ``group=1`` slots are
            connections.

        Raises
        ------
        RuntimeError
            Once the store has changed otherwise.

        Examples
        --------
        >>> from rewire import WeightStore
        >>> store = WeightStore.from_dense([[0.5, 0.0, -0.1], [0.0, 2.0, 0.0]])
        >>> plan = store.plan()
        >>> plan.remove(0, 2)
        >>> plan.insert(1, 0, 1.5)
        >>> plan.mapping().tolist()
        [0, -1, 2]
        >>> plan.commit()
        >>> plan.mapping().tolist()
        [0, -1, 2]
        """
        return self._plan.mapping()

    def commit(self, *others: EditPlan, threads: int | None = None) -> None:
        """Carry it out, and plans of other stores with it: all of them or none.

        Raises
        ------
        RuntimeError
            If a store has changed since its plan was made, by an earlier commit of this plan too.
        ValueError
            For two plans of one store.
        BufferError
            While a view of one of the stores is open.
        """
        for other in others:
            if not isinstance(other, EditPlan):
                raise TypeError(f"commit takes plans of other stores, got {describe(other)}")
        plans = [plan._plan for plan in (self, *others)]
        work = sum(plan.store.slots for plan in plans) * _PASS
        _core.commit(plans, threads_for(threads, work))

    def __repr__(self) -> str:
        return f"EditPlan({self.n_removed} slots removed, {self.n_inserted} inserted)"

    # --- helpers ------------------------------------------------------------------------

    @property
    def _shape(self) -> tuple[int, int]:
        return self._store.n_out, self._store.n_in

    def _first(self, what: str) -> None:
        if self._plan.n_removed or self._plan.n_inserted:
            raise ValueError(f"{what} comes first in a plan, and one remove or prune: this is {self!r}")

    def _then(self, what: str) -> None:
        if self._plan.n_inserted:
            raise ValueError(f"{what} comes last in a plan, and one insert or grow: this is {self!r}")

    def _name(self, link: LinkError) -> str:
        return f"(row {link.group * self._store.group}, col {link.source})"

    def _pairs(self, groups: NDArray[Any], sources: NDArray[Any]) -> Pairs:
        """Connections of slots, by slot, rows beyond the last left out."""
        group = self._store.group
        rows = (groups.astype(np.int64)[:, np.newaxis] * group + np.arange(group)).ravel()
        cols = np.repeat(sources.astype(np.int64), group)
        there = rows < self._store.n_out
        return rows[there], cols[there]


def seed_of(given: int | np.random.Generator | None) -> int:
    """The number that names random draws: a generator gives its next one."""
    if isinstance(given, np.random.Generator):
        return int(given.integers(2**63))
    return seed("seed", given)
