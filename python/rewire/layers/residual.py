"""y = x + f(x): what layers in a row add to their inputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._structure import Mask
from rewire.layers.affine import Affine, compose
from rewire.layers.base import register_layer
from rewire.layers.passing import Pass
from rewire.layers.row import Row, blind

__all__ = ["Residual"]


@register_layer
class Residual(Row):
    """y = x + f(x), where f is layers in a row.

    Parameters
    ----------
    layers : list of Layer
        New ones; together they give as many values as they take.
    n_in : int, optional
        As of `Row`.

    Attributes
    ----------
    layers : list of Layer

    Notes
    -----
    He, Zhang, Ren, Sun, *Deep Residual Learning for Image Recognition*, CVPR 2016.

    Examples
    --------
    >>> import rewire as rw
    >>> block = rw.layers.Residual([rw.Sparse(64, 128, activation="relu"), rw.Sparse(128, 64)])
    >>> net = rw.Sequential([block, rw.Sparse(64, 10, activation="softmax")])
    """

    def connect(self, n_in: int) -> None:
        super().connect(n_in)
        if self.n_out != n_in:
            raise ValueError(
                f"layers of a Residual must give as many values as they take, got {n_in} -> {self.n_out}"
            )

    @blind
    def forward(self, x: _core.Tiles, p: Pass) -> _core.Tiles:
        if not p.keeping:  # inner layers may write where x is
            x = p.copy((self.index, "x"), x)
        return p.map((self.index, "y"), np.add, x, super().forward(x, p))

    @blind
    def backward(self, dy: _core.Tiles, x: _core.Tiles, p: Pass, need_dx: bool) -> _core.Tiles | None:
        kept = p.copy((self.index, "dx"), dy) if need_dx else dy
        dx = super().backward(dy, x, p, need_dx)
        return None if dx is None else p.map((self.index, "dx"), np.add, kept, dx)

    def affine_at(self, x: NDArray[np.float64], *, final: bool = False) -> Affine:
        inner, each = super().affine_at(x, final=final), np.arange(self.n_out)
        whole = Affine(
            np.concatenate([each, inner.rows]),
            np.concatenate([each, inner.cols]),
            np.concatenate([np.ones(self.n_out), inner.values]),
            inner.offset,
            inner.pieces,
        )
        return compose([whole], self.n_in)  # adds up what lies at one place

    def live_outputs(self, inputs: Mask) -> Mask:
        return inputs | super().live_outputs(inputs)

    def live_inputs(self, outputs: Mask) -> Mask:
        return outputs | super().live_inputs(outputs)
