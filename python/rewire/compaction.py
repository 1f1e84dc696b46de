"""Neurons that go for good: their links, biases and optimizer state. The layers become narrower."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire import _core
from rewire._checks import describe, one_of_types
from rewire.layers import Dense, Sparse, WeightLayer
from rewire.network import Sequential

__all__ = ["Compaction", "compact", "neuron_importance", "shrink"]

Mask = NDArray[np.bool_]


class Compaction(NamedTuple):
    """Which neurons are left.

    Attributes
    ----------
    kept : tuple of ndarray of int64
        For every layer with weights, the numbers that its neurons had before, ascending. The last layer keeps
        all of its neurons.
    removed : tuple of int
        For every layer with weights, how many are gone.
    """

    kept: tuple[NDArray[np.int64], ...]
    removed: tuple[int, ...]


def neuron_importance(layer: WeightLayer) -> NDArray[np.float64]:
    """Sum of |w| over the incoming links of every neuron.

    Parameters
    ----------
    layer : Sparse or Dense

    Returns
    -------
    ndarray of float64, shape (n_out,)
        0 for a neuron without links.

    Notes
    -----
    Curci, Mocanu, Pechenizkiy, *Truly sparse neural networks at scale*, arXiv:2102.01732 (2022), section 3.3.
    """
    one_of_types("layer", layer, (Sparse, Dense), "a layer with weights")
    if isinstance(layer, Dense):
        return np.abs(layer.weights, dtype=np.float64).sum(axis=1)
    assert isinstance(layer, Sparse)
    rows, _, values = layer.store.to_arrays()
    return np.bincount(rows, weights=np.abs(values), minlength=layer.n_out).astype(np.float64)


def compact(network: Sequential, gone: Mapping[int, ArrayLike] | None = None) -> Compaction:
    """Remove hidden neurons that have no say, and those that are named; what is left computes the same.

    A hidden neuron has no say without outgoing links, or without incoming ones: then its output is the same
    for every sample, and is added to the biases of the next layer. Others lose their last link by that, and
    go as well. What stays keeps weights, biases, the optimizer's state and all fields, so that training goes
    on where it was.

    Parameters
    ----------
    network : Sequential
        Changed in place; its layers stay the objects they were.
    gone : dict of int to array-like of int, optional
        Neurons to remove beside, by position of their layer among the layers with weights; not of the last
        one. They first lose their incoming links; what is left of their output, the activation of the bias,
        goes to the next layer's biases if there are any.

    Returns
    -------
    Compaction

    Raises
    ------
    TypeError, ValueError
        If ``gone`` names a layer or neuron that there is not, all neurons of a layer, or only some of a group
        (neighbours that share their sources stay or go together).
    BufferError
        If a store is viewed.
    RuntimeError
        If the network is in use: being trained, or predicting in another thread.
    MemoryError
        Nothing has changed. On the way, the network and its optimizer's state are there three times.

    Notes
    -----
    Inputs and outputs of the network stay; ``rewire.analysis.unused_inputs`` tells which inputs nobody
    listens to. A layer always keeps one neuron (or group). A constant neuron that is not zero stays if the
    next layer has no biases. With dropout, training goes on with other masks.

    Examples
    --------
    >>> import rewire as rw
    >>> net = rw.Sequential([rw.Sparse(64, 1000, links=500), rw.Sparse(1000, 10, links=900)])
    >>> sum(rw.compact(net).removed) > 500
    True
    """
    one_of_types("network", network, Sequential, "a Sequential")
    with network.gate.writing("compact"):
        return shrink(network, gone)


def shrink(network: Sequential, gone: Mapping[int, ArrayLike] | None = None) -> Compaction:
    """:func:`compact` for those who hold the network's gate already: rules in training."""
    network.refuse_views("compacted")
    layers = network.weight_layers
    stays = [np.ones(layer.n_out, bool) for layer in layers]
    for position, neurons in _checked(gone or {}, layers).items():
        stays[position][neurons] = False
    links = [_Links(layer) for layer in layers]
    for i in reversed(range(len(layers) - 1)):  # those whom nobody hears
        _keep_units(stays[i], stays[i] & links[i + 1].speaks(stays[i + 1]), layers[i])
    biases = _fold_constants(layers, links, stays)  # and those who hear nobody
    kept = tuple(np.flatnonzero(s) for s in stays)
    removed = tuple(int(s.size - k.size) for s, k in zip(stays, kept, strict=True))
    if any(removed):
        _rebuild(network, stays, biases)
    return Compaction(kept, removed)


