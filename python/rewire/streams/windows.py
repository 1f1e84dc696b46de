"""The order of an epoch of data that come in pieces: which samples are in which window, and in which order.

It is a function of the seed, the epoch and the :class:`Cut` alone, so that an epoch can be gone on with in
its middle: what is behind it is passed over, and not read where units can be left out. Data that fit into one
window have the order of an array in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire._format import plural
from rewire._moments import SampleWeights
from rewire.streams.joining import Gathered, Samples, chosen
from rewire.streams.pieces import UNITS, Piece, Pieces

__all__ = ["SHUFFLE", "Cut", "Window", "permutation", "steps_of", "windows"]

SHUFFLE = 0x53687566  # "Shuf": keeps the order of samples apart from other uses of the seed
_UNITS = 0x556E6974  # "Unit": the order in which these are read


class Cut(NamedTuple):
    """How data are cut.

    Attributes
    ----------
    batch : int
        Samples of a batch; 0 where pieces are batches.
    step : int
        Samples that a step of the epoch takes: as many batches as trainings learn alone.
    window : int
        Samples that are shuffled together, a multiple of a step; 0 where pieces are batches.
    shuffle : bool
    steps : int
        Of an epoch.
    seed : int
    """

    batch: int
    step: int
    window: int
    shuffle: bool
    steps: int
    seed: int


class Window(NamedTuple):
    """Samples in memory, from which batches are cut.

    Attributes
    ----------
    samples : Samples
    weight : SampleWeights
    order : ndarray of int64
        The rows of the samples, in the order in which they are learnt from.
    first : int
        Samples of the epoch before it.
    batch : int
        Samples of a batch.
    bases : tuple of int or None
        Where the rows of each shard begin, if each has samples of its own.
    step : int or None
        Samples of a step of all trainings, where some are at their end and this is no batch of each.
    """

    samples: Samples
    weight: SampleWeights
    order: NDArray[np.int64]
    first: int
    batch: int
    bases: tuple[int, ...] | None = None
    step: int | None = None


def steps_of(asked: int | None, there: int | None) -> int:
    """Steps of an epoch, those that were asked for if any were; ValueError where there are fewer."""
    if asked is not None and there is not None and asked > there:
        raise ValueError(f"steps_per_epoch must be at most {there}, as many as X has batches, got {asked}")
    return asked or there or 0


def permutation(n: int, *words: int) -> NDArray[np.int64]:
    """Numbers below n in an order that these words say."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(list(words)))).permutation(n)


def windows(
    pieces: Pieces, wrap: Callable[[Piece], Samples], cut: Cut, epoch: int, done: int, made: int
) -> Iterator[Window]:
    """The windows of an epoch of which so many samples are behind it, in so many batches.

    Raises
    ------
    ValueError
        If there are fewer batches than an epoch has steps, or others than those that are behind it.
    """
    if not cut.window:
        yield from _batches(pieces, wrap, cut, epoch, done, made)
        return
    n, size = pieces.n_samples, cut.window
    one = n is not None and n <= size
    last = cut.steps * cut.step  # samples of the epoch
    if n is not None:  # all of one window are read, for any of them may be among these
        last = n if one else min(n, last)
    first = done // size * size
    gathered = Gathered(min(size, last - first) if last > first else 1)
    for some in _read(pieces, wrap, cut, epoch, first, shuffled=cut.shuffle and not one):
        at = 0
        while at < some.source.n_samples and first < last:
            most = min(size, last - first)
            room = most - gathered.samples
            gathered.add(chosen(some, slice(at, at + room)))
            at += room
            if gathered.samples >= most:
                yield _window(gathered.taken(), cut, epoch, first, one)
                first += most
        if first >= last:
            return
    batches = -(-(first + gathered.samples) // cut.step)
    if first < last and batches < cut.steps:
        _refuse_fewer(pieces, batches, cut.steps, epoch)
    if first < last:
        yield _window(gathered.taken(), cut, epoch, first, one)  # the last batch is a smaller one


def _window(samples: Samples, cut: Cut, epoch: int, first: int, one: bool) -> Window:
    n = samples.source.n_samples
    if not cut.shuffle or (one and cut.batch >= n):  # within a batch the order is nothing but rounding
        order = np.arange(n)
    elif one:
        order = permutation(n, cut.seed, epoch, SHUFFLE)
    else:
        order = permutation(n, cut.seed, epoch, SHUFFLE, 1 + first // cut.window)
    return Window(
        samples, SampleWeights(samples.weight), order[: cut.steps * cut.step - first], first, cut.batch
    )


def _read(
    pieces: Pieces, wrap: Callable[[Piece], Samples], cut: Cut, epoch: int, first: int, *, shuffled: bool
) -> Iterator[Samples]:
    """All samples from one of the epoch on, in the order in which they are read."""
    rows = max(1, cut.window // UNITS)
    sizes = pieces.units(rows)
    order = np.arange(1 if sizes is None else len(sizes))
    if shuffled and sizes is not None:
        order = pieces.shuffled(rows, lambda n, *more: permutation(n, cut.seed, epoch, _UNITS, *more))
    at = first if pieces.moved else 0
    for unit in order.tolist():
        if sizes is not None and at + sizes[unit] <= first:
            at += int(sizes[unit])
            continue
        for piece in pieces.read(unit, rows, epoch):
            n = piece.samples()
            if n and at + n <= first:
                at += n
                continue
            some = wrap(piece)
            yield chosen(some, slice(first - at, None)) if at < first else some
            at += n


def _batches(
    pieces: Pieces, wrap: Callable[[Piece], Samples], cut: Cut, epoch: int, done: int, made: int
) -> Iterator[Window]:
    """Each piece is a batch, and a window."""
    at, begin = (done, made) if pieces.moved else (0, 0)
    number = begin
    if number == cut.steps:
        return
    for number, piece in enumerate(pieces.read(0, 0, epoch), begin + 1):
        n = piece.samples()
        if not n or at >= done:
            some = wrap(piece)
            yield Window(some, SampleWeights(some.weight), np.arange(n), at, n)
        elif at + n > done:
            raise ValueError(
                f"X must give the batches of epoch {epoch} as before: {plural(done, 'sample')} of it are "
                f"behind, which is no whole number of these batches"
            )
        at += n
        if number == cut.steps:
            return
    _refuse_fewer(pieces, number, cut.steps, epoch)


def _refuse_fewer(pieces: Pieces, found: int, steps: int, epoch: int) -> None:
    cure = "" if pieces.lasts else "; it is at its end, and a function that makes it never is"
    batches = plural(found, "batch", "batches")
    raise ValueError(
        f"steps_per_epoch must be at most what X gives, {batches} in epoch {epoch}, got {steps}{cure}"
    )
