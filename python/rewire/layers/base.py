"""What every layer is to a network, and the registry of their classes.

A layer is described by its constructor, learns its widths by :meth:`Layer.connect`, and
declares its parameters and buffers; its network gives them memory. Forward and
backward run on tiles (see ``tiles.h``) that a pass hands out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import describe
from rewire._foreign import HintedArguments
from rewire._params import lost_object
from rewire._precision import variable_dtype
from rewire._registry import Registry
from rewire._structure import Mask
from rewire.activations import Activation, Linear
from rewire.layers.affine import Affine
from rewire.layers.dependence import Dependence, Narrower
from rewire.layers.passing import Pass, Report
from rewire.layers.showing import shown
from rewire.parameters import Buffer, Parameter, Rescale
from rewire.parameters.counting import connections, full_connections, held_bytes, trained_values
from rewire.store import WeightStore
from rewire.workspace import Workspace

__all__ = ["Layer", "layer_from_config", "register_layer"]

T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Any])


def function_of(of: Any, method: str) -> Any:
    """The object's method as its class defines it; None if the object has another in its place."""
    return getattr(getattr(of, method, None), "__func__", None)


def undefined(method: Method) -> Method:
    """A method that a subclass must define; one that does not is refused where it is first used."""
    method.is_undefined = True  # type: ignore[attr-defined]
    return method


