"""Data in many parts, files say, of which each process reads those of its own shards.

Shards decide the bits, not processes: shard k of n has parts k, k + n, k + 2n and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire._mapped import is_mapped, place_in_file
from rewire.streams.pieces import Piece, Pieces

__all__ = ["Joined", "Parts"]


class Parts:
    """Data in parts, as `rewire.datasets.parts` gives them; nothing is opened before somebody reads it.

    Parameters
    ----------
    given : sequence
        One thing for each part.
    read : function, optional
        Opens one of them; by default they are open.

    Attributes
    ----------
    names : tuple of str
        What parts are called in errors.
    """

    def __init__(self, given: Sequence[Any], read: Callable[[Any], Any] | None = None) -> None:
        self._given, self._read = list(given), read
        self.names = tuple(
            one if isinstance(one, str) else f"part {number}" for number, one in enumerate(self._given)
        )

    def __len__(self) -> int:
        return len(self._given)

    def __repr__(self) -> str:
        return f"Parts({len(self)}: {self.names[0]} to {self.names[-1]})"

    def opened(self, number: int) -> tuple[Any, Any, Any]:
        """X, y and weights of a part, as ``fit`` takes them; y and weights are None where X has them."""
        found = self._given[number]
        if self._read is not None:
            found = self._read(found)
        if not isinstance(found, tuple):
            return found, None, None
        if len(found) not in (2, 3):
            raise TypeError(
                f"{self.names[number]} must be (X, y), (X, y, sample_weight) or give batches, got a tuple of "
                f"{len(found)}"
            )
        x, y, weight = (*found, None)[:3]
        return x, y, weight

    def described(self) -> str:
        """Words that are equal for equal parts, as far as can be told without opening them."""
        return f"parts {', '.join(self.names)}"

    def __getstate__(self) -> dict[str, Any]:
        """What lies in a mapped file is told by its place there: a pickle would have the numbers."""
        state = dict(self.__dict__)
        state["_given"] = [_placed(one) for one in self._given]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._given = [_mapped(one) for one in self._given]


class _Place(NamedTuple):
    """Where an array lies."""

    path: str
    offset: int
    dtype: str
    shape: tuple[int, ...]


def _placed(thing: Any) -> Any:
    """A thing whose mapped arrays are their places; TypeError where one has none."""
    if isinstance(thing, tuple) and type(thing) is tuple:
        return tuple(map(_placed, thing))
    if not is_mapped(thing):
        return thing
    place = place_in_file(thing)
    if place is None:
        raise TypeError(
            "a part lies in a mapped file, and not in one piece: other processes would get a copy; give "
            "names of files, and read=..., which opens one"
        )
    return _Place(*place, thing.dtype.str, thing.shape)


def _mapped(thing: Any) -> Any:
    """The other way round."""
    if isinstance(thing, _Place):
        return np.memmap(thing.path, thing.dtype, "r", thing.offset, thing.shape, "C")
    return tuple(map(_mapped, thing)) if type(thing) is tuple else thing


class Joined(Pieces):
    """Some parts, one after the other.

    Parameters
    ----------
    parts : Parts
    numbers : sequence of int
        Those that are read.
    pieces_of : function
        Gives what reads X, y and weights piece by piece; its last argument stands before X in errors.
    """

    def __init__(
        self, parts: Parts, numbers: Sequence[int], pieces_of: Callable[[Any, Any, Any, str], Pieces]
    ) -> None:
        self._each: list[tuple[str, Pieces]] = []
        for number in numbers:
            name = parts.names[number]
            found = pieces_of(*parts.opened(number), f"{name}: ")
            if not found.lasts:
                raise TypeError(
                    f"{name} must be something that can be read in every epoch, got {found.described()}, "
                    "which is at its end then: a function of the epoch makes it anew"
                )
            self._each.append((name, found))
        counts = [found.n_samples for _, found in self._each]
        self.n_samples = None if None in counts else sum(n for n in counts if n is not None)
        self._words = repr(parts)

    def units(self, rows: int) -> NDArray[np.int64] | None:
        each = [found.units(rows) for _, found in self._each]
        known = [sizes for sizes in each if sizes is not None]
        return np.concatenate(known) if len(known) == len(each) else None

    def read(self, unit: int, rows: int, epoch: int) -> Iterator[Piece]:
        for name, found, own in self._read_from(unit, rows):
            for piece in found.read(own, rows, epoch):
                yield piece._replace(place=f" of {name}{piece.place}")

    def _read_from(self, unit: int, rows: int) -> Iterator[tuple[str, Pieces, int]]:
        """Of what a unit is made: all parts, where nobody knows how long one of them is."""
        each = [found.units(rows) for _, found in self._each]
        whole = any(sizes is None for sizes in each)
        for (name, found), sizes in zip(self._each, each, strict=True):
            count = 1 if sizes is None else len(sizes)
            if whole:
                yield from ((name, found, own) for own in range(count))
            elif unit < count:
                yield name, found, unit
                return
            else:
                unit -= count

    def described(self) -> str:
        return self._words