def _checked(gone: Mapping[int, ArrayLike], layers: list[WeightLayer]) -> dict[int, NDArray[np.int64]]:
    """Neurons by position of their layer."""
    one_of_types("gone", gone, Mapping, "a dict of layer positions and neurons")
    found = {}
    for position, neurons in gone.items():
        if not isinstance(position, int | np.integer) or not 0 <= position < len(layers) - 1:
            raise ValueError(
                f"gone must name hidden layers by 0 to {len(layers) - 2}, got {describe(position)}"
            )
        layer, name = layers[position], f"gone[{position}]"
        chosen = np.asarray(neurons)
        if chosen.size == 0:
            continue
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise TypeError(f"{name} must be a 1-D array of neurons' numbers, got {describe(neurons)}")
        chosen = np.unique(chosen)
        if chosen[0] < 0 or chosen[-1] >= layer.n_out:
            raise ValueError(
                f"{name} must hold numbers from 0 to {layer.n_out - 1}, got {chosen[0]} to {chosen[-1]}"
            )
        if chosen.size == layer.n_out:
            raise ValueError(f"{name} must leave at least one of {layer.n_out} neurons, got all")
        unit = _unit(layer)
        groups, counts = np.unique(chosen // unit, return_counts=True)
        torn = np.flatnonzero(counts < np.minimum(unit, layer.n_out - groups * unit))
        if torn.size:
            first = int(groups[torn[0]]) * unit
            raise ValueError(
                f"{name} must name whole groups of {unit} neurons, got only some of "
                f"{first} to {min(first + unit, layer.n_out) - 1}"
            )
        found[int(position)] = chosen
    return found


def _unit(layer: WeightLayer) -> int:
    """Neighbours that stay or go together."""
    return layer.group if isinstance(layer, Sparse) else 1


def _keep_units(stays: Mask, wanted: Mask, layer: WeightLayer) -> None:
    """Reduce ``stays`` to ``wanted``, where no neuron of a unit is wanted; the last unit of all stays."""
    begins = np.arange(0, layer.n_out, _unit(layer))
    units = np.logical_or.reduceat(wanted, begins)
    if not units.any():
        units[np.argmax(np.logical_or.reduceat(stays, begins))] = True
    stays &= np.repeat(units, _unit(layer))[: layer.n_out]


class _Links:
    """Rows, columns and weights of a layer; nothing for a dense one, whose matrix says all."""

    def __init__(self, layer: WeightLayer) -> None:
        self.layer = layer
        if isinstance(layer, Sparse):
            self.rows, self.cols, self.values = layer.store.to_arrays()

    def speaks(self, rows: Mask) -> Mask:
        """Whether each source is heard by one of these neurons, shape (n_in,)."""
        if isinstance(self.layer, Dense):
            return np.full(self.layer.n_in, bool(rows.any()))
        found = np.zeros(self.layer.n_in, bool)
        found[self.cols[rows[self.rows]]] = True
        return found

    def listens(self, cols: Mask) -> Mask:
        """Whether each neuron hears one of these sources, shape (n_out,)."""
        if isinstance(self.layer, Dense):
            return np.full(self.layer.n_out, bool(cols.any()))
        found = np.zeros(self.layer.n_out, bool)
        found[self.rows[cols[self.cols]]] = True
        return found

    def times(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """W x, shape (n_out,)."""
        if isinstance(self.layer, Dense):
            return self.layer.weights.astype(np.float64) @ x
        found = np.bincount(self.rows, weights=self.values * x[self.cols], minlength=self.layer.n_out)
        return found.astype(np.float64)


def _fold_constants(
    layers: list[WeightLayer], links: list[_Links], stays: list[Mask]
) -> list[NDArray[np.float64] | None]:
    """Take neurons that hear nobody out of ``stays``; the biases that then stand for them, layer by layer."""
    biases = [None if layer.bias is None else layer.bias.astype(np.float64) for layer in layers]
    sources = np.ones(layers[0].n_in, bool)
    for i, (layer, following) in enumerate(pairwise(layers)):
        constant = _activated(layer, biases[i])
        wanted = stays[i] & links[i].listens(sources)
        if following.bias is None:  # nowhere to put it
            wanted |= stays[i] & (constant != 0)
        _keep_units(stays[i], wanted, layer)
        bias = biases[i + 1]
        if bias is not None:
            biases[i + 1] = bias + links[i + 1].times(np.where(stays[i], 0.0, constant))
        sources = stays[i]
    return biases


def _activated(layer: WeightLayer, bias: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """What neurons without incoming links give."""
    tiles = _core.Tiles(layer.n_out, 1, _core.tile_size(1, layer.dtype), layer.dtype)
    tiles.pack(np.zeros((1, layer.n_out), layer.dtype) if bias is None else bias[None].astype(layer.dtype))
    _core.activate(None, layer.bound.code, layer.bound.slope, tiles, None, 1)
    return tiles.unpack(None, 1)[0].astype(np.float64)


# --- the new layers ---------------------------------------------------------------------


def _rebuild(network: Sequential, stays: list[Mask], biases: list[NDArray[np.float64] | None]) -> None:
    """Make the narrower layers beside the old ones; then put them in their place."""
    config = network.config(state=True)
    arrays: dict[str, NDArray[Any]] = {
        name: a for name, a in network.arrays(state=True).items() if not name.startswith("layers.")
    }
    cols = np.ones(network.n_in, bool)
    for layer, rows, bias in zip(network.weight_layers, stays, biases, strict=True):
        own = layer.arrays(state=True)
        if bias is not None:
            own["bias"] = bias.astype(network.dtype)
        if isinstance(layer, Sparse):
            changed = _narrow_sparse(layer, own, rows, cols)
        else:
            changed = _narrow_dense(own, rows, cols)
        config["layers"][layer.index].update(changed, n_in=int(cols.sum()), n_out=int(rows.sum()))
        arrays.update({f"layers.{layer.index}.{name}": a for name, a in own.items()})
        cols = rows
    network.take_over(Sequential.from_config(config, arrays))


def _narrow_sparse(layer: Sparse, own: dict[str, NDArray[Any]], rows: Mask, cols: Mask) -> dict[str, Any]:
    """Cut a sparse layer's arrays; returns what changes in its description."""
    begins = np.arange(0, layer.n_out, layer.group)
    groups = rows[begins]
    group_of = np.repeat(np.arange(groups.size), np.diff(own["indptr"]))
    slots = groups[group_of] & cols[own["sources"]]
    number = np.cumsum(cols) - 1
    counts = np.bincount(group_of[slots], minlength=groups.size)
    for name in own:
        if name == "weights" or name.startswith("field."):
            own[name] = own[name][slots]
        elif name.startswith("bias"):
            own[name] = own[name][rows]
    own["sources"] = number[own["sources"][slots]].astype(np.int32)
    own["indptr"] = np.concatenate([[0], np.cumsum(counts[groups])]).astype(np.int64)
    sizes = np.minimum(layer.group, layer.n_out - begins)
    # The links there are: what the start was asked for may be more than fits now.
    return {"epsilon": None, "density": None, "fan_in": None, "links": int(counts @ (sizes * groups))}


def _narrow_dense(own: dict[str, NDArray[Any]], rows: Mask, cols: Mask) -> dict[str, Any]:
    """Cut a dense layer's arrays; nothing else changes."""
    for name, a in own.items():
        own[name] = a[rows] if name.startswith("bias") else np.ascontiguousarray(a[rows][:, cols])
    return {}
