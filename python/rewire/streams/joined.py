"""Several parts as one: what a shard reads, or whoever goes through all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire.streams.parts import Parts
from rewire.streams.pieces import Piece, Pieces

__all__ = ["OPEN", "Columns", "Joined", "refuse_other_columns"]

OPEN = 4  # parts of a shard that are open at once: each may be a file, or memory of what `read` has given

Columns = tuple[str, ...] | None  # their names, of a part that has any


class Joined(Pieces):
    """Some parts, one after the other. Each is opened once to be counted, and when it is read; few stay open.

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
        self._parts, self._numbers, self._pieces_of = parts, list(numbers), pieces_of
        self._open: dict[int, Pieces] = {}  # the one that was read last is the last
        self._ends: dict[int, NDArray[np.int64]] = {}  # by rows, the unit behind each part
        self._outlines = {number: self._opened(number).outline() for number in self._numbers}
        self.first: tuple[str, Columns] = "", None  # with columns
        for number, one in self._outlines.items():
            name = parts.names[number]
            refuse_other_columns(self.first, name, one.columns)
            if self.first[1] is None:
                self.first = name, one.columns
        counts = [one.n_samples for one in self._outlines.values()]
        self.n_samples = None if None in counts else sum(n for n in counts if n is not None)

    def _opened(self, number: int) -> Pieces:
        """A part, which was open or is opened."""
        found = self._open.pop(number, None)
        if found is None:
            while len(self._open) >= OPEN:
                del self._open[next(iter(self._open))]
            name = self._parts.names[number]
            found = self._pieces_of(*self._parts.opened(number), f"{name}: ")
            if not found.lasts:
                raise TypeError(
                    f"{name} must be something that can be read in every epoch, got {found.described()}, "
                    "which is at its end then: a function of the epoch makes it anew"
                )
        self._open[number] = found
        return found

    def _each(self, rows: int) -> list[NDArray[np.int64] | None]:
        return [one.units(rows) for one in self._outlines.values()]

    def units(self, rows: int) -> NDArray[np.int64] | None:
        each = self._each(rows)
        known = [sizes for sizes in each if sizes is not None]
        return np.concatenate(known) if len(known) == len(each) else None

    def shuffled(self, rows: int, permuted: Callable[..., NDArray[np.int64]]) -> NDArray[np.int64]:
        """Units of some parts at a time, as many as may be open: none is opened twice in an epoch."""
        if self.n_samples is None:
            return np.arange(1)
        counts = np.array([0 if sizes is None else len(sizes) for sizes in self._each(rows)])
        firsts, some = np.cumsum(counts) - counts, np.flatnonzero(counts)
        if len(some) <= OPEN:
            return permuted(int(counts.sum()))
        some = some[permuted(len(some))]
        order = []
        for at in range(0, len(some), OPEN):
            units = np.concatenate([firsts[k] + np.arange(counts[k]) for k in some[at : at + OPEN]])
            order.append(units[permuted(len(units), at + 1)])
        return np.concatenate(order)

    def read(self, unit: int, rows: int, epoch: int) -> Iterator[Piece]:
        for number, own in self._read_from(unit, rows):
            name, known = self._parts.names[number], self._outlines[number]
            found = self._opened(number)
            if (found.n_samples, found.columns) != (known.n_samples, known.columns):
                raise ValueError(
                    f"{name} must stay as it is while it is learnt from, got {found.n_samples} samples where "
                    f"there were {known.n_samples}, or other columns"
                )
            for piece in found.read(own, rows, epoch):
                yield piece._replace(place=f" of {name}{piece.place}")

    def _read_from(self, unit: int, rows: int) -> Iterator[tuple[int, int]]:
        """Of what a unit is made, number by number: all parts, where nobody knows how long one of them is."""
        if self.n_samples is None:
            for number, sizes in zip(self._numbers, self._each(rows), strict=True):
                yield from ((number, own) for own in range(1 if sizes is None else len(sizes)))
            return
        if rows not in self._ends:
            self._ends = {rows: np.cumsum([0 if sizes is None else len(sizes) for sizes in self._each(rows)])}
        at = int(np.searchsorted(self._ends[rows], unit, side="right"))
        yield self._numbers[at], unit - (int(self._ends[rows][at - 1]) if at else 0)

    def described(self) -> str:
        return repr(self._parts)


def refuse_other_columns(first: tuple[str, Columns], name: str, columns: Columns) -> None:
    """ValueError where a part has columns, and others than the first one, or in another order."""
    there, expected = first
    if columns is None or expected is None or columns == expected:
        return
    each = enumerate(zip(columns, expected, strict=False))
    number = next((i for i, (one, other) in each if one != other), None)
    what = f"{len(columns)} columns for {len(expected)}"
    if number is not None:
        what = f"{columns[number]!r} for {expected[number]!r} as column {number}"
    raise ValueError(
        f"{name} must have the columns of {there}, in their order, got {what}; read=... of "
        "rewire.datasets.parts can choose columns"
    )