class Layer(HintedArguments, Dependence):
    """Base of all layers.

    Attributes
    ----------
    n_in, n_out : int
        Widths; 0 before :meth:`connect` where the constructor does not say.
    index : int
        Its number among all layers of the network, those inside of others included; -1 before it stands in
        one. Names its tiles and its random numbers.
    name : str
        Such as ``"layers.2"``, or ``"layers.2.0"`` inside of another one.
    dtype : {"float32", "float64"}
        Of its values: of tiles, parameters and what it gives.
    compute_dtype : {"float32", "float64", "bfloat16"}
        The network's dtype, which sparse weights multiply in.
    activation : Activation
        What the outputs went through last; linear for layers that have none.
    input_gain : float
        Factor on the initial weights of the layer before, if that has no activation: of a layer that stands
        in an activation's place, as `Activation.gain`.

    Notes
    -----
    A layer of your own is a subclass. It must define ``forward`` and ``backward``; one that computes with
    NumPy inherits these from `rewire.layers.ArrayLayer`. Decorated with ``rewire.layers.register_layer`` it
    is read from files too. Attributes that are parameters are trained, those that are buffers are kept, and
    those that are layers are what it is made of: counting, optimizers, clipping, rewiring and saving follow.
    By default it has as many outputs as inputs, see :meth:`connect`, and is saved by the arguments of its
    constructor, which it keeps as attributes of their names.

    Whoever follows paths through the network (removal of chains or neurons, `rewire.analysis`) also asks
    which outputs depend on which inputs: ``live_outputs`` and ``live_inputs``. A layer whose output i is a
    function of input i alone inherits these and more from `rewire.layers.Elementwise`, one whose outputs all
    depend on all inputs from `rewire.layers.Mixing`.
    """

    n_in: int = 0
    n_out: int = 0
    index: int = -1
    name: str = ""
    network_seed: int
    dtype: str
    compute_dtype: str = "float32"  # of a layer that was pickled by itself before it had one
    activation: Activation = Linear()
    input_gain: float = 1.0
    branches: ClassVar[bool] = False  # whether layers in a list among its arguments stand beside each other
    may_end: ClassVar[bool] = True  # whether a network may end with such a layer
    keeps: ClassVar[bool] = False  # whether a training step has tiles for its outputs alone
    required: ClassVar[tuple[str, ...]] = ("forward", "backward")  # methods that a subclass must define

    @property
    def built(self) -> bool:
        """Whether the layer stands in a network."""
        return self.index >= 0

    @property
    def label(self) -> str:
        """``layer 2 (Sparse 1000 -> 10)``."""
        place = self.name.removeprefix("layers.") or self.index
        return f"layer {place} ({type(self).__name__} {self.n_in} -> {self.n_out})"

    @property
    def takes_few(self) -> bool:
        """Whether ``forward`` and ``backward`` take ``_core.SparseInputs`` in the place of tiles.

        A first layer that says so gets them for a sparse X. They have the size and type of tiles and can be
        unpacked and looked at for what is not finite, but are no array: whoever reads inputs in other ways, a
        learner too, is to expect both.
        """
        return False

    @property
    def store(self) -> WeightStore:
        """The connections of a `Sparse` layer; AttributeError for others."""
        raise AttributeError(f"{self.label} has no store, as only Sparse layers have", name="store", obj=self)

    def __repr__(self) -> str:
        try:
            return shown(self, self._said())
        except Exception:  # a class of somebody's that cannot be described; messages name it nevertheless
            return type(self).__name__

    def _said(self) -> dict[str, Any]:
        """The constructor's arguments for `repr`, by name."""
        return self.config()

    # --- what it is made of ---------------------------------------------------------------

    def parameters(self) -> Mapping[str, Parameter]:
        """What the layer trains, by name, without that of :meth:`children`. The objects stay the same."""
        return self._attributes(Parameter)

    def buffers(self) -> Mapping[str, Buffer]:
        """What the layer keeps and does not train, by name, without that of :meth:`children`."""
        return self._attributes(Buffer)

    def children(self) -> Mapping[str, Layer]:
        """The layers that it is made of, by name: it runs them itself, and connects them."""
        return self._attributes(Layer)

    def _attributes(self, kind: type[T]) -> dict[str, T]:
        """Attributes of this kind, in the order in which they were made."""
        return {name: value for name, value in vars(self).items() if isinstance(value, kind)}

    def tree(self) -> Iterator[Layer]:
        """The layer, and all layers inside of it, in a fixed order."""
        yield self
        for child in self.children().values():
            yield from child.tree()

    # --- life in a network --------------------------------------------------------------

    def connect(self, n_in: int) -> None:
        """Learn the number of inputs; say ``n_out``, and make parameters whose shapes depend on it.

        By default a layer has as many outputs, unless its constructor has said how many.
        """
        self.n_in, self.n_out = n_in, self.n_out or n_in

    def precedes(self, layer: Layer) -> None:
        """Learn which layer follows in the row; a layer with weights takes over its :attr:`input_gain`."""

    def build(self, *, seed: int, index: int, name: str, depth: int | None, dtype: str) -> None:
        """Learn the place in a network.

        Parameters
        ----------
        seed : int
        index : int
        name : str
        depth : int or None
            k for the k-th hidden layer with connections (1 first), and for those without that follow it; None
            for the output layer.
        dtype : {"float32", "float64", "bfloat16"}
        """
        if self.built:
            raise ValueError(f"{self.label} already belongs to a network; make a new layer for another one")
        self.network_seed, self.index, self.name = seed, index, name
        self.dtype, self.compute_dtype = variable_dtype(dtype), dtype

    def start(self) -> None:
        """In a new network, after parameters have been drawn: the place to set what is not random."""

    @undefined
    def forward(self, x: _core.Tiles, p: Pass) -> _core.Tiles:
        """Outputs for inputs ``x``; without the activation if ``p.linear`` is this layer."""
        raise NotImplementedError

    @undefined
    def backward(self, dy: _core.Tiles, x: _core.Tiles, p: Pass, need_dx: bool) -> _core.Tiles | None:
        """The gradient for the inputs, from ``dy`` for the outputs (may be overwritten); None if not needed.

        Gradients of parameters go to the pass: :meth:`Pass.learn`, :meth:`Pass.learn_links`. The old values
        may be gone afterwards.
        """
        raise NotImplementedError

    def follow(self, reports: Sequence[Report], epoch: int) -> None:
        """Let buffers follow the samples of a training step, by what `Pass.report` was given of them.

        Parameters
        ----------
        reports : sequence of Report
            ``values`` and ``samples`` of each shard of the batch that gave a report, in order; of one where
            the batch is not cut.
        epoch : int
            Epochs of training before this one.
        """
        raise NotImplementedError

    def affine_at(self, x: NDArray[np.float64], *, final: bool = False) -> Affine:
        """The linear map that the layer is near one input, out of training: see `rewire.analysis.linear_at`.

        Parameters
        ----------
        x : ndarray of float64, shape (n_in,)
        final : bool
            Whether an activation of the outputs is left out.

        Raises
        ------
        TypeError
            If it is none, or does not say so.
        """
        raise TypeError(
            f"{self.label} is no piecewise linear function of one sample, or does not define affine_at"
        )

    # --- other units ------------------------------------------------------------------------

    def rescaled(self, by: Rescale) -> list[Callable[[], Any]] | None:
        """What to call so that the layer follows a change of units; None if it cannot follow one."""
        return None

    # --- neurons that are removed -----------------------------------------------------------

    def keep(self, inputs: Mask, outputs: Mask, values: NDArray[np.float64]) -> Narrower:
        if self.children():
            raise TypeError(f"{self.label} cannot be made narrower: it is made of other layers")
        config = self.config()
        config |= {
            key: int(mask.sum()) for key, mask in (("n_in", inputs), ("n_out", outputs)) if key in config
        }
        found = Narrower(config, {}, {})
        name = ""
        try:
            for name, parameter in self.parameters().items():
                found.parts[name], arrays = parameter.kept(inputs, outputs)
                found.arrays.update({f"{name}.{key}": a for key, a in arrays.items()})
            for name, buffer in self.buffers().items():
                left = buffer.kept(inputs, outputs)
                found.parts[f"buffer.{name}"] = buffer.config(left)
                found.arrays[f"buffer.{name}"] = left
        except TypeError as error:
            raise TypeError(f"{self.label} cannot be made narrower: its {name!r} {error}") from None
        return found

    # --- saving -------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """JSON-able description: the class's name, and the constructor's arguments.

        By default those are attributes of the arguments' names: numbers, words, layers, lists of these, and
        objects with a ``config()``, in whose place the constructor gets the dict that this gave: for an
        activation or an initializer it calls `rewire.activations.activation` or
        `rewire.initializers.initializer`, which take both. One of its own names the class:
        ``{"type": "Mine", "width": 9}``.

        Raises
        ------
        NotImplementedError
            For an argument without such an attribute, or of another kind.
        """
        values = {}
        for name, value in self._arguments().items():
            try:
                values[name] = _described(value)
            except TypeError as error:
                raise NotImplementedError(
                    f"{type(self).__name__} cannot be saved: its {name!r} must be {error}; or give the class "
                    "a config() and a from_config() of its own"
                ) from None
        return {"type": type(self).__name__, **values}

    def _arguments(self) -> dict[str, Any]:
        """The constructor's arguments, as the layer keeps them."""
        names = _named(type(self))
        missing = [name for name in names if name not in vars(self)]
        if missing:
            raise NotImplementedError(
                f"{type(self).__name__} cannot be saved: it keeps no attribute {missing[0]!r}, "
                "as its parameter is called, and has no config() of its own"
            )
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Layer:
        """An unbuilt layer from :meth:`config`."""
        return cls(**{name: _made(value) for name, value in config.items() if name != "type"})

    def check_savable(self) -> None:
        """NotImplementedError if a file would bring back a layer of another class, or none."""
        config = self.config()
        KINDS.saved_as(self, str(config.get("type")))
        if type(self).config is Layer.config and any(map(_is_described, self._arguments().values())):
            self._refuse_lost_arguments(config)
        for name in _named(type(self)):
            for layer in _layers_in(vars(self).get(name)):
                layer.check_savable()
        for layer in self.tree():
            for parameter in layer.parameters().values():
                parameter.check_savable()

    def _refuse_lost_arguments(self, config: Mapping[str, Any]) -> None:
        """NotImplementedError if the constructor would get, and keep, a dict in the place of an object."""
        try:
            lost, why = lost_object(self, type(self).from_config(config)), ""
        except (TypeError, ValueError, KeyError, AttributeError, NotImplementedError) as error:
            lost, why = next(name for name, v in self._arguments().items() if _is_described(v)), f" ({error})"
        if lost is not None:
            raise NotImplementedError(
                f"{type(self).__name__} cannot be saved: a file would give its constructor the dict of a "
                f"config() as {lost!r}, in the place of {describe(getattr(self, lost))}{why}; let it make "
                "the object of the dict, or give the class a config() and a from_config() of its own"
            )

    # --- numbers ------------------------------------------------------------------------

    @property
    def connects(self) -> bool:
        """Whether the layer itself has connections, of weights of their own."""
        return any(parameter.connects for parameter in self.parameters().values())

    @property
    def learns(self) -> bool:
        """Whether the layer, or one inside, has parameters."""
        return any(layer.parameters() for layer in self.tree())

    def all_parameters(self) -> list[Parameter]:
        """Those of the layer and of layers inside, each once."""
        found = {id(q): q for layer in self.tree() for q in layer.parameters().values()}
        return list(found.values())

    @property
    def nnz(self) -> int:
        """Connections, of layers inside as well."""
        return connections(self.all_parameters())

    @property
    def full(self) -> int:
        """Connections there were if all were there."""
        return full_connections(self.all_parameters())

    @property
    def density(self) -> float:
        """Connections over those of a full layer."""
        return self.nnz / self.full if self.nnz else 0.0

    @property
    def n_params(self) -> int:
        """Trained values: connections, biases and others."""
        return trained_values(self.all_parameters())

    @property
    def nbytes(self) -> int:
        """Bytes of weights, structure, buffers and optimizer state."""
        buffers = [buffer for layer in self.tree() for buffer in layer.buffers().values()]
        return held_bytes([*self.all_parameters(), *buffers])

    def kept_values(self, *, linear: bool) -> int:
        """Values of a sample that a training step keeps for it, at the least, in tiles of its own.

        ``linear``: its activation is part of the loss.
        """
        return self.n_out if self.keeps else 0

    def fault(self) -> tuple[str, str] | None:
        """What nobody can compute with: the label of the layer, this or one inside, and what it has.

        As weights that are not finite, or a buffer out of its range. None if there is nothing.
        """
        for layer in self.tree():
            if not all(parameter.finite() for parameter in layer.parameters().values()):
                return layer.label, "weights that are not finite"
            for name, buffer in layer.buffers().items():
                if (what := buffer.fault()) is not None:
                    return layer.label, f"a value in its buffer {name!r} that is {what}"
        return None


