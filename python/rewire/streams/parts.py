"""Data in many parts, files say, of which each process reads those of its own shards.

Shards decide the bits, not processes: shard k of n has parts k, k + n, k + 2n and so on.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire._digest import take_array
from rewire._mapped import is_mapped, mapped_array, place_in_file

__all__ = ["Parts", "Sent", "arrived"]

Sent = tuple[list[Any], bytes | None]  # what parts are told by, and what reads them


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

    def of_shards(self, first: int, end: int, shards: int) -> Parts:
        """The parts of shards [first, end) of so many."""
        numbers = [k for k in range(len(self)) if first <= k % shards < end]
        found = Parts([self._given[k] for k in numbers], self._read)
        found.names = tuple(self.names[k] for k in numbers)
        return found

    def described(self) -> str:
        """Words that are equal for equal parts, as far as can be told without opening them."""
        found = hashlib.blake2b(digest_size=16)
        for one in (*self._given, self._read):
            _take(one, found.update)
        return f"{len(self)} parts, {found.hexdigest()}"

    def sent(self, pack: Callable[[Any], bytes]) -> Sent:
        """What another process makes them of, by :func:`arrived`.

        Arrays stay arrays, so that all may share their memory; what lies in a mapped file is told by its
        place there; ``pack`` gives bytes of all else.

        Raises
        ------
        TypeError
            Where a mapped array has no such place.
        """
        read = None if self._read is None else pack(self._read)
        return [_sent(one, pack) for one in self._given], read

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Refused: whoever asks would have all parts in memory, and does not know which columns are y."""
        raise TypeError(
            f"X must be an array here, got {self!r}: parts are for fit and evaluate of a Trainer, and "
            "predict of a network"
        )


def arrived(found: Sent) -> Parts:
    """Parts in the process that they were sent to."""
    given, read = found
    return Parts([_arrived(one) for one in given], None if read is None else pickle.loads(read))


class _Place(NamedTuple):
    """Where an array lies."""

    path: str
    offset: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Packed(NamedTuple):
    """What has been pickled by itself."""

    data: bytes


def _take(thing: Any, update: Callable[[bytes], None]) -> None:
    """Let a digest have what tells a part from others, and is the same in every process.

    Of an array in a file that is its place there; of what has no words of its own the class alone.
    """
    if isinstance(thing, (tuple, list)):
        update(f"{len(thing)} things".encode())
        for one in thing:
            _take(one, update)
    elif isinstance(thing, partial):
        _take((thing.func, thing.args, sorted(thing.keywords.items())), update)
    elif isinstance(thing, np.ndarray):
        place = place_in_file(thing)
        if place is None and not thing.dtype.hasobject:
            take_array(thing, update)
        else:
            update(f"{thing.dtype} {thing.shape} {place}".encode())
    else:
        kind = type(thing)
        plain = isinstance(thing, (str, bytes, int, float, np.generic, PurePath, type(None)))
        update(f"{getattr(thing, '__qualname__', kind.__qualname__)} {thing if plain else ''!r}".encode())


def _sent(thing: Any, pack: Callable[[Any], bytes]) -> Any:
    if type(thing) is tuple:
        return tuple(_sent(one, pack) for one in thing)
    if type(thing) not in (np.ndarray, np.memmap) or thing.dtype.hasobject or not thing.ndim:
        return thing if isinstance(thing, (str, int, float, type(None))) else _Packed(pack(thing))
    if not is_mapped(thing):
        return np.ascontiguousarray(thing)
    place = place_in_file(thing)
    if place is None:
        raise TypeError(
            f"an array of shape {thing.shape} lies in a mapped file, and not row by row, or with changes "
            "of this process alone: other processes would get a copy; give names of files, and read=..., "
            "which opens one"
        )
    return _Place(*place, thing.dtype.str, thing.shape, thing.strides)


def _arrived(thing: Any) -> Any:
    """The other way round."""
    if isinstance(thing, _Packed):
        return pickle.loads(thing.data)
    if isinstance(thing, _Place):
        return mapped_array(*thing)
    return tuple(map(_arrived, thing)) if type(thing) is tuple else thing
