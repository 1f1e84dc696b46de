"""What layers y = f(W x + b) share: activation, bias, and what follows from a matrix of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import MAX_NEURONS, boolean, integer
from rewire._precision import bf16_rounded
from rewire._structure import Mask
from rewire.activations import KINDS as ACTIVATIONS
from rewire.activations import Activation, Bound, Linear, activation
from rewire.initializers import Fixed, Initializer, initializer
from rewire.layers.affine import NONE, Affine
from rewire.layers.base import Layer
from rewire.layers.dependence import Narrower
from rewire.layers.passing import Pass
from rewire.parameters import DenseParameter, Parameter, Rescale, SparseParameter

__all__ = ["WeightLayer"]

_TAG = 0x42696173  # "Bias": keeps its random numbers apart from others of the same stream


class WeightLayer(Layer):
    """A layer y = f(W x + b).

    Attributes
    ----------
    weight : Parameter
        W; a subclass makes it.
    bias : ndarray or None
        b: the values of `bias_parameter`, live; None for a layer without.
    bias_init : Initializer
        What b begins as.
    bias_parameter : DenseParameter or None
        b as optimizers see it; ``"bias"`` in files and among :meth:`parameters`.
    """

    weight: SparseParameter | DenseParameter
    bound: Bound

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation_: str | Activation | dict[str, Any],
        bias: bool,
        bias_init: str | float | Initializer | dict[str, Any] = "zeros",
    ) -> None:
        self.n_in = integer("n_in", n_in, low=1, high=MAX_NEURONS)
        self.n_out = integer("n_out", n_out, low=1, high=MAX_NEURONS)
        self.activation = activation(activation_)
        self.has_bias = boolean("bias", bias)
        self.bias_init = initializer(bias_init, "bias_init")
        self.bias_parameter: DenseParameter | None = None
        if self.has_bias:
            self.bias_parameter = DenseParameter(self.n_out, axes=("out",), decays=False)

    def parameters(self) -> Mapping[str, Parameter]:
        found: dict[str, Parameter] = {"weight": self.weight}
        if self.bias_parameter is not None:
            found["bias"] = self.bias_parameter
        return found

    def connect(self, n_in: int) -> None:
        if "weight" not in vars(self):  # of a subclass; the constructor says both widths
            raise TypeError(f"{type(self).__name__} must make its weight, a Parameter, in the constructor")

    def precedes(self, layer: Layer) -> None:
        if isinstance(self.activation, Linear):
            self.weight.gain = layer.input_gain

    def build(self, *, seed: int, index: int, name: str, depth: int | None, dtype: str) -> None:
        bound = self.activation.bind(depth)
        super().build(seed=seed, index=index, name=name, depth=depth, dtype=dtype)
        self.bound = bound

    def start(self) -> None:
        if self.bias_parameter is not None:
            words = np.random.SeedSequence([self.network_seed, self.bias_parameter.stream, _TAG])
            rng = np.random.Generator(np.random.Philox(words))
            values, fan_in = self.bias_parameter.values, self._fan_in()
            self.bias_init.fill_biases(values, fan_in, self.n_in, self.activation.gain, rng)

    def _fan_in(self) -> NDArray[Any]:
        """Sources of every neuron."""
        return np.full(self.n_out, self.n_in)

    @property
    def bias(self) -> NDArray[Any] | None:
        """The biases, shape (n_out,), live; None for a layer without."""
        found = self.bias_parameter
        return found.values if found is not None and found.built else None

    # --- shared halves of forward and backward ------------------------------------------

    def _output(self, x: _core.Tiles, p: Pass) -> tuple[str, float, _core.Tiles, _core.Tiles | None]:
        """Activation and slope; tiles for the outputs, and for what `activate` leaves for backward."""
        ws, bound, n_out, linear = p.ws, self.bound, self.n_out, p.linear is self
        code, slope = ("linear", 0.0) if linear else (bound.code, bound.slope)
        if not p.keeping:
            return code, slope, ws.other(n_out, x), None
        z = ws.tiles((self.index, "z"), n_out) if bound.needs_z and not linear else None
        return code, slope, ws.tiles((self.index, "y"), n_out), z

    def kept_values(self, *, linear: bool) -> int:
        return self.n_out * (2 if self.bound.needs_z and not linear else 1)

    def _derive(self, dy: _core.Tiles, p: Pass) -> None:
        """``dy``, the gradient for the outputs, becomes that for W x + b; that for b is handed over.

        If dropout behind this layer has left its part of the pass to it, that comes first.
        """
        bound, back = self.bound, None
        drop, p.to_drop = p.to_drop, None
        if bound.code != "linear" and p.linear is not self:
            kept = p.ws.tiles((self.index, "z" if bound.needs_z else "y"), self.n_out)
            back = bound.code, bound.slope, kept
        if self.bias_parameter is not None:
            p.taker(self.bias_parameter).bias(self.bias_parameter, dy, p, back, drop)
            return
        if drop is not None:
            p.drop(dy, drop)
        if back is not None:
            _core.activate_back(*back, dy, p.threads)

    def affine_at(self, x: NDArray[np.float64], *, final: bool = False) -> Affine:
        rows, cols, weights = self.weight.to_arrays()
        if self.weight.rounds:
            weights = bf16_rounded(weights)
        offset = np.zeros(self.n_out) if self.bias is None else self.bias.astype(np.float64)
        slopes, pieces = np.ones(self.n_out), NONE
        if self.bound.code != "linear" and not final:
            if self.bound.switch is None:
                return super().affine_at(x)
            at, below = self.bound.switch
            above = self.weight.times(x) + offset > at
            slopes, pieces = np.where(above, 1.0, below), above.astype(np.int8)
        return Affine(rows, cols, slopes[rows] * weights, slopes * offset, pieces)

    @property
    def bias_begins_at_zero(self) -> bool:
        return isinstance(self.bias_init, Fixed) and self.bias_init.value == 0.0

    # --- other units ------------------------------------------------------------------------

    def rescaled(self, by: Rescale) -> list[Callable[[], Any]]:
        """What to call for a change of units: all is computed here, each call is one step for Python.

        In bfloat16 outputs are what they were but for rounding: weights and inputs in other units are rounded
        elsewhere. An offset goes with the weights that its inputs were multiplied by.
        """
        calls: list[Callable[[], Any]] = []
        if self.bias_parameter is not None:
            calls += self.bias_parameter.rescaled(Rescale(slope=by.slope))
            # Fields that change as weights do, such as averages, are biases beside weights of their own.
            kinds = self.bias_parameter.fields.items()
            for name in ("weight", *(name for name, kind in kinds if kind.power == 0)):
                bias = self.bias_parameter.values_of(name).astype(np.float64)
                if by.offset is not None:
                    bias += self.weight.times(by.offset, name if self.weight.has(name) else "weight")
                if by.rows is not None:
                    bias *= by.rows
                if by.shift is not None:
                    bias += by.shift
                calls.append(
                    partial(np.copyto, self.bias_parameter.values_of(name), bias, casting="same_kind")
                )
            calls.append(self.bias_parameter.touch)
        return calls + self.weight.rescaled(by)

    # --- paths, and neurons that are removed ----------------------------------------------

    @property
    def absorbs(self) -> bool | None:
        return self.has_bias

    def _sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """W values + bias, of operands as the layer's products take them."""
        sums = self.weight.times(bf16_rounded(values) if self.weight.rounds else values)
        return sums if self.bias is None else self.bias + sums

    def constant(self, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
        sums = self._sums(values)
        known = np.isfinite(sums)
        tiles = _core.Tiles(self.n_out, 1, _core.tile_size(1, self.dtype), self.dtype)
        tiles.pack(np.where(known, sums, 0.0)[None].astype(self.dtype))
        _core.activate(None, self.bound.code, self.bound.slope, tiles, None, 1)
        return np.where(known, tiles.unpack(None, 1)[0].astype(np.float64), np.nan)

    def keepable(self, inputs: Mask, outputs: Mask) -> tuple[Mask, Mask]:
        return inputs, outputs

    def keep(self, inputs: Mask, outputs: Mask, values: NDArray[np.float64]) -> Narrower:
        found = super().keep(inputs, outputs, values)
        if self.bias is not None and values.any():
            found.arrays["bias.values"] = self._sums(values).astype(self.dtype)[outputs]
        return found

    # --- saving -------------------------------------------------------------------------

    def check_savable(self) -> None:
        super().check_savable()
        ACTIVATIONS.saved_as(self.activation)

    def config(self) -> dict[str, Any]:
        return {
            "n_in": self.n_in, "n_out": self.n_out, "activation": self.activation.config(),
            "bias": self.has_bias,
            **({} if self.bias_begins_at_zero else {"bias_init": self.bias_init.config()}),
        }  # fmt: skip
