"""What layers that are made of a list of layers share."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from rewire import _checks, _core
from rewire.activations import Activation
from rewire.layers.base import Layer, refuse_incomplete
from rewire.layers.dependence import Passage

__all__ = ["Composite", "checked", "width_given"]


class Composite(Layer):
    """Base of layers that are made of a list of layers.

    Parameters
    ----------
    layers : list of Layer
        New ones.

    Attributes
    ----------
    layers : list of Layer

    Notes
    -----
    Neurons inside are not removed. All-ReLU counts hidden layers in the order of the summary.
    """

    layers: Sequence[Layer]

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = checked(layers)

    def children(self) -> Mapping[str, Layer]:
        return {str(i): layer for i, layer in enumerate(self.layers)}

    def answers(self) -> None:
        for layer in self.layers:
            layer.answers()

    def planned(self, plans: Mapping[_core.Store, _core.Plan]) -> Passage | None:
        after: list[Any] = [layer.planned(plans) for layer in self.layers]
        if all(each is None for each in after):
            return None
        twin = copy.copy(self)
        twin.layers = [old if new is None else new for new, old in zip(after, self.layers, strict=True)]
        return twin


def width_given(n_in: int | None) -> int:
    """The argument of that name; 0 if it is not said."""
    return 0 if n_in is None else _checks.integer("n_in", n_in, low=0, high=_checks.MAX_NEURONS)


def checked(layers: Any, where: str = "layers") -> list[Layer]:
    """New layers, in a list.

    Parameters
    ----------
    layers : sequence of Layer
    where : str
        What the argument is called in errors.

    Raises
    ------
    TypeError, ValueError
        For anything else, and for a layer that stands there twice or in a network.
    """
    if isinstance(layers, Layer) or not isinstance(layers, Sequence):
        raise TypeError(f"{where} must be a list of layers, got {_checks.describe(layers)}")
    found = list(layers)
    for i, layer in enumerate(found):
        if isinstance(layer, Activation):
            raise TypeError(
                f"{where}[{i}] must be a Sparse, Dense or another layer, got {layer!r}: layers of weights "
                "take it, activation=..."
            )
        _checks.one_of_types(f"{where}[{i}]", layer, Layer, "a Sparse, Dense or another layer")
        refuse_incomplete(f"{where}[{i}]", type(layer))
        _checks.refuse_shadowed(f"{where}[{i}]", layer)
        if layer.built:
            raise ValueError(f"{where}[{i}] already belongs to a network; make a new layer for another one")
        if any(layer is other for other in found[:i]):
            raise ValueError(f"{where}[{i}] stands twice in the list; every layer needs an object of its own")
    return found
