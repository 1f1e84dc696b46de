"""What every layer is to a network, and what layers with weights share.

A layer is described by its constructor and gets its memory from
:meth:`Layer.build`, once its network says where it stands. Forward and backward
run on tiles (see ``tiles.h``) that a :class:`~rewire.workspace.Workspace` owns;
a layer finds its own outputs there under its index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import MAX_NEURONS, boolean, describe, integer
from rewire._geometry import padded
from rewire._registry import Registry
from rewire._structure import Mask
from rewire.activations import KINDS as ACTIVATIONS
from rewire.activations import Activation, Bound, activation
from rewire.layers.dependence import Dependence
from rewire.store import WeightStore
from rewire.workspace import Workspace

__all__ = [
    "KEPT", "Layer", "OptimizerNeeds", "Rescale", "Updates", "WeightLayer", "layer_from_config",
    "register_layer",
]


class Updates(NamedTuple):
    """One optimizer step's constants: decay applies to weights, not to biases.

    ``penalties`` has the decay of layers, by index, that have a forward set: see
    :class:`~rewire.rewiring.TopKAST`.
    """

    weights: _core.Update
    biases: _core.Update
    penalties: dict[int, _core.Penalty]


# Fields with a value for every weight that change with its units: as weights (0), or as a power of gradients.
KEPT = {"weight": 0, "masked_weight": 0, "momentum": 1, "adam_m": 1, "adam_v": 2}


class Rescale(NamedTuple):
    """A change of units: w becomes w * rows * cols, b becomes (b + W offset) * rows + shift.

    None stands for what would change nothing.

    Attributes
    ----------
    rows : ndarray of float64, shape (n_out,)
    cols : ndarray of float64, shape (n_in,)
    offset : ndarray of float64, shape (n_in,)
    shift : ndarray of float64, shape (n_out,)
    slope : ndarray of float64, shape (n_out,)
        What the gradient of the loss for a row's sum is multiplied by; what optimizers keep follows.
    """

    rows: NDArray[np.float64] | None = None
    cols: NDArray[np.float64] | None = None
    offset: NDArray[np.float64] | None = None
    shift: NDArray[np.float64] | None = None
    slope: NDArray[np.float64] | None = None

    def factors(self, power: int) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """By row and by column, for what is that power of the gradient."""
        if power == 0:
            return self.rows, self.cols
        return None if self.slope is None else self.slope**power, (
            None if self.cols is None else self.cols**-power
        )


class OptimizerNeeds(Protocol):
    """What a layer must keep for an optimizer."""

    @property
    def state_names(self) -> tuple[str, ...]:
        """Fields, one value a weight: () or ("momentum",) or ("adam_m", "adam_v")."""

    @property
    def needs_age(self) -> bool:
        """Whether links are bias-corrected by their own age (field "born": the birth step)."""


class Layer(Dependence):
    """Base of all layers.

    Notes
    -----
    A layer of your own is a subclass without weights, with as many outputs as inputs; ``n_in`` and
    ``n_out`` are set to the width of its neighbours when the network is built. It must define ``forward``,
    ``backward`` and ``config`` (``{"type": <the class's name>, ...arguments of its constructor}``); decorated
    with ``rewire.layers.register_layer`` it is read from files too. Layers with weights are `Sparse`, `Dense`
    and subclasses of these.

    Whoever follows paths through the network (removal of chains or neurons, `rewire.analysis`) also asks
    which outputs depend on which inputs: ``live_outputs`` and ``live_inputs``. A layer whose output i is a
    function of input i alone inherits these and more from `rewire.layers.Elementwise`.
    """

    n_in: int = 0
    n_out: int = 0
    index: int = -1  # position in the network; also the stream of its random numbers

    @property
    def built(self) -> bool:
        """Whether the layer stands in a network."""
        return self.index >= 0

    @property
    def label(self) -> str:
        """``layer 2 (Sparse 1000 -> 10)``."""
        return f"layer {self.index} ({type(self).__name__} {self.n_in} -> {self.n_out})"

    @property
    def store(self) -> WeightStore:
        """The connections of a `Sparse` layer; AttributeError for others."""
        raise AttributeError(f"{self.label} has no store, as only Sparse layers have", name="store", obj=self)

    def __repr__(self) -> str:
        return type(self).__name__

    # --- life in a network --------------------------------------------------------------

    def connect(self, n: int) -> None:
        """Take over the width of the neighbouring layer: a layer without weights has one width."""
        self.n_in = self.n_out = n

    def build(self, *, seed: int, index: int, depth: int | None, dtype: str, draw: bool = True) -> None:
        """Take memory and draw the initial links and weights.

        Parameters
        ----------
        seed : int
        index : int
            Position among all layers of the network.
        depth : int or None
            k for the k-th hidden weight layer (1 first), None for the output layer.
        dtype : {"float32", "float64"}
        draw : bool
            False leaves the layer empty, for :meth:`restore`.
        """
        if self.built:
            raise ValueError(f"{self.label} already belongs to a network; make a new layer for another one")
        self.index, self.seed, self.dtype = index, seed, dtype

    def needed_bytes(self, dtype: str) -> int:
        """Bytes :meth:`build` will take at its peak."""
        return 0

    def forward(
        self, x: _core.Tiles, ws: Workspace, training: bool, step: int, threads: int, *, linear: bool = False
    ) -> _core.Tiles:
        """Outputs for inputs ``x``. ``linear`` leaves the activation out (a loss has it fused)."""
        raise NotImplementedError

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
        """The gradient for the inputs, from ``dy`` for the outputs (overwritten).

        With ``updates`` the weights take their optimizer step here, after their old values have been used;
        without, gradients are kept for :meth:`apply`. Both give the same bits.
        """
        raise NotImplementedError

    # --- gradients that are kept (clipping; rules that look at them) --------------------

    def prepare(self, optimizer: OptimizerNeeds) -> None:
        """Fresh optimizer state."""

    def lacks(self, optimizer: OptimizerNeeds) -> str | None:
        """What :meth:`prepare` would have made and is not there, or does not fit; None if all is well."""
        return None

    def hold_gradients(self, hold: bool) -> None:
        """Take or give back the memory that backward without ``updates`` needs."""

    def apply(self, updates: Updates, threads: int) -> None:
        """One optimizer step from the kept gradients."""

    def kept_gradients(self) -> list[NDArray[Any]]:
        """The kept gradients of weights and biases; copies, or not."""
        return []

    def grad_sumsq(self) -> float:
        """Sum of squares of the kept gradients, in a fixed order."""
        return 0.0

    def scale_grad(self, factor: float) -> None:
        """Multiply the kept gradients."""

    # --- saving -------------------------------------------------------------------------

    def config(self, state: bool = False) -> dict[str, Any]:
        """JSON-able description; with ``state`` also what the optimizer keeps."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Layer:
        """An unbuilt layer from :meth:`config`."""
        return cls(**{k: v for k, v in config.items() if k not in ("type", "fields")})

    def arrays(self, state: bool = False) -> dict[str, NDArray[Any]]:
        """Copies of all arrays that make the layer; with ``state`` the optimizer's too."""
        return {}

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over :meth:`arrays` of an equal layer. ValueError when they do not fit."""

    # --- numbers ------------------------------------------------------------------------

    @property
    def nnz(self) -> int:
        """Connections."""
        return 0

    @property
    def density(self) -> float:
        """Connections over n_in * n_out."""
        return self.nnz / (self.n_in * self.n_out) if self.nnz else 0.0

    @property
    def n_params(self) -> int:
        """Connections and biases."""
        return self.nnz

    @property
    def nbytes(self) -> int:
        """Bytes of weights, structure and optimizer state."""
        return 0

    def check_savable(self) -> None:
        """NotImplementedError if a file would bring back a layer of another class, or none."""
        KINDS.saved_as(self, str(self.config().get("type")))

    def finite(self) -> bool:
        """Whether all weights and biases are finite."""
        return True

    def finite_state(self) -> bool:
        """Whether squares of gradients are; where they overflow, weights stop learning without a word."""
        return True


class WeightLayer(Layer):
    """A layer y = f(W x + b): activation, bias and the bias's optimizer state."""

    def __init__(
        self, n_in: int, n_out: int, activation_: str | Activation | dict[str, Any], bias: bool
    ) -> None:
        self.n_in = integer("n_in", n_in, low=1, high=MAX_NEURONS)
        self.n_out = integer("n_out", n_out, low=1, high=MAX_NEURONS)
        self.activation = activation(activation_)
        self.has_bias = boolean("bias", bias)
        self._bias: NDArray[Any] | None = None  # padded with zeros
        self._bias_grad: NDArray[Any] | None = None  # likewise
        self.bias_state: dict[str, NDArray[Any]] = {}
        self.bound: Bound

    def build(self, *, seed: int, index: int, depth: int | None, dtype: str, draw: bool = True) -> None:
        bound = self.activation.bind(depth)
        super().build(seed=seed, index=index, depth=depth, dtype=dtype, draw=draw)
        self.bound = bound
        if self.has_bias:
            rows = padded(self.n_out)
            self._bias, self._bias_grad = _core.aligned_zeros(rows, dtype), _core.aligned_zeros(rows, dtype)

    @property
    def bias(self) -> NDArray[Any] | None:
        """The biases, shape (n_out,), live; None for a layer without. They start at zero."""
        return None if self._bias is None else self._bias[: self.n_out]

    @property
    def bias_grad(self) -> NDArray[Any] | None:
        """The biases' gradient of the last backward pass, live."""
        return None if self._bias_grad is None else self._bias_grad[: self.n_out]

    # --- shared halves of forward and backward ------------------------------------------

    def _terms(self, linear: bool) -> tuple[str, float]:
        return ("linear", 0.0) if linear else (self.bound.code, self.bound.slope)

    def _output(
        self, x: _core.Tiles, ws: Workspace, training: bool, linear: bool
    ) -> tuple[_core.Tiles, _core.Tiles | None]:
        """Tiles for the outputs, and for the activation's inputs where backward will want them."""
        if not training:
            return ws.other(self.n_out, x), None
        keep = self.bound.needs_input and not linear
        return ws.tiles((self.index, "y"), self.n_out), (
            ws.tiles((self.index, "z"), self.n_out) if keep else None
        )

    def _activate_back(self, dy: _core.Tiles, ws: Workspace, linear: bool, threads: int) -> None:
        code, slope = self._terms(linear)
        if code != "linear":
            kept = ws.tiles((self.index, "z" if self.bound.needs_input else "y"), self.n_out)
            _core.activate_back(code, slope, kept, dy, threads)

    def _bias_back(self, dy: _core.Tiles, threads: int) -> None:
        if self._bias_grad is not None:
            _core.bias_gradient(dy, self._bias_grad, threads)

    def _update_bias(self, updates: Updates) -> None:
        if self.bias is not None and self.bias_grad is not None:
            _core.update_array(self.bias, self.bias_grad, updates.biases, *self.bias_state.values())

    # --- paths, and neurons that are removed ----------------------------------------------

    @property
    def absorbs(self) -> bool | None:
        return self.has_bias

    def constant(self, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
        sums = self.times(values) if self.bias is None else self.bias + self.times(values)
        known = np.isfinite(sums)
        tiles = _core.Tiles(self.n_out, 1, _core.tile_size(1, self.dtype), self.dtype)
        tiles.pack(np.where(known, sums, 0.0)[None].astype(self.dtype))
        _core.activate(None, self.bound.code, self.bound.slope, tiles, None, 1)
        return np.where(known, tiles.unpack(None, 1)[0].astype(np.float64), np.nan)

    def keepable(self, inputs: Mask, outputs: Mask) -> tuple[Mask, Mask]:
        return inputs, outputs

    def keep(
        self, inputs: Mask, outputs: Mask, values: NDArray[np.float64]
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        arrays = self.arrays(state=True)
        if self.bias is not None and values.any():
            arrays["bias"] = (self.bias + self.times(values)).astype(self.dtype)
        cut = {name: a[outputs] if name.startswith("bias") else a for name, a in arrays.items()}
        return {**self.config(state=True), "n_in": int(inputs.sum()), "n_out": int(outputs.sum())}, cut

    def magnitudes_in(self) -> NDArray[np.float64]:
        """Sum of |w| over the incoming links of every neuron, shape (n_out,)."""
        raise NotImplementedError

    # --- state --------------------------------------------------------------------------

    def prepare(self, optimizer: OptimizerNeeds) -> None:
        if self.has_bias:
            self.bias_state = {n: _core.aligned_zeros(self.n_out, self.dtype) for n in optimizer.state_names}

    def lacks(self, optimizer: OptimizerNeeds) -> str | None:
        wanted = list(optimizer.state_names) if self.has_bias else []
        return odd_state("bias", self.bias_state, wanted)

    def kept_gradients(self) -> list[NDArray[Any]]:
        return [] if self.bias_grad is None else [self.bias_grad]

    def grad_sumsq(self) -> float:
        return 0.0 if self.bias_grad is None else sum_of_squares(self.bias_grad)

    def scale_grad(self, factor: float) -> None:
        if self._bias_grad is not None:
            self._bias_grad *= factor

    def finite(self) -> bool:
        return self._bias is None or bool(np.isfinite(self._bias).all())

    def check_savable(self) -> None:
        super().check_savable()
        ACTIVATIONS.saved_as(self.activation)

    def arrays(self, state: bool = False) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {}
        if self.bias is not None:
            found["bias"] = self.bias.copy()
        if state:
            found.update({f"bias_state.{name}": a.copy() for name, a in self.bias_state.items()})
        return found

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        if self.bias is not None:
            self.bias[...] = take(arrays, "bias", (self.n_out,), self.dtype, self.label)
        self.bias_state = {}
        for key in sorted(arrays):  # adam_m before adam_v
            if key.startswith("bias_state."):
                state = _core.aligned_zeros(self.n_out, self.dtype)
                state[...] = take(arrays, key, (self.n_out,), self.dtype, self.label)
                self.bias_state[key.removeprefix("bias_state.")] = state

    def rescaled(self, by: Rescale) -> list[Callable[[], Any]]:
        """What to call for a change of units: all is computed here, each call is one step for Python."""
        calls: list[Callable[[], Any]] = []
        if self.bias is None:
            return calls
        bias = self.bias.astype(np.float64)
        if by.offset is not None:
            bias += self.times(by.offset)
        if by.rows is not None:
            bias *= by.rows
        if by.shift is not None:
            bias += by.shift
        calls.append(partial(np.copyto, self.bias, bias, casting="same_kind"))
        if by.slope is not None:
            for name, state in self.bias_state.items():
                changed = state * by.slope ** KEPT[name]
                calls.append(partial(np.copyto, state, changed, casting="same_kind"))
        return calls

    def times(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """W x in float64, shape (n_out,)."""
        raise NotImplementedError

    @property
    def n_params(self) -> int:
        return self.nnz + (self.n_out if self.has_bias else 0)

    def _bias_bytes(self) -> int:
        if self._bias is None or self._bias_grad is None:
            return 0
        held = self._bias.nbytes + self._bias_grad.nbytes
        for state in self.bias_state.values():
            held += state.nbytes
        return held


def odd_state(what: str, state: Mapping[str, NDArray[Any]], wanted: list[str]) -> str | None:
    """How the optimizer's state of ``what`` differs from what is wanted; None if it does not."""
    if list(state) == wanted:
        return None
    kept, names = (", ".join(n) or "nothing" for n in (state, wanted))
    return f"a state of {names} for its {what} (there is {kept})"


def sum_of_squares(a: NDArray[Any]) -> float:
    """Sum of squares in float64, in an order that depends on the size alone."""
    flat, total = a.reshape(-1), 0.0
    for start in range(0, flat.size, 1 << 16):
        part = flat[start : start + (1 << 16)].astype(np.float64)
        total += float(np.square(part, out=part).sum())
    return total


def take(
    arrays: Mapping[str, NDArray[Any]], key: str, shape: tuple[int, ...], dtype: str, where: str
) -> NDArray[Any]:
    """``arrays[key]``, which must have this shape and dtype."""
    if key not in arrays:
        raise ValueError(f"{where}: array {key!r} is missing")
    a = np.asarray(arrays[key])
    if a.shape != shape or a.dtype != np.dtype(dtype):
        raise ValueError(
            f"{where}: array {key!r} must have shape {shape} and dtype {dtype}, got {a.shape} and {a.dtype}"
        )
    return np.ascontiguousarray(a)


def refuse_incomplete(name: str, kind: type[Layer]) -> None:
    """TypeError for a layer class that could not be trained or saved, naming what it lacks."""
    needed = ("forward", "backward", "config")
    lacks = [method for method in needed if getattr(kind, method) is getattr(Layer, method)]
    if lacks:
        raise TypeError(f"{name} ({kind.__name__}) must define {', '.join(lacks)}: see rewire.Layer")


KINDS = Registry(
    "layer type", Layer, "a Layer", by_class=True,
    to_save="decorate it with @rewire.layers.register_layer, and let its config() say its own type",
    hint="; before a layer of one's own is read, import the module that registers it (register_layer)",
)  # fmt: skip


def register_layer(cls: type[Layer]) -> type[Layer]:
    """Make a layer class known to :func:`layer_from_config` under its name; a decorator.

    Raises
    ------
    TypeError
        For something that is no subclass of Layer, or lacks one of the methods every layer must have.
    ValueError
        For the name of another layer class.
    """
    if not (isinstance(cls, type) and issubclass(cls, Layer)):
        raise TypeError(f"cls must be a subclass of Layer, got {describe(cls)}")
    refuse_incomplete("cls", cls)
    return KINDS.register(cls)


def layer_from_config(config: Mapping[str, Any]) -> Layer:
    """An unbuilt layer from its ``config()``."""
    return KINDS.named(config.get("type")).from_config(config)
