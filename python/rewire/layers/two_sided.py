"""Both sides of zero as values of their own: what a layer after it multiplies by two sparse patterns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import MAX_NEURONS, integer
from rewire._structure import Mask
from rewire.layers.affine import Affine
from rewire.layers.base import Layer, register_layer
from rewire.layers.passing import Pass
from rewire.parameters import Rescale

__all__ = ["TwoSided"]

MOST = MAX_NEURONS // 2  # values whose two sides can be counted


@register_layer
class TwoSided(Layer):
    """[max(x, 0), min(x, 0)]: each value comes out twice, on the side of zero where it is not.

    A ReLU switches a neuron's outgoing links on for x > 0. After this layer each side has outgoing links of
    its own: one sparse pattern that a neuron projects for x > 0, another for x < 0, and both are rewired. It
    stands in the place of an activation, and the layer after it has twice as many inputs.

    Parameters
    ----------
    n_in : int, optional
        Only where it stands first in a network: how many values it takes.

    Attributes
    ----------
    n_in, n_out : int
        n and 2 n: output i is max(x_i, 0), output n + i is min(x_i, 0).

    Notes
    -----
    Where the next layer has no links from the lower side, it is that of ReLU(x); with w for the upper and
    a w for the lower side, of a leaky ReLU of slope a: All-ReLU, x itself (a = 1) and abs(x) (a = -1)
    are special cases. The gradient at x = 0 is that of the lower side, as for a leaky ReLU.

    Of the 2 n values at least half are zero for any sample, so one sample takes the arithmetic of half of the
    links; a batch takes that of all. For as many links as before, ask for them by number
    (``rw.Sparse(2 * n, m, links=...)``).

    Concatenated rectifiers: Shang, Sohn, Almeida, Lee, *Understanding and Improving Convolutional Neural
    Networks via Concatenated Rectified Linear Units*, ICML 2016 (there the lower side is max(-x, 0): weights
    differ in sign). Sparse patterns for each side: S. O'Connor, Numenta forum, topic 8904.

    Examples
    --------
    >>> import rewire as rw
    >>> net = rw.Sequential(
    ...     [
    ...         rw.Sparse(64, 100, epsilon=10),
    ...         rw.TwoSided(),
    ...         rw.Sparse(200, 10, epsilon=10, activation="softmax"),
    ...     ]
    ... )
    >>> net.layers[1].n_out
    200
    """

    may_end = False
    keeps = True
    input_gain = math.sqrt(2.0)  # half of the values are zero, as after a ReLU

    def __init__(self, n_in: int | None = None) -> None:
        self.n_in = 0 if n_in is None else integer("n_in", n_in, low=1, high=MOST)

    def connect(self, n_in: int) -> None:
        if n_in > MOST:
            raise ValueError(f"TwoSided takes at most {MOST} values, got {n_in}")
        self.n_in, self.n_out = n_in, 2 * n_in

    def forward(self, x: _core.Tiles, p: Pass) -> _core.Tiles:
        y = p.output(self) if p.keeping or p.watched else p.ws.other(self.n_out, x)
        _core.two_sides(x, y, p.threads)
        return y

    def backward(self, dy: _core.Tiles, x: _core.Tiles, p: Pass, need_dx: bool) -> _core.Tiles | None:
        if not need_dx:
            return None
        dx = p.ws.other(self.n_in, dy)
        _core.two_sides_back(x, dy, dx, p.threads)
        return dx

    def rescaled(self, by: Rescale) -> list[Callable[[], Any]] | None:
        return None  # a shift moves values from one side to the other

    def affine_at(self, x: NDArray[np.float64], *, final: bool = False) -> Affine:
        above = x > 0.0
        each = np.arange(self.n_out)
        factors = np.concatenate([above, ~above]).astype(np.float64)
        return Affine(each, each % self.n_in, factors, np.zeros(self.n_out), above.astype(np.int8))

    # --- paths, and neurons that are removed ------------------------------------------------

    def live_outputs(self, inputs: Mask) -> Mask:
        return np.concatenate([inputs, inputs])

    def live_inputs(self, outputs: Mask) -> Mask:
        upper, lower = np.split(outputs, 2)
        return upper | lower

    def sources_of(self, outputs: NDArray[Any]) -> NDArray[Any]:
        return np.unique(outputs % self.n_in)

    def connections(self) -> tuple[NDArray[Any], NDArray[Any]]:
        each = np.arange(self.n_out)
        return each, each % self.n_in

    @property
    def absorbs(self) -> bool | None:
        return None

    def constant(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([np.maximum(values, 0.0), np.minimum(values, 0.0)])

    def keepable(self, inputs: Mask, outputs: Mask) -> tuple[Mask, Mask]:
        stays = inputs | self.live_inputs(outputs)
        return stays, self.live_outputs(stays)
