"""The products of a sparse layer over arrays: everything that torch asks of the core's kernels.

Arrays are (samples, features) of the store's dtype, with any strides; results are C-contiguous. Between them
lie tiles, in which the kernels compute: `Tiles` of one thread are used again, because fresh memory costs as
much as filling it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire.threads import resolve

__all__ = [
    "Gradients", "Held", "activate_back", "activated", "copied", "gradients", "held_again", "linear",
    "linear_backward", "packed", "threads_for", "unpacked",
]  # fmt: skip

ALONE = 1 << 17  # multiply-adds below which waking other threads takes longer than they save
SPARE_BYTES = 1 << 28  # tiles that a thread keeps between two calls


class Gradients(NamedTuple):
    """What a backward pass gives; None for what nobody asked for."""

    dx: NDArray[Any] | None  # (samples, n_in)
    dw: NDArray[Any] | None  # (slots, group)
    db: NDArray[Any] | None  # (n_out,)
    tiles: tuple[_core.Tiles, _core.Tiles] | None  # x and dy, for a gradient probe


class _Spare(threading.local):
    """Tiles of a thread that are not in use, the longest unused width first."""

    def __init__(self) -> None:
        self.tiles: OrderedDict[tuple[int, str], list[_core.Tiles]] = OrderedDict()
        self.nbytes = 0

    def take(self, n: int, batch: int, dtype: str) -> _core.Tiles:
        """Tiles of ``n`` features for so many samples, with unspecified contents."""
        tile, kept = _core.tile_size(batch, dtype), self.tiles.get((n, dtype))
        if kept:
            found = kept.pop()
            self.nbytes -= found.nbytes
            try:
                found.shape_to(batch, tile)
                return found
            except ValueError:  # too small for so many
                pass
        return _core.Tiles(n, batch, tile, dtype)

    def give(self, *tiles: _core.Tiles) -> None:
        """Keep tiles for later calls."""
        for each in tiles:
            key = each.n, each.dtype
            self.tiles.setdefault(key, []).append(each)
            self.tiles.move_to_end(key)
            self.nbytes += each.nbytes
        while self.nbytes > SPARE_BYTES:
            key, kept = next(iter(self.tiles.items()))
            if kept:
                self.nbytes -= kept.pop(0).nbytes
            if not kept:
                del self.tiles[key]


_spare = _Spare()


def threads_for(threads: int, work: int) -> int:
    """How many of so many threads to use for ``work`` multiply-adds; the bits are the same for any number."""
    return resolve(threads) if work >= ALONE else 1


def padded(bias: NDArray[Any] | None) -> NDArray[Any] | None:
    """A copy of a bias as kernels read it."""
    if bias is None:
        return None
    out = _core.aligned_zeros((len(bias) + 7) // 8 * 8, bias.dtype.name)
    out[: len(bias)] = bias
    return out


def linear(
    store: _core.Store, x: NDArray[Any], bias: NDArray[Any] | None, out: NDArray[Any], threads: int
) -> None:
    """out = x W' + bias. There is at least one sample."""
    xt = _spare.take(store.n_in, len(x), store.dtype)
    yt = _spare.take(store.n_out, len(x), store.dtype)
    xt.pack(x, None, None, None, threads)
    _core.forward(store, xt, padded(bias), "linear", 0.0, yt, None, threads)
    yt.unpack(out, threads)
    _spare.give(xt, yt)


