"""What gives one batch after the other: a DataLoader, a list, a generator, a function of the epoch."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from rewire._checks import describe, detached, noted
from rewire._inputs import is_lazy
from rewire.streams.pieces import Piece, Pieces

__all__ = ["Iterated", "is_iterated"]

# Generators that a call has read from. After Ctrl-C a thread may still be inside of one: the next call waits.
_BEGUN: WeakKeyDictionary[Any, threading.Lock] = WeakKeyDictionary()
_AHEAD = "raised by X while it was read ahead, in a thread of its own"
_ARRAYS = ("shape", "__array__", "__array_interface__", "__dlpack__", "__dataframe__", "tocsr")


def is_iterated(x: Any) -> bool:
    """Whether it gives batches: it can be walked through or called, and is no array and no list of rows."""
    if isinstance(x, (str, bytes, Mapping, set, frozenset, type)) or any(hasattr(x, a) for a in _ARRAYS):
        return False
    if hasattr(x, "__getitem__"):
        return _gives_batches(x)
    return hasattr(x, "__iter__") or callable(x)


def _gives_batches(x: Any) -> bool:
    """Whether a sequence has (X, y), where X has rows, or a dict of them as its first thing."""
    try:
        first = x[0]
        if isinstance(first, Mapping):  # which is refused by name
            return True
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
        self._errors = np.geterr()  # of whoever calls: what X does in the thread of the reader is theirs
        try:
            self.length = None if self._called else len(x)
        except TypeError:  # it has none, as a DataLoader of an endless data set
            self.length = None

    def read(self, unit: int, rows: int, epoch: int) -> Iterator[Piece]:
        one = threading.Lock() if self.lasts else _reading(self._x)
        with noted(_AHEAD), np.errstate(**self._errors):
            items = self._begin(epoch)
        for number in count():
            try:
                with one, noted(_AHEAD), np.errstate(**self._errors):
                    item = next(items)
            except StopIteration:
                return
            yield self._piece(item, f" of batch {number}")

    def _begin(self, epoch: int) -> Iterator[Any]:
        if not self._called:
            if hasattr(self._x, "__iter__") or self.length is None:
                return iter(self._x)  # __getitem__ is enough for it
            return (self._x[i] for i in range(self.length))  # which may go on for ever
        found = _of_epoch(self._x, epoch)
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
            return Piece(_owned(item), None, None, place)
        if not 1 <= len(item) <= 3:
            raise TypeError(
                f"{self._which}X must give batches (X, y) or (X, y, sample_weight), got {len(item)} "
                f"things{place}"
            )
        x, y, weight = (*item, None, None)[:3]
        return Piece(_owned(x), _owned(y), _owned(weight), place)

    def described(self) -> str:
        return f"{type(self._x).__module__.partition('.')[0]}.{type(self._x).__name__}"


def _known(x: Any) -> bool:
    """Whether something has been read from it before."""
    try:
        return x in _BEGUN
    except TypeError:  # of a kind that nobody can point at weakly: a zip, say
        return False


def _reading(x: Any) -> threading.Lock:
    """What is held by whoever reads the next batch of it."""
    try:
        return _BEGUN.setdefault(x, threading.Lock())
    except TypeError:
        return threading.Lock()


def _of_epoch(function: Any, epoch: int) -> Any:
    """What a function of the epoch gives: its number is for a parameter without a default, or named so."""
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError):  # of C, and nobody knows
        return function(epoch)
    needs = [p for p in found.values() if p.default is p.empty]
    if any(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL) for p in needs):
        return function(epoch)
    if "epoch" not in found:
        return function()
    return (
        function(epoch) if found["epoch"].kind is inspect.Parameter.POSITIONAL_ONLY else function(epoch=epoch)
    )


def _owned(a: Any) -> Any:
    """An array that nobody else will write into: many loaders fill the same one with every batch."""
    if isinstance(a, np.ndarray) or hasattr(a, "tocsr"):
        return a.copy()
    if is_lazy(a) or not any(hasattr(a, name) for name in ("__array__", "__array_interface__")):
        return a
    try:
        return np.array(detached(a))
    except Exception:  # whoever checks it says what is wrong
        return a
