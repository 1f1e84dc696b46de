"""The products of a sparse layer: everything that torch asks of the core's kernels.

One layer alone goes over arrays (samples, features), of any strides, by one call a direction. Layers in a row
hand tiles to each other, the layout in which the kernels compute. `Held` tiles are used again by the thread
that frees them, because fresh memory costs as much as filling it.

Products of float32 can round their operands to bfloat16 (``bf16``), as those of a `rewire.Sequential` of
bfloat16 do. They take tiles, so a layer alone packs its samples first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rewire import _core
from rewire.threads import resolve

__all__ = [
    "Gradients", "Held", "backward_input", "copied", "forward", "gradients", "held_again", "link_gradient",
    "linear", "linear_backward", "packed", "rounded_linear", "taken", "threads_for", "unpacked", "widened",
]  # fmt: skip

ALONE = 1 << 17  # multiply-adds below which waking other threads takes longer than they save
SPARE_BYTES = 1 << 28  # tiles that the main thread keeps between two calls
OF_OTHERS = 1 << 25  # and every other one: there may be many
# Samples a thread whose products of bfloat16 are turned into rows again while they are in a cache. Of fewer
# at a time weights would be rounded too often: in a layer 512 to 2048 1024 take 3.7 ms, and all at once 4.5.
AT_ONCE = 256


def _spare_bytes() -> int:
    """What this thread may keep."""
    return SPARE_BYTES if threading.current_thread() is threading.main_thread() else OF_OTHERS


def threads_for(threads: int, work: int) -> int:
    """How many of so many threads to use for ``work`` multiply-adds; the bits are the same for any number."""
    return resolve(threads) if work >= ALONE else 1


# --- one layer over arrays --------------------------------------------------------------------


class Gradients(NamedTuple):
    """What a backward pass gives; None for what nobody asked for."""

    dx: NDArray[Any] | None  # (samples, n_in)
    dw: NDArray[Any] | None  # (slots, group)
    db: NDArray[Any] | None  # (n_out,)
    tiles: tuple[_core.Tiles, _core.Tiles] | None  # x and dy, for a gradient probe


class _Scratch(threading.local):
    """Scratch of each thread: for calls over arrays, for operands that are rounded, for rows of float32."""

    def __init__(self) -> None:
        self.workspace, self.rounding, self.most = _core.Workspace(), _core.Scratch(), _spare_bytes()
        self._rows = np.empty(0, np.float32)

    def rows(self, samples: int, features: int) -> NDArray[np.float32]:
        """Memory for rows, until the next call; more than is kept is the caller's alone."""
        size = samples * features
        if size * self._rows.itemsize > self.most:
            return np.empty((samples, features), np.float32)
        if self._rows.size < size:
            self._rows = np.empty(size, np.float32)
        return self._rows[:size].reshape(samples, features)

    def bounded(self) -> None:
        """Keep no more of either than one keeps of tiles."""
        if self.workspace.nbytes > self.most:
            self.workspace = _core.Workspace()
        if self.rounding.nbytes > self.most:
            self.rounding = _core.Scratch()


_scratch = _Scratch()


def linear(
    store: _core.Store, x: NDArray[Any], bias: NDArray[Any] | None, out: NDArray[Any], threads: int
) -> None:
    """out = x W' + bias. There is at least one sample."""
    _core.rows_forward(store, x, out, bias, _scratch.workspace, threads)
    _scratch.bounded()


