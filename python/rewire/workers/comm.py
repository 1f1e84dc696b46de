"""What workers talk by: four things that every engine has, and messages made of Python objects.

A communicator only hands bytes on. Sums are made by us, in the order of the tree in `_shards.py`: a library
may add in any order. Rank 0 trains and decides; it says what is to be done (`bcast`), everybody does a part
of it, and rank 0 gets what was found (`gather`). These two take turns.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, Protocol

__all__ = ["Comm", "Parts", "Talk", "parts_of", "thing_of"]

Parts = Sequence[Any]  # bytes, memoryviews, arrays of bytes: whatever gives a contiguous buffer


class Comm(Protocol):
    """One of several processes that train together."""

    rank: int
    size: int

    def bcast(self, parts: Parts | None) -> list[memoryview]:
        """What rank 0 gives, with all others; they give None. Valid until the next call."""

    def gather(self, parts: Parts) -> list[list[memoryview]]:
        """What each gives, in the order of ranks, with rank 0; nothing with others.

        Valid until the next call.

        Raises
        ------
        WorkerError
            If one of them has died, or gives no sign of life.
        """


class Talk(Comm, Protocol):
    """Those of which rank 0 can tell one alone, and hear whoever is first."""

    def tell(self, rank: int, parts: Parts) -> None:
        """Say something to one rank, which gets it as from :meth:`Comm.bcast`."""

    def receive(self, waiting: set[int]) -> tuple[int, list[memoryview]]:
        """What one of these ranks has said, whichever comes first; valid until it is told something.

        Raises
        ------
        WorkerError
            If one of all has died, or one that is waited for gives no sign of life.
        """


def parts_of(thing: Any) -> list[Any]:
    """An object as pieces of memory: arrays in it are not copied."""
    arrays: list[pickle.PickleBuffer] = []
    head = pickle.dumps(thing, protocol=5, buffer_callback=arrays.append)
    return [head, *(array.raw() for array in arrays)]


def thing_of(parts: Sequence[Any]) -> Any:
    """The object again. Arrays in it lie in the memory of the parts."""
    return pickle.loads(parts[0], buffers=parts[1:])
