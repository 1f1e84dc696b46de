"""The dense linear layer: the honest baseline, every product by NumPy's BLAS."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire.activations import Activation
from rewire.initializers import Initializer
from rewire.layers.base import register_layer
from rewire.layers.mixing import Mixing
from rewire.layers.passing import Pass
from rewire.layers.weighted import WeightLayer
from rewire.parameters import DenseParameter
from rewire.workspace import Workspace

__all__ = ["Dense"]


@register_layer
class Dense(WeightLayer, Mixing):
    """y = f(W x + b) with all n_in * n_out weights.

    Parameters
    ----------
    n_in, n_out : int
    activation : str or Activation
    bias : bool
    init : str, float or Initializer
    bias_init : str, float or Initializer
        What biases begin as: zero, or ``"fan-in"`` for uniform values within +-1 / sqrt(fan-in).

    Attributes
    ----------
    weights : ndarray, shape (n_out, n_in)
        The values of ``weight``, live, once the layer stands in a network.
    bias : ndarray or None
        Likewise, of ``bias_parameter``.
    weight : DenseParameter
    bias_parameter : DenseParameter or None

    Notes
    -----
    BLAS threads by its own rules, so bits repeat only with the same BLAS and thread count.
    """

    weight: DenseParameter

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        activation: str | Activation | dict[str, Any] = "linear",
        bias: bool = True,
        init: str | float | Initializer | dict[str, Any] = "he",
        bias_init: str | float | Initializer | dict[str, Any] = "zeros",
    ) -> None:
        super().__init__(n_in, n_out, activation, bias, bias_init)
        self.weight = DenseParameter(
            (self.n_out, self.n_in), init=init, axes=("out", "in"), connects=True, gain=self.activation.gain
        )

    @property
    def weights(self) -> NDArray[Any]:
        """The weights, shape (n_out, n_in), live."""
        if not self.weight.built:
            raise AttributeError("a Dense layer has no weights until it stands in a Sequential")
        return self.weight.values

    @property
    def init(self) -> Initializer:
        """The initial weights."""
        return self.weight.init

    # --- forward, backward --------------------------------------------------------------
    #
    # BLAS wants one matrix (features, samples). A batch of one tile is one; several tiles are copied
    # into one, which costs batch * n beside batch * n_in * n_out of the product.

    @staticmethod
    def _flat(tiles: _core.Tiles, ws: Workspace, key: tuple[Any, ...]) -> NDArray[Any]:
        a = tiles.array()
        if tiles.n_tiles == 1:
            return a[0]
        flat = ws.array(key, (tiles.n, tiles.n_tiles * tiles.tile))
        flat.reshape(tiles.n, tiles.n_tiles, tiles.tile)[...] = a.transpose(1, 0, 2)
        return flat

    # A network that diverges says so itself, with epoch and layer: NumPy need not warn as well.
    @staticmethod
    @np.errstate(over="ignore", invalid="ignore")
    def _product(a: NDArray[Any], b: NDArray[Any], out: _core.Tiles, ws: Workspace) -> None:
        """out = a @ b."""
        target = out.array()
        if out.n_tiles == 1:
            np.matmul(a, b, out=target[0])
            return
        flat = ws.array(("product", out.n), (out.n, out.n_tiles * out.tile))
        np.matmul(a, b, out=flat)
        target[...] = flat.reshape(out.n, out.n_tiles, out.tile).transpose(1, 0, 2)

    def forward(self, x: _core.Tiles, p: Pass) -> _core.Tiles:
        ws = p.ws
        code, slope, y, z = self._output(x, p)
        flat = self._flat(x, ws, (self.index, "x") if p.keeping else ("x", x.n))
        self._product(self.weights, flat, y, ws)
        bias = None if self.bias_parameter is None else self.bias_parameter.padded
        _core.activate(bias, code, slope, y, z, p.threads)
        return y

    def backward(self, dy: _core.Tiles, x: _core.Tiles, p: Pass, need_dx: bool) -> _core.Tiles | None:
        ws = p.ws
        self._derive(dy, p)
        flat_dy = self._flat(dy, ws, ("dy", dy.n))
        # The forward pass has filled this buffer already when there are several tiles.
        flat_x = x.array()[0] if x.n_tiles == 1 else ws.array((self.index, "x"), flat_shape(x))
        dx = None
        if need_dx:
            dx = ws.other(self.n_in, dy)
            self._product(self.weights.T, flat_dy, dx, ws)

        def fill(room: NDArray[Any]) -> None:
            with np.errstate(over="ignore", invalid="ignore"):
                np.matmul(flat_dy, flat_x.T, out=room[: self.weight.size].reshape(self.weight.shape))

        p.taker(self.weight).dense(self.weight, fill, p)
        return dx

    # --- saving -------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        return {"type": "Dense", **super().config(), "init": self.init.config()}


def flat_shape(tiles: _core.Tiles) -> tuple[int, int]:
    """Shape of a batch as one matrix."""
    return tiles.n, tiles.n_tiles * tiles.tile
