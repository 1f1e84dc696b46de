"""Layers in a row: how they are connected, run forward and backward; and a row as one layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import describe
from rewire._structure import Mask
from rewire.layers.affine import Affine, compose
from rewire.layers.base import Layer, Method, function_of, register_layer
from rewire.layers.composite import Composite, width_given
from rewire.layers.passing import Pass
from rewire.reachability import live_backward, live_forward

__all__ = [
    "Row", "backward_through", "blind", "connect_row", "first_learning", "forward_through", "given_tiles",
    "width_of",
]  # fmt: skip


ASK = "give it n_in, as Concat([...], n_in=64), or let a layer that says so stand first"


def width_of(layers: Sequence[Layer]) -> int:
    """How many inputs a row takes, by the first layer that says so; 0 if none does.

    Layers before that one are taken to hand on as many values as they get; :func:`connect_row` refuses it
    where they do not. One that says its own number of outputs tells nothing of its inputs: ValueError.
    """
    first = next((i for i, layer in enumerate(layers) if layer.n_in or layer.n_out), 0)
    if layers and layers[first].n_out and not layers[first].n_in:
        raise ValueError(f"layers[{first}] ({layers[first]!r}) must say how many inputs it takes: {ASK}")
    known = [layer.n_in for layer in (*layers, *(each for row in layers for each in row.tree()))]
    return next((n for n in known if n), 0)


def connect_row(layers: Sequence[Layer], n_in: int, where: str = "layers") -> int:
    """Let each layer learn its widths from the one before; the number of outputs.

    Raises
    ------
    ValueError
        If they do not fit; both are named.
    """
    free = [layer for layer in layers if not layer.n_in]  # they learn their widths here
    try:
        return _connect(layers, n_in, where)
    except BaseException:
        for layer in free:
            layer.n_in = layer.n_out = 0
        raise


def _connect(layers: Sequence[Layer], width: int, where: str) -> int:
    giver = None  # the layer before whose width this one must take
    for i, layer in enumerate(layers):
        own = layer.n_in
        if own and own != width:
            before = "what is before it" if giver is None else f"layer {giver} ({layers[giver]!r})"
            raise ValueError(f"layer {i} ({layer!r}) takes {own} inputs, but {before} gives {width} outputs")
        layer.connect(width)
        if layer.n_in != width or not isinstance(layer.n_out, int | np.integer) or layer.n_out < 1:
            raise ValueError(
                f"{where}[{i}] ({type(layer).__name__}) must take {width} values and give some, "
                f"got {layer.n_in!r} and {layer.n_out!r}: its connect() is wrong"
            )
        if i and layer.input_gain != 1.0:
            layers[i - 1].precedes(layer)
        if layer.connects or layer.n_out != width or own:
            giver = i
        width = layer.n_out
    return width


def forward_through(
    layers: Sequence[Layer], x: _core.Tiles, p: Pass, *, shown: bool = False
) -> list[_core.Tiles]:
    """Inputs of every layer, and the outputs of the last one at the end.

    Unless training, inner results share their memory and only the last one is valid. In training, dropout may
    write over what it takes; not if they are ``shown``, to somebody who may look at them.
    """
    flow, outer, before = [x], p.layer, None
    for layer in layers:
        p.layer = layer
        p.onward = None if before is None or shown else (layer, before)
        x = layer.forward(x, p)
        if not isinstance(x, _core.Tiles) or x.n != layer.n_out:
            given_tiles(layer, "forward", x, layer.n_out)
        flow.append(x)
        before = layer
    p.layer, p.onward = outer, None
    return flow


def first_learning(layers: Sequence[Layer]) -> int:
    """The position of the first layer that has parameters; the number of layers if none has."""
    return next((i for i, layer in enumerate(layers) if layer.learns), len(layers))


def given_tiles(layer: Layer, method: str, found: Any, n: int) -> _core.Tiles:
    """What a layer's method gave; TypeError or ValueError unless it is tiles of ``n`` features."""
    if not isinstance(found, _core.Tiles):
        raise TypeError(f"{layer.label}: {method} must give tiles, got {describe(found)}")
    if found.n != n:
        raise ValueError(f"{layer.label}: {method} must give tiles of {n} features, got {found.n}")
    return found


