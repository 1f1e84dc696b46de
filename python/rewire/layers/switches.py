"""Blocks of two-sided switches: small dense matrices, one for each side of zero."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import MAX_NEURONS, choice, describe, integer
from rewire._structure import Mask
from rewire.initializers import Normal
from rewire.layers.affine import Affine
from rewire.layers.base import Layer, register_layer
from rewire.layers.passing import Pass
from rewire.parameters import DenseParameter

__all__ = ["Switches"]

BLOCKS = (1, 2, 4, 8)
NEAR = 0.1  # the deviation of weights around the identity, before it is divided by sqrt(block)


@register_layer
class Switches(Layer):
    """Blocks of neighbours, each with a matrix U for values above zero and L for those below.

    y = U max(x, 0) + L min(x, 0) within each block.

    Parameters
    ----------
    block : {1, 2, 4, 8}
        Values of a block; their number is a multiple of it.
    start : {"he", "identity"}
        Initial weights: N(0, 1 / block), or the identity on both sides with a tenth of that deviation around
        it, so that a network begins as one without switches.
    n_in : int, optional
        Only needed if the layer is the first.

    Attributes
    ----------
    weight : DenseParameter, shape (n, 2 * block)
        By output: its row of U, then its row of L. Counted as connections, whose density is that of both
        matrices without blocks: 2 n^2 weights.

    Notes
    -----
    The same numbers as `TwoSided` and a `Sparse` layer with these links; but the links are fixed, so rewiring
    leaves them where they are, and nothing is stored between. No neuron can be removed before or after it.
    With ``block=1`` every neuron has two slopes.

    S. O'Connor, *Switch Net 4* (blog, 2023; Numenta forum, topic 10747), where blocks have 4 values.
    """

    keeps = True

    def __init__(self, block: int = 4, *, start: str = "he", n_in: int | None = None) -> None:
        whole = isinstance(block, (int, np.integer)) and not isinstance(block, bool)
        if not whole or block not in BLOCKS:
            raise ValueError(f"block must be one of {', '.join(map(str, BLOCKS))}, got {describe(block)}")
        self.block = int(block)
        self.start_weights = choice("start", start, ("he", "identity"))
        self.n_in = 0 if n_in is None else integer("n_in", n_in, low=1, high=MAX_NEURONS)

    def connect(self, n_in: int) -> None:
        if n_in % self.block:
            raise ValueError(f"Switches in blocks of {self.block} need a multiple of it, got {n_in} values")
        super().connect(n_in)
        deviation = (1.0 if self.start_weights == "he" else NEAR) / math.sqrt(self.block)
        self.weight = DenseParameter(
            (n_in, 2 * self.block), init=Normal(deviation), axes=("out", None), connects=True,
            full=2 * n_in * n_in,
        )  # fmt: skip

    def start(self) -> None:
        if self.start_weights == "identity":
            each, place = np.arange(self.n_out), np.arange(self.n_out) % self.block
            for side in (0, self.block):
                self.weight.values[each, side + place] += 1.0
            self.weight.touch()

    def forward(self, x: _core.Tiles, p: Pass) -> _core.Tiles:
        y = p.output(self) if p.keeping else p.ws.other(self.n_out, x)
        _core.switches(x, self.weight.values, self.block, y, p.threads)
        return y

    def backward(self, dy: _core.Tiles, x: _core.Tiles, p: Pass, need_dx: bool) -> _core.Tiles | None:
        dx = None
        if need_dx:  # first: weights may be others once their gradient is handed over
            dx = p.ws.other(self.n_in, dy)
            _core.switches_back(x, self.weight.values, self.block, dy, dx, p.threads)

        def fill(room: NDArray[Any]) -> None:
            _core.switches_gradient(x, dy, self.block, room, p.threads)

        p.taker(self.weight).dense(self.weight, fill, p)
        return dx

    def affine_at(self, x: NDArray[np.float64], *, final: bool = False) -> Affine:
        rows, cols = self.connections()
        above = x > 0.0
        upper, lower = np.split(self.weight.values.astype(np.float64), 2, axis=1)
        values = np.where(above[cols], upper.ravel(), lower.ravel())
        return Affine(rows, cols, values, np.zeros(self.n_out), above.astype(np.int8))

    def live_outputs(self, inputs: Mask) -> Mask:
        found: Mask = inputs.reshape(-1, self.block).any(axis=1).repeat(self.block)
        return found

    def live_inputs(self, outputs: Mask) -> Mask:
        return self.live_outputs(outputs)

    def connections(self) -> tuple[NDArray[Any], NDArray[Any]]:
        rows = np.repeat(np.arange(self.n_out), self.block)
        return rows, rows // self.block * self.block + np.tile(np.arange(self.block), self.n_out)

    def config(self) -> dict[str, Any]:
        return {"type": "Switches", "block": self.block, "start": self.start_weights, "n_in": self.n_in}
