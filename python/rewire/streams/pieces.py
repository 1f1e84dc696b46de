"""What data that come piece by piece are to those who read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNITS", "Outline", "Piece", "Pieces", "window_of"]

WINDOW = 1 << 23  # values of X that are in a window where nobody has said how many samples: 32 MiB of float32
UNITS = 32  # that a window is made of, from all over the data, where these can be cut as one likes


def window_of(n_features: int) -> int:
    """Samples of a window where nobody has said how many."""
    return max(1, WINDOW // max(1, n_features))


class Piece(NamedTuple):
    """Some samples, as they come from wherever they are; nothing is checked yet.

    Attributes
    ----------
    x, y, weight : object
        Whatever stands for an array; y and weight may be None.
    place : str
        What an error says behind ``X`` and ``y``, such as ``[128:256]``.
    """

    x: Any
    y: Any
    weight: Any
    place: str

    def samples(self) -> int:
        """How many; 0 where x is no array."""
        shape = getattr(self.x, "shape", None)
        try:
            return int(shape[0]) if shape else len(self.x)
        except TypeError:
            return 0


class Outline(NamedTuple):
    """What is known of data that have been opened, and may be closed again.

    Attributes
    ----------
    n_samples, chunk
        As of :class:`Pieces`.
    groups : ndarray of int64 or None
        Samples of each unit, where somebody else has cut these.
    columns : tuple of str or None
        Their names, in order, where they have any.
    """

    n_samples: int | None
    chunk: int | None
    groups: NDArray[np.int64] | None
    columns: tuple[str, ...] | None

    def units(self, rows: int) -> NDArray[np.int64] | None:
        """As of :class:`Pieces`."""
        if self.n_samples is None or self.groups is not None:
            return self.groups
        return np.diff(np.append(np.arange(0, self.n_samples, self.aligned(rows)), self.n_samples))

    def aligned(self, rows: int) -> int:
        """So many rows, in whole chunks of a file unless these are large: none is read for a part of it."""
        chunk = self.chunk
        return rows if chunk is None or chunk > UNITS * rows else -(-rows // chunk) * chunk


class Pieces:
    """Base of all kinds. A subclass says how many units there are, and reads them.

    Attributes
    ----------
    n_samples : int or None
        None where that shows in the end only.
    n_features : int or None
        None where pieces show it.
    chunk : int or None
        Rows of X that are stored, or computed, together; None where nothing is known.
    groups, columns
        As of :class:`Outline`.
    length : int or None
        Pieces in an epoch, where these are batches that somebody else has made; None if nobody knows.
    lasts : bool
        Whether an epoch can be read more than once.
    ready : bool
        Whether pieces are batches that somebody else has made.
    moved : bool
        Whether they stand where a call before has left them, for what can be read only once: what was read
        ahead then is lost, and nothing is passed over.
    """

    n_samples: int | None = None
    n_features: int | None = None
    chunk: int | None = None
    groups: NDArray[np.int64] | None = None
    columns: tuple[str, ...] | None = None
    length: int | None = None
    lasts: bool = True
    ready: bool = False
    moved: bool = False

    def outline(self) -> Outline:
        """All that is known without reading on."""
        return Outline(self.n_samples, self.chunk, self.groups, self.columns)

    def units(self, rows: int) -> NDArray[np.int64] | None:
        """Samples of each unit, where pieces are to have about so many rows; None: one of unknown length."""
        return self.outline().units(rows)

    def shuffled(self, rows: int, permuted: Callable[..., NDArray[np.int64]]) -> NDArray[np.int64]:
        """The order in which a shuffled epoch reads units; ``permuted(n, ...)`` gives numbers below n."""
        units = self.units(rows)
        return np.arange(1) if units is None else permuted(len(units))

    def read(self, unit: int, rows: int, epoch: int) -> Iterator[Piece]:
        """The pieces of a unit, of about so many rows where that can be chosen."""
        raise NotImplementedError

    def described(self) -> str:
        """Words for a message, equal for equal data as far as can be told without reading them."""
        raise NotImplementedError