def backward_through(
    layers: Sequence[Layer],
    dy: _core.Tiles,
    flow: Sequence[_core.Tiles],
    p: Pass,
    first: int,
    need_dx: bool,
) -> _core.Tiles | None:
    """The gradient for the inputs, from ``dy`` (overwritten) for the outputs; None if it is not needed.

    ``flow`` is what :func:`forward_through` gave. Unless the gradient is needed, layers before ``first``, the
    first one that learns, are left alone.
    """
    if need_dx:
        first = -1  # all layers, and each has to give its gradient
    gradient, outer = dy, p.layer
    for at in range(len(layers) - 1, max(first, 0) - 1, -1):
        needed, p.layer = at > first, layers[at]
        p.onward = (layers[at], layers[at - 1]) if needed and at else None
        found = layers[at].backward(gradient, flow[at], p, needed)
        if found is None:
            if needed:
                raise TypeError(f"{layers[at].label}: backward must give the gradient for inputs, got None")
            break
        if not isinstance(found, _core.Tiles) or found.n != layers[at].n_in:
            given_tiles(layers[at], "backward", found, layers[at].n_in)
        gradient = found
    p.layer = outer
    return gradient if need_dx else None


_BLIND: set[Callable[..., Any]] = set()


def blind(method: Method) -> Method:
    """A forward or backward of a row that looks at nothing its layers give but what the last one does.

    As it is where it is defined, also where somebody puts another in its place in the class later.
    """
    _BLIND.add(method)
    return method


@register_layer
class Row(Composite):
    """Layers in a row, as one layer: a branch of `Concat`, say.

    Parameters
    ----------
    layers : list of Layer
        New ones. Without any it hands on what it takes.
    n_in : int, optional
        How many values it takes, where none of the layers says so and it stands first in a network.

    Attributes
    ----------
    layers : list of Layer

    Notes
    -----
    Neurons inside are not removed. All-ReLU counts hidden layers in the order of the summary.

    A subclass with a `forward` or `backward` of its own sees what each of its layers gave: `Dropout` inside
    writes over nothing then.
    """

    def __init__(self, layers: Sequence[Layer], *, n_in: int | None = None) -> None:
        super().__init__(layers)
        self.n_in = width_given(n_in) or (self.layers[0].n_in if self.layers else 0)

    def connect(self, n_in: int) -> None:
        self.n_in = n_in
        self.n_out = connect_row(self.layers, n_in)
        self._first_learning = first_learning(self.layers)

    @blind
    def forward(self, x: _core.Tiles, p: Pass) -> _core.Tiles:
        known = function_of(self, "forward") in _BLIND and function_of(self, "backward") in _BLIND
        flow = forward_through(self.layers, x, p, shown=not known)
        p.save(self, flow)
        return flow[-1]

    @blind
    def backward(self, dy: _core.Tiles, x: _core.Tiles, p: Pass, need_dx: bool) -> _core.Tiles | None:
        (flow,) = p.saved(self)
        return backward_through(self.layers, dy, flow, p, self._first_learning, need_dx)

    def affine_at(self, x: NDArray[np.float64], *, final: bool = False) -> Affine:
        parts = []
        for layer in self.layers:
            parts.append(layer.affine_at(x, final=final and layer is self.layers[-1]))
            x = parts[-1].of(x)
        return compose(parts, self.n_in)

    def live_outputs(self, inputs: Mask) -> Mask:
        return live_forward(self.layers, inputs)[-1]

    def live_inputs(self, outputs: Mask) -> Mask:
        return live_backward(self.layers, outputs)[0]
