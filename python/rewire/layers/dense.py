"""The dense linear layer: the honest baseline, every product by NumPy's BLAS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._geometry import item_bytes
from rewire._structure import Mask
from rewire.activations import Activation
from rewire.initializers import KINDS as INITIALIZERS
from rewire.initializers import Initializer, initializer
from rewire.layers.base import (
    KEPT,
    OptimizerNeeds,
    Rescale,
    Updates,
    WeightLayer,
    odd_state,
    register_layer,
    sum_of_squares,
    take,
)
from rewire.workspace import Workspace

__all__ = ["Dense"]

_TAG = 0x44656E7365  # "Dense": keeps its random numbers apart from those of the shuffling


@register_layer
class Dense(WeightLayer):
    """y = f(W x + b) with all n_in * n_out weights.

    Parameters
    ----------
    n_in, n_out : int
    activation : str or Activation
    bias : bool
        Biases start at zero.
    init : str, float or Initializer

    Attributes
    ----------
    weights : ndarray, shape (n_out, n_in)
        Live, once the layer stands in a network.

    Notes
    -----
    BLAS threads by its own rules, so bits repeat only with the same BLAS and thread count.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        activation: str | Activation | dict[str, Any] = "linear",
        bias: bool = True,
        init: str | float | Initializer | dict[str, Any] = "he",
    ) -> None:
        super().__init__(n_in, n_out, activation, bias)
        self.init = initializer(init)
        self._weights: NDArray[Any] | None = None
        self.weight_grad: NDArray[Any] | None = None
        self.weight_state: dict[str, NDArray[Any]] = {}

    def needed_bytes(self, dtype: str) -> int:
        return 2 * self.n_in * self.n_out * item_bytes(dtype)  # weights and gradient

    def build(self, *, seed: int, index: int, depth: int | None, dtype: str, draw: bool = True) -> None:
        super().build(seed=seed, index=index, depth=depth, dtype=dtype, draw=draw)
        self._weights = _core.aligned_zeros((self.n_out, self.n_in), dtype)
        if draw:
            rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, index, _TAG])))
            self.init.fill(self._weights, self.activation.gain, rng)

    @property
    def weights(self) -> NDArray[Any]:
        """The weights, shape (n_out, n_in), live."""
        if self._weights is None:
            raise AttributeError("a Dense layer has no weights until it stands in a Sequential")
        return self._weights

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

    def forward(
        self, x: _core.Tiles, ws: Workspace, training: bool, step: int, threads: int, *, linear: bool = False
    ) -> _core.Tiles:
        y, z = self._output(x, ws, training, linear)
        code, slope = self._terms(linear)
        self._product(self.weights, self._flat(x, ws, (self.index, "x") if training else ("x", x.n)), y, ws)
        _core.activate(self._bias, code, slope, y, z, threads)
        return y

    def backward(
        self,
        dy: _core.Tiles,
        x: _core.Tiles,
        ws: Workspace,
        need_dx: bool,
        updates: Updates | None,
        step: int,
        threads: int,
        *,
        linear: bool = False,
    ) -> _core.Tiles | None:
        self._activate_back(dy, ws, linear, threads)
        self._bias_back(dy, threads)
        flat_dy = self._flat(dy, ws, ("dy", dy.n))
        # The forward pass has filled this buffer already when there are several tiles.
        flat_x = x.array()[0] if x.n_tiles == 1 else ws.array((self.index, "x"), flat_shape(x))
        dx = None
        if need_dx:
            dx = ws.other(self.n_in, dy)
            self._product(self.weights.T, flat_dy, dx, ws)
        if ws.probed is not None:
            return dx
        if self.weight_grad is None:
            self.weight_grad = _core.aligned_zeros((self.n_out, self.n_in), self.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            np.matmul(flat_dy, flat_x.T, out=self.weight_grad)
        if updates is not None:
            self.apply(updates, threads)
        return dx

    # --- optimizer ----------------------------------------------------------------------

    def prepare(self, optimizer: OptimizerNeeds) -> None:
        super().prepare(optimizer)
        shape = (self.n_out, self.n_in)
        self.weight_state = {n: _core.aligned_zeros(shape, self.dtype) for n in optimizer.state_names}

    def lacks(self, optimizer: OptimizerNeeds) -> str | None:
        return super().lacks(optimizer) or odd_state(
            "weights", self.weight_state, list(optimizer.state_names)
        )

    def apply(self, updates: Updates, threads: int) -> None:
        assert self.weight_grad is not None  # backward has been here
        _core.update_array(self.weights, self.weight_grad, updates.weights, *self.weight_state.values())
        self._update_bias(updates)

    def kept_gradients(self) -> list[NDArray[Any]]:
        return [*([] if self.weight_grad is None else [self.weight_grad]), *super().kept_gradients()]

    def grad_sumsq(self) -> float:
        own = 0.0 if self.weight_grad is None else sum_of_squares(self.weight_grad)
        return own + super().grad_sumsq()

    def scale_grad(self, factor: float) -> None:
        if self.weight_grad is not None:
            self.weight_grad *= factor
        super().scale_grad(factor)

    def rescaled(self, by: Rescale) -> list[Callable[[], Any]]:
        calls = super().rescaled(by)
        for name, values in {"weight": self.weights, **self.weight_state}.items():
            rows, cols = by.factors(KEPT[name])
            if rows is None and cols is None:
                continue
            changed = values if rows is None else values * rows[:, None]
            changed = changed if cols is None else changed * cols
            calls.append(partial(np.copyto, values, changed, casting="same_kind"))
        return calls

    def times(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.einsum("ij,j->i", self.weights, x)  # not by BLAS: its sums may depend on its threads

    # --- paths, and neurons that are removed ----------------------------------------------

    def live_outputs(self, inputs: Mask) -> Mask:
        return np.full(self.n_out, inputs.any())

    def live_inputs(self, outputs: Mask) -> Mask:
        return np.full(self.n_in, outputs.any())

    def connections(self) -> tuple[NDArray[Any], NDArray[Any]]:
        rows, cols = (np.arange(n, dtype=np.int32) for n in (self.n_out, self.n_in))
        return np.repeat(rows, self.n_in), np.tile(cols, self.n_out)

    def keep(
        self, inputs: Mask, outputs: Mask, values: NDArray[np.float64]
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        config, arrays = super().keep(inputs, outputs, values)
        for name in arrays:
            if not name.startswith("bias"):
                arrays[name] = np.ascontiguousarray(arrays[name][outputs][:, inputs])
        return config, arrays

    def magnitudes_in(self) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.abs(self.weights, dtype=np.float64).sum(axis=1)
        return found

    # --- saving, numbers ----------------------------------------------------------------

    def check_savable(self) -> None:
        super().check_savable()
        INITIALIZERS.saved_as(self.init)

    def config(self, state: bool = False) -> dict[str, Any]:
        return {
            "type": "Dense",
            "n_in": self.n_in,
            "n_out": self.n_out,
            "activation": self.activation.config(),
            "bias": self.has_bias,
            "init": self.init.config(),
        }

    def arrays(self, state: bool = False) -> dict[str, NDArray[Any]]:
        found = {"weights": self.weights.copy(), **super().arrays(state)}
        if state:
            found.update({f"weight_state.{name}": a.copy() for name, a in self.weight_state.items()})
        return found

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        super().restore(config, arrays)
        shape = (self.n_out, self.n_in)
        self.weights[...] = take(arrays, "weights", shape, self.dtype, self.label)
        self.weight_state = {}
        for key in sorted(arrays):  # adam_m before adam_v
            if key.startswith("weight_state."):
                state = _core.aligned_zeros(shape, self.dtype)
                state[...] = take(arrays, key, shape, self.dtype, self.label)
                self.weight_state[key.removeprefix("weight_state.")] = state

    @property
    def nnz(self) -> int:
        return self.n_in * self.n_out

    @property
    def nbytes(self) -> int:
        held = [self._weights, self.weight_grad, *self.weight_state.values()]
        return sum(a.nbytes for a in held if a is not None) + self._bias_bytes()

    def finite(self) -> bool:
        return all(bool(np.isfinite(row).all()) for row in self.weights) and super().finite()

    def finite_state(self) -> bool:
        squares = self.weight_state.get("adam_v")
        return squares is None or all(bool(np.isfinite(row).all()) for row in squares)

    def __repr__(self) -> str:
        return f"Dense({self.n_in}, {self.n_out}, activation={self.activation!r})"


def flat_shape(tiles: _core.Tiles) -> tuple[int, int]:
    """Shape of a batch as one matrix."""
    return tiles.n, tiles.n_tiles * tiles.tile
