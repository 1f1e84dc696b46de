"""Removing neurons for good: with their links, biases and optimizer state. The layers become narrower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire._checks import describe, one_of_types
from rewire._narrowed import Values, narrow, refuse_unlike
from rewire._structure import Mask
from rewire.layers import Layer
from rewire.network import Sequential
from rewire.parameters import SparseParameter
from rewire.reachability import live_backward, refuse_opaque

__all__ = ["RemovedNeurons", "neuron_importance", "refuse_fixed_widths", "remove_neurons", "take_out"]


class RemovedNeurons(NamedTuple):
    """Which neurons are left.

    Attributes
    ----------
    kept : tuple of ndarray of int64
        For every layer with weights, the numbers that its neurons had before, ascending. The last layer keeps
        all of its neurons.
    kept_inputs : tuple of ndarray of int64
        The same for the inputs of every layer with weights.
    removed : tuple of int
        For every layer with weights, how many neurons were removed.
    """

    kept: tuple[NDArray[np.int64], ...]
    kept_inputs: tuple[NDArray[np.int64], ...]
    removed: tuple[int, ...]

    def __repr__(self) -> str:
        kept, inputs = (tuple(map(len, each)) for each in (self.kept, self.kept_inputs))
        return f"<RemovedNeurons: removed {self.removed}, kept {kept} neurons with {inputs} inputs>"


def neuron_importance(layer: Layer) -> NDArray[np.float64]:
    """Sum of |w| over the incoming links of every neuron.

    Parameters
    ----------
    layer : layer with weights

    Returns
    -------
    ndarray of float64, shape (n_out,)
        0 for a neuron without links.

    Notes
    -----
    Curci, Mocanu, Pechenizkiy, *Truly sparse neural networks at scale*, arXiv:2102.01732 (2022), section 3.3.
    """
    one_of_types("layer", layer, Layer, "a layer with weights")
    matrices = [q for q in layer.parameters().values() if q.connects and q.shape[0] == layer.n_out]
    if not matrices and layer.connects:
        raise TypeError(f"{layer.label} has links of neurons inside of it, into none of its outputs")
    if not matrices:
        raise TypeError(f"layer must be a layer with weights, got {describe(layer)}")
    return np.sum([weights.magnitudes_in() for weights in matrices], axis=0)


def remove_neurons(network: Sequential, neurons: Mapping[int, ArrayLike] | None = None) -> RemovedNeurons:
    """Remove hidden neurons that change no output, and those that are named; the rest computes the same.

    A hidden neuron changes no output if no path leads from it to an output. If no path leads to it from an
    input, its output is the same for every sample, and is added to the biases of the next layer. What stays
    keeps weights, biases, the optimizer's state and all fields, so that training goes on where it was.

    Parameters
    ----------
    network : Sequential
        Changed in place; its layers stay the objects they were.
    neurons : dict of int to array-like of int, optional
        Neurons to remove as well, by position of their layer among the layers with weights; not of the last
        one. They first lose all incoming links; what is left of their output, the activation of the bias,
        goes to the next layer's biases if there are any.

    Returns
    -------
    RemovedNeurons

    Raises
    ------
    TypeError
        If a layer does not say which of its outputs depend on which inputs, or cannot be made narrower; it is
        named. So is one that computes something else without its neighbours: each narrower layer is tried on
        samples of random numbers beside the old one. See :class:`rewire.Layer`.
    TypeError, ValueError
        If ``neurons`` names a layer or neuron that there is not, all neurons of a layer, only some of a group
        (neighbours that share their sources are removed together), or one that a layer needs, as one that
        mixes all of its inputs does.
    BufferError
        If a store is viewed.
    RuntimeError
        If the network is in use: being trained, or predicting in another thread.
    MemoryError
        Nothing has changed. On the way, the network and its optimizer's state are there three times.

    Notes
    -----
    Inputs and outputs of the network stay; ``rewire.analysis.unused_inputs`` tells which inputs no output
    depends on. A layer always keeps one neuron (or group). A constant neuron that is not zero stays if the
    next layer has no biases. With dropout, training goes on with other masks.

    Examples
    --------
    >>> import rewire as rw
    >>> net = rw.Sequential([rw.Sparse(64, 1000, links=500), rw.Sparse(1000, 10, links=900)])
    >>> sum(rw.remove_neurons(net).removed) > 500
    True
    """
    one_of_types("network", network, Sequential, "a Sequential")
    with network.gate.writing("remove_neurons"):
        return take_out(network, neurons)


def take_out(network: Sequential, neurons: Mapping[int, ArrayLike] | None = None) -> RemovedNeurons:
    """:func:`remove_neurons` for those who hold the network's gate already: rules in training."""
    network.refuse_views("made narrower")
    refuse_opaque(network.layers)
    layers = network.layers
    named = _checked(neurons or {}, [(at, layers[at]) for at in _positions(network)])
    needed = live_backward(layers, without=named)
    for at, layer in enumerate(layers):  # whole groups are needed, if one of their neurons is
        needed[at + 1] = layer.keepable(needed[at], needed[at + 1])[1]
    values = _constants(layers, named)
    stays = _staying(layers, named, needed, values)
    kept = [np.flatnonzero(mask) for mask in stays]
    if any(not mask.all() for mask in stays):
        narrow(network, stays, values)
    at_layers = _positions(network)
    return RemovedNeurons(
        tuple(kept[at + 1] for at in at_layers),
        tuple(kept[at] for at in at_layers),
        tuple(stays[at + 1].size - kept[at + 1].size for at in at_layers),
    )


