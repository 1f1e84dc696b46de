"""Dropout whose mask is never stored: it is a hash of (seed, layer, step, feature, sample)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import number
from rewire.layers.affine import Affine, identity
from rewire.layers.base import register_layer
from rewire.layers.dense import Dense
from rewire.layers.elementwise import Elementwise
from rewire.layers.passing import Pass
from rewire.layers.sparse import Sparse
from rewire.layers.weighted import WeightLayer
from rewire.parameters import Rescale

__all__ = ["Dropout"]


@register_layer
class Dropout(Elementwise):
    """In training, each value is zero with probability p, and divided by 1 - p otherwise, to 16 bits of p.

    Parameters
    ----------
    p : float in [0, 1)

    Notes
    -----
    The backward pass computes the mask again instead of keeping it. The mask depends on the sample's place
    in the batch, not on threads. Srivastava et al., JMLR 15 (2014).

    Behind a `Sparse` or `Dense` layer it writes over what that layer gave, unless the derivative there wants
    to know more of it than its sign, or a subclass has a `forward` of its own.

    A value has 16 random bits, so both use the multiple of 2**-16 nearest to p, but at most 1 - 2**-16: the
    mean of a value is kept for every p. Below 2**-17 nothing is dropped.
    """

    may_end = False

    def __init__(self, p: float = 0.5) -> None:
        self.p = number("p", p, low=0.0, high=1.0, open_high=True)

    def forward(self, x: _core.Tiles, p: Pass) -> _core.Tiles:
        if not p.training or self.p == 0.0:
            return x
        y = x if self._may_write_over_input(p) else p.ws.tiles((self.index, "y"), self.n_out)
        _core.dropout(x, y, self.p, self.network_seed, self.index, p.step, p.threads, p.first_sample)
        return y

    def backward(self, dy: _core.Tiles, x: _core.Tiles, p: Pass, need_dx: bool) -> _core.Tiles | None:
        if need_dx and p.training and self.p > 0.0:
            drop = self.p, self.network_seed, self.index, p.step, p.first_sample
            if self._before(p) is None:
                p.drop(dy, drop)
            else:  # it drops the gradient, which it goes over anyway, and nobody looks at it
                p.to_drop = drop
        return dy if need_dx else None

    def _before(self, p: Pass) -> Any:
        """The layer before, if it is one of weights, and both go back as this module knows it; else None."""
        if p.onward is None or p.onward[0] is not self:
            return None
        me: Any = self
        before: Any = p.onward[1]
        try:
            known = (
                me.backward.__func__ is _BACKWARD
                and before.backward.__func__ in _LEFT_TO
                and before._derive.__func__ is _DERIVE
            )
        except AttributeError:  # no layer of weights, or an object has something in the place of a method
            return None
        return before if known else None

    def _may_write_over_input(self, p: Pass) -> bool:
        """Whether nobody reads the input again, or only its sign: the layer that made it, or a subclass here.

        A value that is kept has the sign it had, and one that is dropped has no gradient.
        """
        me: Any = self
        before = self._before(p)
        if before is None:
            return False
        try:
            known = (
                me.forward.__func__ is _FORWARD
                and before.forward.__func__ in _GIVEN_BY
                and before._output.__func__ is _OUTPUT
            )
        except AttributeError:
            return False
        return known and bool(before.bound.needs_z or before.bound.code in _BY_SIGN)

    def kept_values(self, *, linear: bool) -> int:
        return 0  # at the least: it may write over what it takes, and what gives that is not known here

    def affine_at(self, x: NDArray[np.float64], *, final: bool = False) -> Affine:
        return identity(self.n_in)

    def rescaled(self, by: Rescale) -> list[Callable[[], Any]]:
        return []  # values that are dropped are so in any unit


# As they are here, also where somebody puts others in their place in a class later.
_FORWARD, _BACKWARD = Dropout.forward, Dropout.backward
_LEFT_TO, _DERIVE = (Sparse.backward, Dense.backward), WeightLayer._derive
_GIVEN_BY, _OUTPUT = (Sparse.forward, Dense.forward), WeightLayer._output
_BY_SIGN = frozenset({"linear", "relu", "leaky", "thresholded"})