def rounded_linear(
    store: _core.Store, x: NDArray[Any], bias: NDArray[Any] | None, out: torch.Tensor, threads: int
) -> None:
    """The same of operands rounded to bfloat16, into a tensor (samples, n_out) of float32 or bfloat16."""
    padded = None
    if bias is not None:
        padded = _core.aligned_zeros((store.n_out + 7) // 8 * 8, store.dtype)
        padded[: store.n_out] = bias
    for first in range(0, len(x), AT_ONCE * threads):
        part = slice(first, first + AT_ONCE * threads)
        given = packed(x[part], threads)
        y = taken(given, store.n_out)
        forward(store, given.tiles, padded, y.tiles, threads, True)
        rows = _scratch.rows(given.tiles.batch, store.n_out)
        y.tiles.unpack(rows, threads)
        out[part] = torch.from_numpy(rows)


def widened(rows: torch.Tensor) -> NDArray[Any]:
    """Rows as an array; those of bfloat16 as float32, in memory that lasts until the next call."""
    if rows.dtype is not torch.bfloat16:
        found: NDArray[Any] = rows.numpy()
        return found
    wide = _scratch.rows(*rows.shape)
    torch.from_numpy(wide).copy_(rows)
    return wide


def linear_backward(
    store: _core.Store,
    dy: NDArray[Any],
    x: NDArray[Any] | None,
    threads: int,
    *,
    inputs: bool,
    bias: bool,
    keep: bool = False,
    bf16: bool = False,
) -> Gradients:
    """Gradients for the inputs if ``inputs``, for the links if there is an ``x``, and for the biases.

    With ``keep``, which needs an ``x``, the tiles of x and dy are there too. There is at least one sample.
    """
    if bf16:
        ins, outs = None if x is None else packed(x, threads), packed(dy, threads)
        back, dw, db = gradients(store, ins, outs, threads, inputs=inputs, bias=bias, bf16=True)
        shown = copied(ins.tiles, outs.tiles) if keep and ins is not None else None
        return Gradients(None if back is None else unpacked(back, threads), dw, db, shown)
    dx = np.empty((len(dy), store.n_in), store.dtype) if inputs else None
    dw = None if x is None else np.empty((store.slots, store.group), store.dtype)
    db = np.empty(store.n_out, store.dtype) if bias else None
    _core.rows_backward(store, x, dy, dx, dw, db, _scratch.workspace, threads)
    _scratch.bounded()
    if not keep or x is None:
        return Gradients(dx, dw, db, None)
    tile = _core.tile_size(len(dy), store.dtype)
    xt, dyt = (_core.Tiles(n, len(dy), tile, store.dtype) for n in (store.n_in, store.n_out))
    xt.pack(x, threads=threads)
    dyt.pack(dy, threads=threads)
    return Gradients(dx, dw, db, (xt, dyt))


# --- tiles --------------------------------------------------------------------------------------


class _Spare(threading.local):
    """Tiles of a thread that are not in use, the longest unused width first."""

    def __init__(self) -> None:
        self.tiles: OrderedDict[tuple[int, str], list[tuple[_core.Tiles, int]]] = OrderedDict()
        self.nbytes, self.most = 0, _spare_bytes()

    def take(self, n: int, batch: int, tile: int, dtype: str) -> tuple[_core.Tiles, int]:
        """Tiles of ``n`` features for so many samples, with unspecified contents, and their address."""
        kept = self.tiles.get((n, dtype))
        if kept:
            found = kept.pop()
            tiles = found[0]
            self.nbytes -= tiles.nbytes
            try:
                tiles.shape_to(batch, tile)
                return found
            except ValueError:  # too small for so many
                pass
        tiles = _core.Tiles(n, batch, tile, dtype)
        return tiles, tiles.array().ctypes.data

    def give(self, tiles: _core.Tiles, address: int) -> None:
        """Keep tiles for later calls."""
        key = tiles.n, tiles.dtype
        kept = self.tiles.get(key)
        if kept is None:
            kept = self.tiles[key] = []
        kept.append((tiles, address))
        self.tiles.move_to_end(key)
        self.nbytes += tiles.nbytes
        while self.nbytes > self.most:
            key, kept = next(iter(self.tiles.items()))
            if kept:
                self.nbytes -= kept.pop(0)[0].nbytes
            if not kept:
                del self.tiles[key]


_spare = _Spare()


class Held:
    """Tiles that are in use as long as this is there, or a tensor of it.

    Attributes
    ----------
    tiles : Tiles
    address : int
        Of the first value.
    shared : bool
        Whether somebody else reads them later: what is not shared may be written over.
    """

    __slots__ = ("__weakref__", "address", "shared", "tiles")

    def __init__(self, n: int, batch: int, tile: int, dtype: str) -> None:
        self.tiles, self.address = _spare.take(n, batch, tile, dtype)
        self.shared = False

    def __del__(self) -> None:
        if hasattr(self, "address"):  # no memory was found, otherwise
            _spare.give(self.tiles, self.address)

    def tensor(self) -> torch.Tensor:
        """The tiles themselves, shape (n_tiles, n, tile), as a tensor that holds this."""
        tiles = self.tiles
        size = 4 if tiles.dtype == "float32" else 8
        row = tiles.tile * size
        shape = tiles.n_tiles, tiles.n, tiles.tile
        strides = (tiles.n + 7) // 8 * 8 * row, row, size
        return torch.from_numpy(_core.array_at(self.address, shape, strides, tiles.dtype, self))

    def flat(self) -> torch.Tensor:
        """All values, those of padding too, one after the other."""
        tiles = self.tiles
        size = 4 if tiles.dtype == "float32" else 8
        n = tiles.n_tiles * ((tiles.n + 7) // 8 * 8) * tiles.tile
        return torch.from_numpy(_core.array_at(self.address, (n,), (size,), tiles.dtype, self))


def taken(like: Held, n: int | None = None) -> Held:
    """Tiles of as many samples, and of ``n`` features or as many, with unspecified contents."""
    tiles = like.tiles
    return Held(tiles.n if n is None else n, tiles.batch, tiles.tile, tiles.dtype)


def held_again(values: torch.Tensor, batch: int) -> Held:
    """Tiles with the values of a tensor that was made of others like them."""
    found = Held(values.shape[1], batch, values.shape[2], str(values.dtype)[6:])
    found.tensor().copy_(values)
    return found


def packed(rows: NDArray[Any], threads: int) -> Held:
    """Tiles of an array (samples, features)."""
    batch, n = rows.shape
    dtype = rows.dtype.name
    found = Held(n, batch, _core.tile_size(batch, dtype), dtype)
    found.tiles.pack(rows, None, None, None, threads)
    return found


def unpacked(held: Held, threads: int) -> NDArray[Any]:
    """The array (samples, features)."""
    return held.tiles.unpack(None, threads)


def copied(x: _core.Tiles, dy: _core.Tiles) -> tuple[_core.Tiles, _core.Tiles]:
    """Copies of two tiles, for a gradient probe."""
    made = []
    for each in (x, dy):
        twin = _core.Tiles(each.n, each.batch, each.tile, each.dtype)
        twin.array()[...] = each.array()
        made.append(twin)
    return made[0], made[1]


# --- products over tiles ------------------------------------------------------------------------


def forward(
    store: _core.Store,
    x: _core.Tiles,
    bias: NDArray[Any] | None,
    y: _core.Tiles,
    threads: int,
    bf16: bool,
    *,
    code: str = "linear",
    slope: float = 0.0,
    z: _core.Tiles | None = None,
) -> None:
    """y = f(x W' + bias), with padded biases; ``z`` as in `SparseParameter.forward`."""
    _core.forward(store, x, bias, code, slope, y, z, threads, bf16, _scratch.rounding)
    _scratch.bounded()


def backward_input(store: _core.Store, dy: _core.Tiles, dx: _core.Tiles, threads: int, bf16: bool) -> None:
    """dx = dy W."""
    _core.backward_input(store, dy, dx, threads, bf16, _scratch.rounding)
    _scratch.bounded()


def link_gradient(
    store: _core.Store, x: _core.Tiles, dy: _core.Tiles, threads: int, bf16: bool
) -> NDArray[Any]:
    """dw, shape (slots, group)."""
    found = _core.link_gradient(store, x, dy, threads, bf16, _scratch.rounding)
    _scratch.bounded()
    return found


def bias_gradient(dy: _core.Tiles, threads: int) -> NDArray[Any]:
    """db, shape (n_out,): the sum of dy over samples."""
    found = np.empty((dy.n + 7) // 8 * 8, dy.dtype)
    _core.bias_gradient(dy, found, threads)
    return found[: dy.n]


def gradients(
    store: _core.Store, x: Held | None, dy: Held, threads: int, *, inputs: bool, bias: bool, bf16: bool
) -> tuple[Held | None, NDArray[Any] | None, NDArray[Any] | None]:
    """As `linear_backward`, from tiles to tiles: dx, dw (with an ``x``) and db."""
    dx = dw = db = None
    if inputs:
        dx = taken(dy, store.n_in)
        backward_input(store, dy.tiles, dx.tiles, threads, bf16)
    if x is not None:
        dw = link_gradient(store, x.tiles, dy.tiles, threads, bf16)
    if bias:
        db = bias_gradient(dy.tiles, threads)
    return dx, dw, db
