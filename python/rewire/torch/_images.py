"""A sparse layer over the channels of images: a convolution of 1 x 1.

Images (batch, channels, height, width) that lie so in memory are tiles already, each of one image, where the
number of channels is a multiple of 8 and that of pixels a power of two. Others are copied to tiles in runs of
pixels, with zeros after each image up to the next whole tile. Neither is a transposition. Images of so few
pixels that a good part of that would be zeros go the way of rows.
"""

from __future__ import annotations

from typing import Any

import torch

from rewire import _core
from rewire.torch import _kernels
from rewire.torch._chain import CHANGED, differentiated, learns, operators, run_one
from rewire.torch._kernels import Held
from rewire.torch._ops import NAMES, sparse_linear
from rewire.torch._structures import Structure

__all__ = ["over_channels", "run_images"]

LARGEST = 4096  # pixels of a tile; the channels of larger ones would not stay in a cache


def over_channels(x: torch.Tensor, run: Any) -> torch.Tensor:
    """What ``run`` makes of rows (pixels, channels), as images again, by operators that exporters see."""
    y: torch.Tensor = run(x.movedim(-3, -1)).movedim(-1, -3)
    return y


def run_images(
    x: torch.Tensor, structure: Structure, weight: torch.Tensor, bias: torch.Tensor | None, bf16: bool
) -> torch.Tensor:
    """A layer over images (batch, n_in, height, width), contiguous, of one dtype with its values."""
    cut = Cut(x)
    if cut.few:
        return _by_rows(x, lambda rows: run_one(rows, structure, weight, bias, bf16))
    if learns(x, (weight, bias)):
        found: torch.Tensor = _SparseConv1x1.apply(structure, cut, bf16, x, weight, bias)
        return found
    return _forward(structure, cut, bf16, x, weight, bias)[0]


def _by_rows(x: torch.Tensor, run: Any) -> torch.Tensor:
    """Images of few pixels. One pixel is a row as it lies, and its outputs are images as they lie."""
    if x.shape[2] * x.shape[3] == 1:
        y: torch.Tensor = run(x.flatten(1))[..., None, None]
        return y
    return over_channels(x, run).contiguous()