def _named(kind: type[Layer]) -> list[str]:
    """The parameters of a class's constructor; `object` has one that takes anything."""
    return [] if kind.__init__ is object.__init__ else list(inspect.signature(kind.__init__).parameters)[1:]


def _described(value: Any) -> Any:
    """What JSON can hold of an argument."""
    if isinstance(value, list | tuple):
        return [_described(each) for each in value]
    if callable(getattr(value, "config", None)):
        return value.config()
    if isinstance(value, np.bool_ | np.integer | np.floating):
        return value.item()
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _described(each) for key, each in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        "a number, a word, a layer, something with a config(), or lists and dicts by words of these, "
        f"got {describe(value)}"
    )


def _made(value: Any) -> Any:
    """The argument that :func:`_described` described, with layers in the place of their descriptions."""
    if isinstance(value, list):
        return [_made(each) for each in value]
    if isinstance(value, Mapping) and "type" not in value:
        return {key: _made(each) for key, each in value.items()}
    return layer_from_config(value) if isinstance(value, Mapping) and "type" in value else value


def _is_described(value: Any) -> bool:
    """Whether a file has a dict in the place of an argument that is no layer."""
    if isinstance(value, list | tuple):
        return any(map(_is_described, value))
    if isinstance(value, dict):
        return True
    return not isinstance(value, Layer) and callable(getattr(value, "config", None))


