"""All activations and gradients of one batch, allocated once and used again.

A layer asks for tiles by a key; the first batch allocates them, later ones find
them. A smaller batch (the last of an epoch) reshapes the same memory.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

from numpy.typing import NDArray

from rewire import _core

__all__ = ["Workspace"]


class Workspace:
    """Memory for batches of one network.

    Parameters
    ----------
    dtype : {"float32", "float64"}

    Attributes
    ----------
    batch, tile : int
        Samples in use, and samples a tile.
    scratch : _core.Scratch
        For ``backward_update``.
    """

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.batch = self.tile = 0
        self.scratch = _core.Scratch()
        self._tiles: dict[Hashable, _core.Tiles] = {}
        self._arrays: dict[Hashable, NDArray[Any]] = {}
        self._few: _core.SparseInputs | None = None
        self._rounded: dict[Hashable, _core.Rounded] = {}

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return (
            sum(t.nbytes for t in self._tiles.values())
            + sum(a.nbytes for a in self._arrays.values())
            + self.scratch.nbytes
            + (0 if self._few is None else self._few.nbytes)
            + sum(r.nbytes for r in self._rounded.values())
        )

    def shape(self, batch: int) -> None:
        """Make everything fit ``batch`` samples. Contents are lost when the number changes."""
        if batch == self.batch:
            return
        self.batch, self.tile = 0, _core.tile_size(batch, self.dtype)
        for key, tiles in list(self._tiles.items()):
            try:
                tiles.shape_to(batch, self.tile)
            except ValueError:  # does not fit: allocated afresh when asked for
                del self._tiles[key]
        self.batch = batch  # last: an interrupted call is done again

    def tiles(self, key: Hashable, n: int) -> _core.Tiles:
        """The tiles of ``n`` features that ``key`` names; new ones after a layer has become narrower."""
        tiles = self._tiles.get(key)
        if tiles is None or tiles.n != n:
            tiles = self._tiles[key] = _core.Tiles(n, self.batch, self.tile, self.dtype)
        return tiles

    def few(self, n: int) -> _core.SparseInputs:
        """Room for ``n`` features of which few are not zero."""
        if self._few is None or self._few.n != n:
            self._few = _core.SparseInputs(n, self.dtype)
        return self._few

    def rounded(self, key: Hashable, tiles: _core.Tiles, threads: int) -> _core.Rounded:
        """What ``key`` names: these tiles as they are now, rounded to bfloat16 for products."""
        found = self._rounded.setdefault(key, _core.Rounded())
        found.load(tiles, threads)
        return found

    def other(self, n: int, taken: _core.Tiles) -> _core.Tiles:
        """Tiles of ``n`` features that are not ``taken``: two of each width are enough to hand results on."""
        tiles = self.tiles(("turn", n, 0), n)
        return tiles if tiles is not taken else self.tiles(("turn", n, 1), n)

    def array(self, key: Hashable, shape: tuple[int, ...]) -> NDArray[Any]:
        """An aligned array that ``key`` names, with unspecified contents."""
        size = math.prod(shape)
        a = self._arrays.get(key)
        if a is None or a.size < size:
            a = self._arrays[key] = _core.aligned_zeros(size, self.dtype)
        return a[:size].reshape(shape)
