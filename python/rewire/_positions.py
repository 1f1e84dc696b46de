"""Positions as numbers, for rules and connectivities in NumPy.

A *position* is group * n_in + source, connected or not. Ascending positions are in the store's order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core

__all__ = [
    "Positions", "decode", "groups_of", "positions_of", "sample_excluding", "store_at", "encode", "weighted",
    "difference",
]  # fmt: skip

Positions = NDArray[np.int64]


def groups_of(store: _core.Store) -> NDArray[np.int64]:
    """The group of every slot, shape (slots,)."""
    return np.repeat(np.arange(store.n_groups), np.diff(store.indptr()))


def positions_of(store: _core.Store) -> Positions:
    """The position of every slot, ascending, shape (slots,)."""
    return encode(groups_of(store), store.sources(), store.n_in)


def encode(groups: NDArray[Any], sources: NDArray[Any], n_in: int) -> Positions:
    """Groups and sources as positions."""
    return groups.astype(np.int64) * n_in + sources


def decode(positions: Positions, n_in: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Positions as groups and sources, as plans take them."""
    groups, sources = np.divmod(positions, n_in)
    return groups.astype(np.int32), sources.astype(np.int32)


def difference(positions: Positions, others: Positions) -> tuple[Positions, NDArray[np.int64]]:
    """The ascending positions that are not in ``others``, and the indices at which to insert them."""
    at = np.searchsorted(others, positions)
    new = np.ones(positions.size, bool)
    inside = at < others.size
    new[inside] = others[at[inside]] != positions[inside]
    return positions[new], at[new]


def weighted(chances: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``count`` numbers with these chances, ascending; all alike where the chances are zero or not finite.

    Not by ``rng.multinomial``: with a chance of 1e-17 instead of 0 it takes one random number more.
    """
    ends = np.cumsum(chances)
    if not np.isfinite(ends[-1]) or ends[-1] <= 0.0:
        ends = np.arange(1.0, len(chances) + 1.0)
    drawn = np.searchsorted(ends, rng.random(count) * ends[-1], side="right")
    drawn = np.minimum(drawn, np.searchsorted(ends, ends[-1]))  # a product may round up to the end
    return np.repeat(np.arange(len(ends)), np.bincount(drawn, minlength=len(ends)))


def store_at(like: _core.Store, groups: NDArray[np.int32], sources: NDArray[np.int32]) -> _core.Store:
    """A store of a store's shape, connected at these ascending positions alone, with weights of zero."""
    store = _core.Store(n_out=like.n_out, n_in=like.n_in, group=like.group, dtype=like.dtype)
    indptr = np.zeros(like.n_groups + 1, np.int64)
    np.cumsum(np.bincount(groups, minlength=like.n_groups), out=indptr[1:])
    store.load(indptr, sources, np.zeros((len(sources), like.group), like.dtype))
    return store


def sample_excluding(
    like: _core.Store, taken: Positions, count: int, key: tuple[int, int, int], threads: int
) -> Positions:
    """``count`` positions of a store's shape, uniformly from those that are not taken.

    ``taken`` ascends. O(taken + count) memory; (seed, stream, step) name the draw.
    """
    plan = _core.Plan(store_at(like, *decode(taken, like.n_in)))
    plan.grow_random(count, *key, threads)
    return encode(*plan.inserted(), like.n_in)
