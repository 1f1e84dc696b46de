"""Data in parts, as each of several processes reads them: the shards that it computes, and no others.

Rank 0 asks, all do the same at the same time, itself included, and it gets what each has found. X stays where
it was read; targets, weights and the order of samples go to rank 0, which makes batches of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire._checked import checked, checked_inputs, checked_targets
from rewire._computing import check_inputs
from rewire._inputs import CsrSource, DenseSource, Source
from rewire._moments import Extremes, Moments
from rewire._shards import shards_for
from rewire.losses import Loss, Targets
from rewire.standardizer import Standardizer
from rewire.streams.ahead import Ahead
from rewire.streams.joined import Columns, Joined
from rewire.streams.joining import Gathered, Samples
from rewire.streams.kinds import joined
from rewire.streams.parts import Parts
from rewire.streams.pieces import Piece
from rewire.streams.stream import in_order, in_range, shown
from rewire.streams.windows import Cut, Window, windows

__all__ = ["Counted", "Expected", "ShardReader", "ShardWindow"]

_SHARD = 0x53686172  # "Shar": keeps the order of samples of shards apart


class Expected(NamedTuple):
    """What the network takes.

    Attributes
    ----------
    n_in, n_out : int
    dtype : str
    standardizer : Standardizer or None
        What brings inputs into the range of this dtype.
    in_units : bool
        Whether rank 0 looks at the range of targets, in other units.
    """

    n_in: int
    n_out: int
    dtype: str
    standardizer: Standardizer | None
    in_units: bool


class Counted(NamedTuple):
    """What is known of a shard whose parts have been opened once.

    Attributes
    ----------
    n_samples : int or None
        None where that shows in the end only.
    first : (str, tuple of str or None)
        A part that has columns, and these.
    """

    n_samples: int | None
    first: tuple[str, Columns]


class ShardWindow(NamedTuple):
    """Samples of the shards of a process that are in its memory, one shard after the other.

    Attributes
    ----------
    orders : list of ndarray of int64
        By shard, its rows in the order in which they are learnt from.
    samples : list of int
        By shard.
    targets : Targets or None
        Of all of them; None where there are none.
    weight : ndarray of float64 or None
    sparse : bool
        Whether X is.
    """

    orders: list[NDArray[np.int64]]
    samples: list[int]
    targets: Targets | None
    weight: NDArray[np.float64] | None
    sparse: bool


class ShardReader:
    """Reads the shards of one process.

    Parameters
    ----------
    parts : Parts
    loss : Loss
    rank, size : int
        Of the process, and how many there are.

    Attributes
    ----------
    parts : Parts
    source, targets : Source, Targets
        The samples of the present window.
    """

    source: Source
    targets: Targets

    def __init__(self, parts: Parts, loss: Loss, rank: int, size: int) -> None:
        self.parts, self._loss, self._rank, self._size = parts, loss, rank, size
        self._shards: dict[int, Joined] = {}
        self._ahead: Ahead[tuple[Samples | None, ShardWindow]] | None = None

    def count(self, shards: int) -> list[Counted]:
        """Open the parts of its shards, each once."""
        self.close()
        own = shards_for(self._rank, self._size, shards)
        self._shards = {k: joined(self.parts, range(k, len(self.parts), shards)) for k in own}
        return [Counted(one.n_samples, one.first) for one in self._shards.values()]

    def shown(self, what: str, expected: Expected, most: int) -> list[tuple[Moments, Extremes] | None]:
        """Moments and extremes of ``"inputs"`` or ``"targets"``, by shard; None for one without weight.

        Of a shard whose length nobody knows so many samples are looked at, ``most``, as an epoch has.
        """
        found = []
        for pieces in self._shards.values():
            count = most if pieces.n_samples is None else pieces.n_samples
            with Ahead(self._sources(pieces, what, expected, count)) as parts:
                found.append(shown(parts))
        return found

    def _sources(
        self, pieces: Joined, what: str, expected: Expected, most: int
    ) -> Iterator[tuple[Source, NDArray[np.float64] | None]]:
        """What is looked at, piece by piece."""
        at = 0
        if not most:
            return
        for piece in in_order(pieces, expected.n_in):
            if at >= most:
                return
            at += piece.samples()
            if what == "inputs":
                yield checked_inputs(piece, expected.n_in)
            else:
                some = self._checked(piece, expected)
                yield some.targets.source(), some.weight

    def _checked(self, piece: Piece, expected: Expected) -> Samples:
        dtype = None if expected.in_units else expected.dtype
        check = partial(checked_targets, loss=self._loss, n_out=expected.n_out, dtype=dtype)
        return checked(piece, expected.n_in, check)

    # --- an epoch -----------------------------------------------------------------------------

    def begin(self, cut: Cut, expected: Expected, epoch: int, made: int) -> None:
        """Begin to read an epoch of which so many batches are behind it, as many of each shard."""
        self.close()
        self.source, self.targets = _nothing(expected.n_in)
        within = partial(check_inputs, standardizer=expected.standardizer, dtype=expected.dtype)
        wrap = in_range(partial(self._checked, expected=expected), within)
        each: list[Iterator[Window]] = []
        most = 0
        for number, pieces in self._shards.items():
            words = np.random.SeedSequence([cut.seed, _SHARD, number])
            own = cut._replace(seed=int(words.generate_state(1, np.uint64)[0]))
            done = made * cut.batch // cut.window * cut.window
            at_end = pieces.n_samples is not None and done >= pieces.n_samples
            each.append(iter(()) if at_end else windows(pieces, wrap, own, epoch, done, made))
            most += cut.window if pieces.n_samples is None else min(cut.window, pieces.n_samples)
        self._ahead = Ahead(_together(each, most))
        self._ahead.__enter__()

    def next(self) -> ShardWindow:
        """Let the next window be the present one."""
        assert self._ahead is not None
        some, found = next(self._ahead)
        if some is not None:
            self.source, self.targets = some.source, some.targets
        return found

    def close(self) -> None:
        """Read no further."""
        if self._ahead is not None:
            self._ahead.__exit__(None, None, None)
            self._ahead = None


def _nothing(n_in: int) -> tuple[Source, Targets]:
    """Samples of a process whose shards are at their end when an epoch is gone on with."""
    source = DenseSource(np.empty((0, n_in), np.float32))
    source.largest = 0.0
    return source, Targets(values=np.empty((0, 1)))


def _together(each: list[Iterator[Window]], most: int) -> Iterator[tuple[Samples | None, ShardWindow]]:
    """The windows of all shards, of so many samples at most, as long as somebody asks."""
    gathered = Gathered(most)
    while True:
        orders, samples = [], []
        for one in each:
            found = next(one, None)
            orders.append(np.empty(0, np.int64) if found is None else found.order)
            samples.append(0 if found is None else found.samples.source.n_samples)
            if found is not None:
                gathered.add(found.samples)
            del found
        some = gathered.taken() if gathered.samples else None
        source, targets, weight = (None, None, None) if some is None else some
        yield some, ShardWindow(orders, samples, targets, weight, isinstance(source, CsrSource))