def linear_backward(
    store: _core.Store,
    dy: NDArray[Any],
    x: NDArray[Any] | None,
    threads: int,
    *,
    inputs: bool,
    bias: bool,
    keep: bool = False,
) -> Gradients:
    """Gradients for the inputs if ``inputs``, for the links if there is an ``x``, and for the biases.

    With ``keep`` the tiles of x and dy are handed over. There is at least one sample.
    """
    dx = dw = db = None
    dyt = _spare.take(store.n_out, len(dy), store.dtype)
    dyt.pack(dy, None, None, None, threads)
    if inputs:
        dxt = _spare.take(store.n_in, len(dy), store.dtype)
        _core.backward_input(store, dyt, dxt, threads)
        dx = dxt.unpack(None, threads)
        _spare.give(dxt)
    if bias:
        sums = _core.aligned_zeros((store.n_out + 7) // 8 * 8, store.dtype)
        _core.bias_gradient(dyt, sums, threads)
        db = np.array(sums[: store.n_out])
    if x is None:
        _spare.give(dyt)
        return Gradients(dx, dw, db, None)
    xt = _spare.take(store.n_in, len(x), store.dtype)
    xt.pack(x, None, None, None, threads)
    dw = _core.link_gradient(store, xt, dyt, threads)
    if keep:
        return Gradients(dx, dw, db, (xt, dyt))
    _spare.give(xt, dyt)
    return Gradients(dx, dw, db, None)


# --- several layers in a row, without leaving tiles -------------------------------------------


class Held:
    """Tiles that are in use as long as this is there, or an array of it."""

    def __init__(self, tiles: _core.Tiles) -> None:
        self.tiles = tiles

    def __del__(self) -> None:
        _spare.give(self.tiles)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """By which ``np.asarray`` makes an array of the tiles themselves that holds this."""
        found: dict[str, Any] = self.tiles.array().__array_interface__
        return found


def held_again(array: NDArray[Any], features: int, batch: int) -> Held:
    """Tiles with the contents of an array that was made of others like them."""
    found = Held(_spare.take(features, batch, array.dtype.name))
    found.tiles.array()[...] = array
    return found


def packed(rows: NDArray[Any], threads: int) -> Held:
    """Tiles of an array (samples, features)."""
    found = Held(_spare.take(rows.shape[1], len(rows), rows.dtype.name))
    found.tiles.pack(rows, None, None, None, threads)
    return found


def unpacked(held: Held, threads: int) -> NDArray[Any]:
    """The array (samples, features)."""
    return held.tiles.unpack(None, threads)


def activated(
    store: _core.Store, x: Held, bias: NDArray[Any] | None, code: str, slope: float, inner: bool, threads: int
) -> tuple[Held, Held | None]:
    """f(x W' + bias), and with ``inner`` also what f is taken of."""
    y = Held(_spare.take(store.n_out, x.tiles.batch, store.dtype))
    z = Held(_spare.take(store.n_out, x.tiles.batch, store.dtype)) if inner else None
    _core.forward(store, x.tiles, padded(bias), code, slope, y.tiles, None if z is None else z.tiles, threads)
    return y, z


def copied(x: Held, dy: Held) -> tuple[_core.Tiles, _core.Tiles]:
    """Copies of two tiles, for a gradient probe."""
    made = []
    for each in (x.tiles, dy.tiles):
        twin = _core.Tiles(each.n, each.batch, each.tile, each.dtype)
        twin.array()[...] = each.array()
        made.append(twin)
    return made[0], made[1]


def activate_back(code: str, slope: float, kept: Held, dy: Held, threads: int) -> None:
    """The gradient for what an activation is taken of, in the place of that for its outputs."""
    _core.activate_back(code, slope, kept.tiles, dy.tiles, threads)


def gradients(
    store: _core.Store, x: Held | None, dy: Held, threads: int, *, inputs: bool, bias: bool
) -> tuple[Held | None, NDArray[Any] | None, NDArray[Any] | None]:
    """As `linear_backward`, from tiles to tiles: dx, dw (with an ``x``) and db."""
    dx = dw = db = None
    if inputs:
        dx = Held(_spare.take(store.n_in, dy.tiles.batch, store.dtype))
        _core.backward_input(store, dy.tiles, dx.tiles, threads)
    if x is not None:
        dw = _core.link_gradient(store, x.tiles, dy.tiles, threads)
    if bias:
        sums = _core.aligned_zeros((store.n_out + 7) // 8 * 8, store.dtype)
        _core.bias_gradient(dy.tiles, sums, threads)
        db = np.array(sums[: store.n_out])
    return dx, dw, db