def _layers_in(value: Any) -> list[Layer]:
    """The layers among the constructor's arguments; others it makes itself."""
    if isinstance(value, list | tuple):
        return [layer for each in value for layer in _layers_in(each)]
    return [value] if isinstance(value, Layer) else []


def refuse_incomplete(name: str, kind: type[Layer]) -> None:
    """TypeError for a layer class that could not be trained or saved, naming what it lacks."""
    for word in ("index", "name", "dtype"):
        if word in _named(kind):
            raise TypeError(f"{name} ({kind.__name__}) must call its parameter {word!r} otherwise: see Layer")
    lacks = [m for m in kind.required if getattr(getattr(kind, m), "is_undefined", False)]
    if lacks:
        raise TypeError(f"{name} ({kind.__name__}) must define {', '.join(lacks)}: see rewire.Layer")


def outputs_alone(layer: Layer, x: NDArray[Any]) -> NDArray[np.float64]:
    """What a built layer gives outside of training, run alone; its buffers stay what they are.

    Parameters
    ----------
    layer : Layer
    x : ndarray, shape (samples, n_in)

    Returns
    -------
    ndarray of float64, shape (samples, n_out)
    """
    ws = Workspace(layer.dtype)
    ws.shape(len(x))
    tiles = ws.tiles("input", layer.n_in)
    tiles.pack(np.ascontiguousarray(x, layer.dtype))
    kept = [(buffer, buffer.values.copy()) for part in layer.tree() for buffer in part.buffers().values()]
    try:
        return layer.forward(tiles, Pass(ws)).unpack(None, 1).astype(np.float64)
    finally:
        for buffer, values in kept:
            buffer.values = values


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
