"""The live arrays of a store, lent for the length of a ``with``."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire import _core
from rewire._geometry import Geometry
from rewire._links import fitting

__all__ = ["StoreView"]


class StoreView:
    """The live arrays of a store, for reading and for changing values in place.

    While the view is open, or one of its arrays is alive, the structure is pinned: an edit raises
    BufferError. A name bound inside ``with`` is such an array: ``del`` it. The slots of group ``g`` are
    ``start[g]`` to ``start[g] + length[g]``. The others are free: values there are 0 when the view opens and
    forgotten when it closes, sources undefined. Sources ascend within a group and must stay as they are.

    Attributes
    ----------
    start : ndarray of int64, shape (n_groups,)
    length : ndarray of int32, shape (n_groups,)
    source : ndarray of int32, shape (arena,)
    weight : ndarray of the store's dtype, shape (arena,), or (arena, group) with groups
        Rows beyond ``n_out`` in the last group are set to zero again when the view closes.

    Examples
    --------
    >>> from rewire import WeightStore
    >>> store = WeightStore(n_out=2, n_in=3)
    >>> store.insert([0, 1], [1, 2], [1.0, 2.0])
    >>> store.add_field("momentum", "float32", birth=8.0)
    >>> with store.view() as v:
    ...     v.weight *= 0.5
    ...     v["momentum"] *= 0.25
    >>> store.to_arrays()[2], store.get_field("momentum").ravel()
    (array([0.5, 1. ], dtype=float32), array([2., 2.], dtype=float32))
    """

    __slots__ = ("_arrays", "_store")

    def __init__(self, store: _core.Store) -> None:
        self._store = store
        self._arrays: dict[str, NDArray[Any]] | None = None

    def __enter__(self) -> Self:
        if self._arrays is not None:
            raise RuntimeError("the view is already open")
        self._store.zero_free_slots()
        # The arrays themselves are kept, so that `v.weight *= 2` hands back the one it was given.
        self._arrays = {
            name: array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
            for name, array in self._store.lend().items()
        }
        self._store.held += len(self._arrays)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._arrays is None:
            return
        surplus = Geometry.of(self._store).missing_rows
        if surplus:
            first, slots = self._arrays["start"][-1], self._arrays["length"][-1]
            self._arrays["weight"][first : first + slots, -surplus:] = 0
        self._store.held -= len(self._arrays)
        self._arrays = None

    def _array(self, name: str) -> NDArray[Any]:
        if self._arrays is None:
            raise RuntimeError("the view is closed: its arrays are there within `with store.view() as v:`")
        return self._arrays[name]

    @property
    def start(self) -> NDArray[np.int64]:
        """First slot of each group."""
        return self._array("start")

    @property
    def length(self) -> NDArray[np.int32]:
        """Slots of each group."""
        return self._array("length")

    @property
    def source(self) -> NDArray[np.int32]:
        """The source of each slot."""
        return self._array("source")

    @property
    def weight(self) -> NDArray[Any]:
        """Weights by slot. What is assigned is copied in; see `__setitem__`."""
        return self["weight"]

    @weight.setter
    def weight(self, values: ArrayLike) -> None:
        self["weight"] = values

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A registered field by slot: (arena,), or (arena, group) where it has a value for each row."""
        if self._arrays is not None and name not in self._store.fields:
            raise KeyError(f"the store has no field {name!r}, only {list(self._store.fields)}")
        return self._array(name)

    def __setitem__(self, name: str, values: ArrayLike) -> None:
        """Copy values into a field; ``v["momentum"] *= 0.9`` works too.

        Parameters
        ----------
        name : str
        values : array_like
            Of the field's shape, or one number for all slots. Rounded to the field's dtype.

        Raises
        ------
        KeyError
            For a field that is not there.
        TypeError
            For values that are no real numbers.
        ValueError
            For another shape, or a value that the field cannot hold; its position is named.
        """
        field = self[name]
        if values is field:  # changed in place
            return
        new = fitting(name, values, field.dtype)
        if new.shape not in ((), field.shape):
            raise ValueError(f"{name} must have shape {field.shape} or be one number, got shape {new.shape}")
        field[...] = new