def refuse_fixed_widths(network: Sequential, layers: Sequence[SparseParameter]) -> None:
    """TypeError naming a layer that needs all neurons of the hidden layers of these weights.

    For rules that remove neurons: before training, and not in the middle of it.
    """
    refuse_opaque(network.layers)
    for owner in network.weight_layers:
        if not any(owner is layer for layer in network.layers):
            raise TypeError(f"{owner.label} stands inside of another layer, which needs all of its neurons")
    ends = _positions(network)
    for parameter in layers:
        at = network.position_of(parameter)
        layer = network.layers[at]
        if at == ends[-1]:
            raise TypeError(f"{layer.label} needs all of its neurons: they lead to the outputs")
        between = network.layers[at + 1 : ends[ends.index(at) + 1]]
        _, first = layer.keepable(*(np.arange(n) < 1 for n in (layer.n_in, layer.n_out)))
        if between and not first.all():
            stays = [~first, *(np.zeros(each.n_out, bool) for each in between)]
            _widen(between, stays, {0: first})
            refuse_unlike(between, stays)


def _positions(network: Sequential) -> list[int]:
    """Where layers with connections stand in the row."""
    return [at for at, layer in enumerate(network.layers) if layer.full]


def _checked(neurons: Mapping[int, ArrayLike], layers: list[tuple[int, Layer]]) -> dict[int, Mask]:
    """Masks of the neurons that are named, by boundary; ``layers`` with their places in the row."""
    one_of_types("neurons", neurons, Mapping, "a dict of layer positions and neurons")
    found = {}
    for position, numbers in neurons.items():
        if not isinstance(position, int | np.integer) or not 0 <= position < len(layers) - 1:
            raise ValueError(
                f"neurons must name hidden layers by 0 to {len(layers) - 2}, got {describe(position)}"
            )
        (at, layer), name = layers[position], f"neurons[{position}]"
        chosen = np.asarray(numbers)
        if chosen.size == 0:
            continue
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise TypeError(f"{name} must be a 1-D array of neurons' numbers, got {describe(numbers)}")
        if chosen.min() < 0 or chosen.max() >= layer.n_out:
            raise ValueError(
                f"{name} must hold numbers from 0 to {layer.n_out - 1}, got {chosen.min()} to {chosen.max()}"
            )
        mask = np.zeros(layer.n_out, bool)
        mask[chosen] = True
        if mask.all():
            raise ValueError(f"{name} must leave at least one of {layer.n_out} neurons, got all")
        everything = np.ones(layer.n_in, bool)
        torn = mask & layer.keepable(everything, ~mask)[1]
        if torn.any():
            one = np.arange(layer.n_out) == np.argmax(torn)
            group = np.flatnonzero(layer.keepable(everything, one)[1])
            if group.size == layer.n_out:
                raise TypeError(f"{layer.label} needs neuron {np.argmax(mask)}: it cannot be removed")
            raise ValueError(
                f"{name} must name whole groups of neurons, got only some of {group[0]} to {group[-1]}"
            )
        found[at + 1] = mask
    return found


