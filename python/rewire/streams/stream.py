"""Data that come in pieces, as a trainer has them: checked for its network and loss."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from rewire._format import plural
from rewire._inputs import Source
from rewire._moments import Extremes, Moments, quiet
from rewire._warn import warn
from rewire.streams.ahead import Ahead
from rewire.streams.joining import Gathered, Samples
from rewire.streams.pieces import UNITS, Piece, Pieces, window_of
from rewire.streams.windows import Cut, Window, steps_of, windows

__all__ = ["BATCH", "Seen", "Stream", "in_order", "in_range", "seen", "shown"]

BATCH = 128  # samples of a batch where nobody has said how many


class Seen(Source):
    """What one pass has shown of inputs, for whoever learns their mean and deviation."""

    def __init__(self, moments: Moments, extremes: Extremes, name: str) -> None:
        self._shown, self.name = (moments, extremes), name
        self.n_samples, self.n_features = moments.rows, len(moments.mean)

    def _moments(self, weight: NDArray[np.float64] | None) -> tuple[Moments, Extremes]:
        """Of all that was seen, each sample with the weight that it came with."""
        return self._shown

    def extremes(self, weight: NDArray[np.float64] | None = None) -> Extremes:
        """Likewise."""
        return self._shown[1]


def shown(
    parts: Iterable[tuple[Source, NDArray[np.float64] | None]],
) -> tuple[Moments, Extremes] | None:
    """What a pass over inputs, and the weights of their samples, shows; None if none has weight."""
    moments, extremes = None, None
    with quiet():
        for source, weight in parts:
            if weight is not None and not weight.any():
                continue
            found, ends = source.seen(weight)
            moments = found if moments is None else moments.merged(found)
            extremes = ends if extremes is None else extremes.merged(ends)
    return None if moments is None or extremes is None else (moments, extremes)


def seen(parts: Iterable[tuple[Source, NDArray[np.float64] | None]]) -> Seen:
    """The same as a source; ValueError if no sample has weight."""
    found = shown(parts)
    if found is None:
        raise ValueError("sample_weight must have a positive sum, got 0")
    return Seen(*found, "X")


def in_order(pieces: Pieces, n_features: int, rows: int = 1, steps: int | None = None) -> Iterator[Piece]:
    """All pieces once, in order, of a multiple of so many rows where that can be chosen.

    At most ``steps`` of what gives batches; ValueError if there are fewer, or none.
    """
    most = max(1, window_of(n_features) // (2 * rows)) * rows
    sizes = pieces.units(most)
    number = 0
    for unit in range(1 if sizes is None else len(sizes)):
        for piece in pieces.read(unit, most, 0):
            yield piece
            number += 1
            if number == steps:
                return
    if steps is not None:
        raise ValueError(f"steps is {steps}, and X gave {plural(number, 'batch', 'batches')}")
    if not number:
        raise ValueError(f"X must have at least one row, got {pieces.described()} that gives none")


def in_range(wrap: Callable[[Piece], Samples], check: Callable[[Source], None]) -> Callable[[Piece], Samples]:
    """What also checks the range of inputs, piece by piece: of a window nobody knows which row was where."""

    def wrapped(piece: Piece) -> Samples:
        some = wrap(piece)
        check(some.source)
        return some

    return wrapped


class Stream:
    """Data that come in pieces.

    Parameters
    ----------
    pieces : Pieces
    wrap : function
        Gives a piece as checked data.
    n_features : int
        What the network takes.
    check : function
        Of inputs that are about to be learnt from: ValueError where one is out of the network's range.

    Attributes
    ----------
    n_samples : int or None
        None where nobody knows.
    lasts : bool
        Whether an epoch can be read more than once.
    """

    def __init__(
        self, pieces: Pieces, wrap: Callable[[Piece], Samples], n_features: int,
        check: Callable[[Source], None],
    ) -> None:  # fmt: skip
        self.pieces, self.wrap, self.n_features, self._check = pieces, wrap, n_features, check
        self.n_samples, self.lasts = pieces.n_samples, pieces.lasts

    # --- training ---------------------------------------------------------------------------

    def cut(
        self, batch: int | None, window: int | None, steps: int | None, shuffle: bool, seed: int, *,
        trainings: int, every: int,
    ) -> Cut:  # fmt: skip
        """How an epoch of it is cut; arguments are those of ``fit``, which have been checked.

        Parameters
        ----------
        trainings, every : int
            How many learn alone, and for how many steps.

        Raises
        ------
        ValueError
            Where the number of steps is not known, or there are fewer.

        Warns
        -----
        UserWarning
            Where chunks are larger than a window, and read many times.
        """
        n = self.n_samples
        if self.pieces.ready and batch is None and window is None:
            if trainings > 1 or every > 1:
                raise ValueError(
                    "batch_size must be given where several trainings learn alone from X that gives batches: "
                    "these are cut anew"
                )
            return Cut(0, 0, 0, False, self._steps(steps, self.pieces.length), seed)
        batch = min(BATCH if batch is None else batch, n or 2**62)
        step = batch * trainings
        whole = step * every
        size = window_of(self.n_features) if window is None else window
        if self.pieces.ready and window is None:
            size, shuffle = whole, False  # the order is that of whoever has made the batches
        size = -(-max(size, 1) // whole) * whole
        self._warn_of_chunks(size)
        return Cut(batch, step, size, shuffle, self._steps(steps, None if n is None else -(-n // step)), seed)

    def _warn_of_chunks(self, window: int) -> None:
        """A block of a window has all of its chunk read."""
        rows, n = max(1, window // UNITS), self.n_samples or 0
        chunk = min(self.pieces.chunk or 0, n)
        if n > window and chunk > UNITS * rows:
            warn(
                f"X, {self.pieces.described()}, has chunks of {chunk} rows, which is more than a window of "
                f"{window} samples: each is read {-(-chunk // rows)} times in an epoch. Smaller chunks, or "
                f"window={chunk} in fit, have it read once",
                UserWarning,
            )

    def _steps(self, asked: int | None, there: int | None) -> int:
        """Steps of an epoch; ValueError where nobody can know how many there are."""
        if asked is None and there is None:
            why = f"{self.pieces.described()} has no len()"
            if self.pieces.length is not None:
                why = (
                    "batches are cut anew where batch_size or window is given, and nobody knows how many "
                    "samples X has: without these its own batches stay"
                )
            raise ValueError(f"steps_per_epoch must be given to fit, for {why}; got None")
        return steps_of(asked, there)

    def reading(
        self, cut: Cut, epoch: int, done: int, made: int
    ) -> contextlib.AbstractContextManager[Iterator[Window]]:
        """The windows of an epoch of which so many samples are behind it, in so many batches, one ahead."""
        wrap = in_range(self.wrap, self._check)
        return Ahead(windows(self.pieces, wrap, cut, epoch, done, made))

    # --- one pass in order ------------------------------------------------------------------

    def blocks(self, rows: int, steps: int | None = None) -> Iterator[Samples]:
        """All samples once: see :func:`in_order`."""
        return map(self.wrap, in_order(self.pieces, self.n_features, rows, steps))

    def seen(self, cut: Cut) -> Seen:
        """What a pass over the inputs shows of them; in bits of an array if all of them fit into a window."""
        self._refuse_one_pass("standardize", "X", "learn_inputs")
        with Ahead((some.source, some.weight) for some in self._pass(cut)) as parts:
            return seen(parts)

    def seen_targets(self, cut: Cut) -> Seen:
        """The same of targets that are numbers."""
        self._refuse_one_pass("standardize_targets", "y", "learn_targets")
        with Ahead((some.targets.source(), some.weight) for some in self._pass(cut)) as parts:
            return seen(parts)

    def _refuse_one_pass(self, what: str, data: str, cure: str) -> None:
        if not self.lasts:
            raise ValueError(
                f"{what} takes a pass over {data}, which can be read only once: call {cure}(...) with a "
                "sample of it before, or give a function that makes it"
            )

    def _pass(self, cut: Cut) -> Iterator[Samples]:
        """All samples of an epoch, at once if they fit into a window."""
        blocks: Iterator[Samples] = islice(self.blocks(1), cut.steps if self.pieces.ready else None)
        if self.n_samples is not None and self.n_samples <= cut.window:
            blocks = _whole(blocks, self.n_samples)
        return blocks

    def described(self) -> str:
        """Words that are equal for equal data, as far as can be told without reading them."""
        return self.pieces.described()


def _whole(blocks: Iterable[Samples], samples: int) -> Iterator[Samples]:
    """All of them at once."""
    gathered = Gathered(samples)
    for some in blocks:
        gathered.add(some)
    yield gathered.taken()
