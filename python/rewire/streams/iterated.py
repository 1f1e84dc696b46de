"""What gives one batch after the other: a DataLoader, a list, a generator, a function of the epoch."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from weakref import WeakSet

import numpy as np

from rewire._checks import describe
from rewire.streams.pieces import Piece, Pieces

__all__ = ["Iterated", "is_iterated"]

_BEGUN: WeakSet[Any] = WeakSet()  # generators that a call has read from
_ARRAYS = ("shape", "__array__", "__array_interface__", "__dlpack__", "__dataframe__", "tocsr")


def is_iterated(x: Any) -> bool:
    """Whether it gives batches: it can be walked through or called, and is no array and no list of rows."""
    if isinstance(x, (str, bytes, Mapping, set, frozenset, type)) or any(hasattr(x, a) for a in _ARRAYS):
        return False
    if hasattr(x, "__getitem__"):
        return _gives_batches(x)
    return hasattr(x, "__iter__") or callable(x)


def _gives_batches(x: Any) -> bool:
    """Whether a sequence has (X, y) as its first thing, where X has rows."""
    try:
        first = x[0]
        if not isinstance(first, (tuple, list)) or len(first) not in (2, 3):
            return False
        return len(getattr(first[0], "shape", ())) > 1 or np.ndim(first[0]) > 1
    except Exception:  # whatever a class of somebody's says: then it is none
        return False


class Iterated(Pieces):
    """Batches as somebody else has made them; all of an epoch are one unit.

    Parameters
    ----------
    x : iterable, or function of the epoch that gives one
        Of ``(X, y)`` or ``(X, y, sample_weight)``, or of X alone where no targets are needed.
    which : str
        What stands before ``X`` in errors.
    """

    ready = True

    def __init__(self, x: Any, which: str = "") -> None:
        self._x, self._which = x, which
        self._called = callable(x) and not hasattr(x, "__iter__")
        self.lasts = self._called or not isinstance(x, Iterator)
        self.moved = not self.lasts and _known(x)
        try:
            self.length = None if self._called else len(x)
        except TypeError:  # it has none, as a DataLoader of an endless data set
            self.length = None

    def read(self, unit: int, rows: int, epoch: int) -> Iterator[Piece]:
        for number, item in enumerate(self._begin(epoch)):
            yield self._piece(item, f" of batch {number}")

    def _begin(self, epoch: int) -> Iterator[Any]:
        if not self._called:
            if not self.lasts:
                with contextlib.suppress(TypeError):
                    _BEGUN.add(self._x)
            if hasattr(self._x, "__iter__"):
                return iter(self._x)
            return (self._x[i] for i in range(len(self._x)))
        found = self._x(epoch) if _takes_epoch(self._x) else self._x()
        if not isinstance(found, Iterable):
            raise TypeError(
                f"{self._which}X must be a function that gives an iterable of batches, got one that gives "
                f"{describe(found)}"
            )
        return iter(found)

    def _piece(self, item: Any, place: str) -> Piece:
        if isinstance(item, Mapping):
            names = ", ".join(map(repr, item))
            raise TypeError(
                f"{self._which}X must give batches (X, y), got a dict of {names}{place}; "
                "lambda epoch: ((batch['x'], batch['y']) for batch in loader) gives pairs"
            )
        pair = isinstance(item, tuple) or (isinstance(item, list) and any(hasattr(a, "shape") for a in item))
        if not pair:
            return Piece(item, None, None, place)
        if not 1 <= len(item) <= 3:
            raise TypeError(
                f"{self._which}X must give batches (X, y) or (X, y, sample_weight), got {len(item)} "
                f"things{place}"
            )
        x, y, weight = (*item, None, None)[:3]
        return Piece(x, y, weight, place)

    def described(self) -> str:
        return f"{type(self._x).__module__.partition('.')[0]}.{type(self._x).__name__}"


def _known(x: Any) -> bool:
    """Whether something has been read from it before."""
    try:
        return x in _BEGUN
    except TypeError:  # of a kind that nobody can point at weakly: a zip, say
        return False


def _takes_epoch(function: Any) -> bool:
    """Whether a function takes an argument: the number of the epoch."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of C, and nobody knows
        return True
    return any(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL) for p in found)