def _constants(layers: Sequence[Layer], named: Mapping[int, Mask]) -> list[Values]:
    """The constants at every boundary.

    A named neuron is constant: it loses all of its incoming links, those from removed neurons as well.
    """
    absorbed = _absorbed(layers)
    found = [np.full(layers[0].n_in, np.nan)]
    for boundary, layer in enumerate(layers, start=1):
        values = _passed(layer, found[-1])
        if boundary in named:
            left = _passed(layer, np.zeros(layer.n_in)) if absorbed[boundary] else 0.0
            values = np.where(named[boundary], left, values)
        found.append(values)
    return found


def _passed(layer: Layer, values: Values) -> Values:
    found = layer.constant(values)
    return np.full(layer.n_out, np.nan) if found is None else found


def _absorbed(layers: Sequence[Layer]) -> list[bool]:
    """By boundary: whether the layers after it absorb the constants of removed neurons."""
    found = [False]
    for layer in reversed(layers):
        found.append(found[-1] if layer.absorbs is None else layer.absorbs)
    return found[::-1]


def _staying(
    layers: Sequence[Layer], named: Mapping[int, Mask], needed: Sequence[Mask], values: Sequence[Values]
) -> list[Mask]:
    """By boundary, the neurons that stay: those that vary and are needed, and others that layers need."""
    stays = []
    for boundary, absorbed in enumerate(_absorbed(layers)):
        constant = ~np.isnan(values[boundary])
        if not absorbed:
            constant &= values[boundary] == 0.0
        stays.append(needed[boundary] & ~constant)
    counts: list[int] = []
    while True:
        stays[0], stays[-1] = np.ones_like(stays[0]), np.ones_like(stays[-1])
        _widen(layers, stays, named)
        counts.append(sum(int(mask.sum()) for mask in stays))
        held = any(not np.isnan(v[mask]).all() for v, mask in zip(values, stays, strict=True))
        if not held or counts[-1:] == counts[-2:-1]:
            break
        # A constant that is not absorbed can be removed if only constants need it.
        stays = live_backward(layers, without={at: ~mask for at, mask in enumerate(stays)})
    for boundary in range(1, len(layers)):
        if not stays[boundary].any():
            left = ~named[boundary] if boundary in named else np.ones_like(stays[boundary])
            candidates = needed[boundary] & left
            first = np.argmax(candidates if candidates.any() else left)
            stays[boundary] = np.arange(left.size) == first
            _widen(layers, stays, named)
    return stays


def _widen(layers: Sequence[Layer], stays: list[Mask], named: Mapping[int, Mask]) -> None:
    """Add to ``stays`` the neurons that layers need as well, until none is added.

    Raises
    ------
    TypeError
        If one of these is a named neuron. The layer that needs it is named, not one that hands on.
    """
    counts, before = [int(mask.sum()) for mask in stays], None
    by: list[Layer | None] = [None] * len(stays)  # who has added to a boundary
    while counts != before:
        for at, layer in enumerate(layers):
            old, stays[at : at + 2] = stays[at : at + 2], layer.keepable(stays[at], stays[at + 1])
            through = by[at + 1], by[at]
            for boundary, was, other in zip((at, at + 1), old, through, strict=True):
                if (stays[boundary] & ~was).any():
                    by[boundary] = other if layer.absorbs is None and other is not None else layer
                if boundary in named and (held := stays[boundary] & named[boundary]).any():
                    needs, number = by[boundary] or layer, np.argmax(held)
                    which = "input" if boundary == at else "neuron"
                    if needs is not layer:
                        raise TypeError(
                            f"{needs.label} needs neuron {number}, which leads to it through {layer.label}: "
                            "it cannot be removed"
                        )
                    raise TypeError(f"{layer.label} needs {which} {number}: it cannot be removed")
        counts, before = [int(mask.sum()) for mask in stays], counts