class Cut:
    """How images lie in tiles."""

    __slots__ = ("batch", "few", "images", "pixels", "tile")

    def __init__(self, x: torch.Tensor) -> None:
        self.images, self.pixels = x.shape[0], x.shape[2] * x.shape[3]
        dtype = NAMES[x.dtype]
        best = _core.tile_size(self.images * self.pixels, dtype)
        whole = self.pixels & (self.pixels - 1) == 0 and best <= self.pixels <= LARGEST
        self.tile = self.pixels if whole else best
        if not whole and best > 1 and self._padded(best // 2) * 10 <= self._padded(best) * 9:
            self.tile = best // 2  # many pixels that are not there cost more than short tiles
        padded = self._padded(self.tile)
        self.batch = self.images * padded
        self.few = 2 * padded > 3 * self.pixels  # a transposition then costs less than the zeros

    def _padded(self, tile: int) -> int:
        """Samples of an image."""
        return -(-self.pixels // tile) * tile

    def fits(self, x: torch.Tensor) -> bool:
        """Whether images are tiles as they lie in memory."""
        return self.tile == self.pixels and x.shape[1] % 8 == 0 and x.data_ptr() % 64 == 0

    def over(self, x: torch.Tensor) -> _core.Tiles:
        """The tiles that they are."""
        return _core.Tiles(x.shape[1], self.batch, self.tile, NAMES[x.dtype], memory=x.detach().numpy())

    def new(self, channels: int, dtype: str) -> Held:
        """Tiles with unspecified contents."""
        return Held(channels, self.batch, self.tile, dtype)

    def _by_image(self, held: Held) -> torch.Tensor:
        """A view (images, tiles of each, channels, samples)."""
        tiles = held.tensor()
        return tiles.view(self.images, -1, *tiles.shape[1:])

    def take_in(self, x: torch.Tensor) -> Any:
        """Tiles of images, and who holds them."""
        x = x.resolve_neg()
        if self.fits(x):
            return self.over(x), x
        held = self.new(x.shape[1], NAMES[x.dtype])
        to, of = self._by_image(held), x.detach().flatten(2)
        whole = self.pixels // self.tile
        if whole:
            of_whole = of[..., : whole * self.tile].unflatten(2, (whole, self.tile))
            to[:, :whole].copy_(of_whole.movedim(1, 2))
        rest = self.pixels - whole * self.tile
        if rest:
            to[:, whole, :, :rest].copy_(of[..., whole * self.tile :])
            to[:, whole, :, rest:].zero_()
        return held.tiles, held

    def give_out(self, held: Held, to: torch.Tensor) -> None:
        """Images of tiles."""
        of, to = self._by_image(held), to.flatten(2)
        whole = self.pixels // self.tile
        if whole:
            to_whole = to[..., : whole * self.tile].unflatten(2, (whole, self.tile))
            to_whole.copy_(of[:, :whole].movedim(1, 2))
        if self.pixels > whole * self.tile:
            to[..., whole * self.tile :].copy_(of[:, whole, :, : self.pixels - whole * self.tile])

    def make(self, like: torch.Tensor, channels: int, fill: Any) -> torch.Tensor:
        """Images of so many channels that ``fill`` makes, as tiles."""
        out = like.new_empty((self.images, channels, *like.shape[2:]))
        if self.fits(out):
            fill(self.over(out))
            return out
        held = self.new(channels, NAMES[like.dtype])
        fill(held.tiles)
        self.give_out(held, out)
        return out


def _forward(
    structure: Structure, cut: Cut, bf16: bool, x: torch.Tensor, weight: torch.Tensor, bias: Any
) -> Any:
    dtype = NAMES[x.dtype]
    threads = _kernels.threads_for(torch.get_num_threads(), cut.batch * weight.numel())
    xt, holder = cut.take_in(x)
    with structure.lock:
        store, mark = structure.filled(dtype, weight)
        padded = structure.padded(dtype, bias)
        out = cut.make(
            x,
            structure.n_out,
            lambda yt: _kernels.forward(store, xt, padded, yt, threads, bf16),
        )
    del holder
    return out, mark, threads


class _SparseConv1x1(torch.autograd.Function):
    """A layer over images. What is kept is what was given."""

    @staticmethod
    def forward(
        ctx: Any, structure: Structure, cut: Cut, bf16: bool, x: torch.Tensor, weight: torch.Tensor, bias: Any
    ) -> torch.Tensor:
        out, mark, threads = _forward(structure, cut, bf16, x, weight, bias)
        ctx.kept = structure, structure.version(), cut, bf16, mark, threads
        ctx.save_for_backward(x, weight, bias)
        return out

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[Any, ...]:
        structure, version, cut, bf16, mark, threads = ctx.kept
        given = ctx.saved_tensors
        if version != structure.version():
            raise RuntimeError(CHANGED)
        needs = ctx.needs_input_grad[3:]
        if operators(dy):
            links = *structure.tensors, structure.n_in, structure.n_out, bf16

            def by_operators(own: Any) -> torch.Tensor:
                return over_channels(own[0], lambda rows: sparse_linear(rows, *own[1:], *links))

            return (None, None, None, *differentiated(by_operators, given, dy, needs))
        x, weight, _ = given
        dtype = NAMES[x.dtype]
        dyt, dy_holder = cut.take_in(dy.contiguous())
        dx = dw = db = None
        with structure.lock:
            store = structure.again(dtype, weight, mark) if needs[0] else structure.store(dtype)
            if needs[1]:
                xt, x_holder = cut.take_in(x)
                dw = torch.from_numpy(_kernels.link_gradient(store, xt, dyt, threads, bf16))
                if structure.watched:
                    structure.show(_kernels.copied(xt, dyt))
                del x_holder
            if needs[2]:
                sums = x.new_empty((structure.n_out + 7) // 8 * 8)
                _core.bias_gradient(dyt, sums.numpy(), threads)
                db = sums[: structure.n_out]
            if needs[0]:
                structure.ready_mirror(store, cut.batch, threads)
                dx = cut.make(
                    x,
                    structure.n_in,
                    lambda dxt: _kernels.backward_input(store, dyt, dxt, threads, bf16),
                )
        del dy_holder
        return None, None, None, dx, dw, db
