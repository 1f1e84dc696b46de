"""Which values in a row of layers can be reached from the inputs, and which reach the outputs.

A *boundary* lies before the first layer, between two layers and after the last one: L layers have L + 1.
Both functions give one mask for each. No layer is guessed at: each says which of its outputs depend on which
inputs (``rewire.layers.dependence``), and one that does not is refused by name.

A path leads over links, and a link of weight zero is a link. To ask about a network as it will be after a
plan, replace its layers by ``layer.planned(plans)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rewire._checks import describe
from rewire._structure import Mask
from rewire.layers.base import Layer
from rewire.layers.dependence import Passage

__all__ = ["live_backward", "live_forward", "origins", "refuse_opaque"]


def live_forward(layers: Sequence[Passage], inputs: Mask | None = None) -> list[Mask]:
    """Which values depend on the inputs.

    Parameters
    ----------
    layers : sequence of Passage
        For example ``network.layers``.
    inputs : ndarray of bool, shape (n_in,), optional
        The inputs to start from; all of them by default.

    Returns
    -------
    list of ndarray of bool
        The inputs, then the outputs of every layer.

    Raises
    ------
    TypeError
        If a layer does not say which of its outputs depend on which inputs; it is named.
    """
    found = [np.ones(layers[0].n_in, bool) if inputs is None else inputs]
    for layer in layers:
        found.append(_checked(layer.live_outputs(found[-1]), layer, "live_outputs", layer.n_out))
    return found


def live_backward(
    layers: Sequence[Passage], outputs: Mask | None = None, *, without: Mapping[int, Mask] | None = None
) -> list[Mask]:
    """Which values the outputs depend on.

    Parameters
    ----------
    layers : sequence of Passage
    outputs : ndarray of bool, shape (n_out,), optional
        The outputs to start from; all of them by default.
    without : dict of int to ndarray of bool, optional
        By boundary, values that count as not there: no path leads through them.

    Returns
    -------
    list of ndarray of bool
        The inputs, then the outputs of every layer.

    Raises
    ------
    TypeError
        If a layer does not say which of its outputs depend on which inputs; it is named.
    """
    without = {} if without is None else without
    live = np.ones(layers[-1].n_out, bool) if outputs is None else outputs
    found = [live & ~without[len(layers)] if len(layers) in without else live]
    for boundary in reversed(range(len(layers))):
        layer = layers[boundary]
        live = _checked(layer.live_inputs(found[-1]), layer, "live_inputs", layer.n_in)
        found.append(live & ~without[boundary] if boundary in without else live)
    return found[::-1]


def refuse_opaque(layers: Sequence[Layer]) -> None:
    """TypeError naming the first layer that does not say which outputs depend on which inputs."""
    for layer in layers:
        layer.answers()


def origins(layers: Sequence[Layer], n: int) -> NDArray[np.int64]:
    """For every value after these layers the one before them that it is made of.

    Parameters
    ----------
    layers : sequence of Layer
        Layers that hand on values one by one, in any order; there may be none.
    n : int
        Values before them.

    Raises
    ------
    TypeError
        If a layer mixes values, or does not say; it is named.
    """
    found = np.arange(n)
    for layer in layers:
        layer.answers()
        rows, cols = layer.connections()
        if not (np.array_equal(rows, np.arange(layer.n_out)) and np.unique(cols).size == cols.size):
            raise TypeError(f"{layer.label} mixes its inputs: neurons before it have no counterpart after it")
        found = found[cols]
    return found


def _checked(mask: Mask, layer: Passage, method: str, n: int) -> Mask:
    """An answer of a layer, which may be one from outside."""
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (n,):
        name = getattr(layer, "label", type(layer).__name__)
        raise TypeError(f"{name}: {method} must give {n} values True or False, got {describe(mask)}")
    return mask
