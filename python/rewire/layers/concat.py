"""Layers beside each other: all take the same inputs, and their outputs follow each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._structure import Mask
from rewire.layers.affine import Affine
from rewire.layers.base import Layer, register_layer
from rewire.layers.composite import Composite, width_given
from rewire.layers.passing import Pass
from rewire.layers.row import Row, connect_row, given_tiles

__all__ = ["Concat"]


@register_layer
class Concat(Composite):
    """The outputs of several layers for the same inputs, one after the other.

    Parameters
    ----------
    layers : list of (Layer or list of Layer)
        New ones. A list is a `Row`; an empty one hands on the inputs.
    n_in : int, optional
        How many values it takes, where no branch says so and it stands first in a network.

    Attributes
    ----------
    layers : list of Layer

    Examples
    --------
    >>> import rewire as rw
    >>> both = rw.layers.Concat([rw.Sparse(64, 100, activation="relu"), []])
    >>> net = rw.Sequential([both, rw.Sparse(164, 10, activation="softmax")])
    """

    keeps = True

    branches = True

    def __init__(self, layers: Sequence[Layer | Sequence[Layer]], *, n_in: int | None = None) -> None:
        given: Any = layers
        if isinstance(given, list | tuple):
            given = [Row(layer) if isinstance(layer, list) else layer for layer in given]
        super().__init__(given)
        if not self.layers:
            raise ValueError("layers must hold at least one layer, got none")
        self.n_in = width_given(n_in) or next((layer.n_in for layer in self.layers if layer.n_in), 0)

    def connect(self, n_in: int) -> None:
        self.n_in = n_in
        self.n_out = sum(connect_row([layer], n_in, f"layers[{i}]") for i, layer in enumerate(self.layers))
        self._learn = [layer.learns for layer in self.layers]

    def forward(self, x: _core.Tiles, p: Pass) -> _core.Tiles:
        if not p.keeping:  # inner layers may write where x is
            x = p.copy((self.index, "x"), x)
        y, end = p.output(self), 0
        for layer in self.layers:
            (begin, end), p.layer = (end, end + layer.n_out), layer
            found = given_tiles(layer, "forward", layer.forward(x, p), layer.n_out)
            y.array()[:, begin:end] = found.array()
        p.layer = self
        return y

    def backward(self, dy: _core.Tiles, x: _core.Tiles, p: Pass, need_dx: bool) -> _core.Tiles | None:
        parts, end = [], 0
        for i, layer in enumerate(self.layers):  # before any of them runs: what one gives may lie where dy is
            begin, end = end, end + layer.n_out
            parts.append(p.tiles((self.index, "dy", i), layer.n_out))
            parts[i].array()[...] = dy.array()[:, begin:end]
        total = None
        for layer, part, learns in zip(self.layers, parts, self._learn, strict=True):
            if not (need_dx or learns):
                continue
            p.layer = layer
            dx = layer.backward(part, x, p, need_dx)
            p.layer = self
            if need_dx:
                key, found = (self.index, "dx"), given_tiles(layer, "backward", dx, self.n_in)
                total = p.copy(key, found) if total is None else p.map(key, np.add, total, found)
        return total

    def affine_at(self, x: NDArray[np.float64], *, final: bool = False) -> Affine:
        parts, begin = [], 0
        for layer in self.layers:
            part = layer.affine_at(x, final=final)
            parts.append(part._replace(rows=part.rows + begin))
            begin += layer.n_out
        return Affine(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def live_outputs(self, inputs: Mask) -> Mask:
        return np.concatenate([layer.live_outputs(inputs) for layer in self.layers])

    def live_inputs(self, outputs: Mask) -> Mask:
        parts = np.split(outputs, np.cumsum([layer.n_out for layer in self.layers[:-1]]))
        masks = [layer.live_inputs(part) for layer, part in zip(self.layers, parts, strict=True)]
        return np.logical_or.reduce(masks)
