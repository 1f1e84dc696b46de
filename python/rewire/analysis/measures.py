"""What can be read off one layer: degrees, strength of its inputs, where its links lie."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire._bins import fractions_in_bins
from rewire._checks import integer
from rewire.analysis.links import MatrixLike, NetworkLike, links_of, weights_of
from rewire.network import Sequential
from rewire.reachability import origins

__all__ = ["Degrees", "degrees", "input_strength", "link_map"]


class Degrees(NamedTuple):
    """Links of every neuron of one matrix of weights."""

    fan_in: NDArray[np.int64]  # (n_out,), into each output neuron
    fan_out: NDArray[np.int64]  # (n_in,), out of each input


def degrees(network: NetworkLike) -> Degrees | list[Degrees]:
    """How many links go into every output neuron and out of every input.

    Parameters
    ----------
    network : Sequential, layer with weights, parameter or WeightStore

    Returns
    -------
    Degrees
        ``fan_in`` (n_out,) and ``fan_out`` (n_in,), int64. Of a Sequential a list, one for each matrix of
        weights; so of a layer with several of them.
    """
    found = []
    for weights in weights_of(network):
        rows, cols, (n_out, n_in) = links_of(weights)
        found.append(Degrees(np.bincount(rows, minlength=n_out), np.bincount(cols, minlength=n_in)))
    return found if isinstance(network, Sequential) or len(found) > 1 else found[0]


def input_strength(network: NetworkLike) -> NDArray[np.float64]:
    """The strength of each input of a layer: the sum of |w| over its links.

    Parameters
    ----------
    network : Sequential, layer with weights, parameter or WeightStore
        Of a Sequential the first layer with weights is meant, whose inputs are the features. All matrices of
        the layer count.

    Returns
    -------
    ndarray of float64, shape (n_in,)

    Raises
    ------
    TypeError
        If features do not reach these weights one by one; the layer that is in the way is named.

    Notes
    -----
    Atashgahi et al., *Quick and robust feature selection: the strength of energy-efficient sparse training
    for autoencoders*, Machine Learning 111 (2022), rank features by it.
    """
    matrices = weights_of(network)
    if isinstance(network, Sequential):
        owner = network.weight_layers[0]
        matrices = matrices[: len(network.weight_names[0])]
        at = network.position_of(network.parameters()[network.weight_names[0][0]])
        if owner is not network.layers[at]:
            raise TypeError(f"{owner.label} stands inside of another layer: its inputs may be no features")
        if any(weights.shape[1] != owner.n_in for weights in matrices):
            raise TypeError(f"{owner.label} has no matrix with a column for each of its inputs")
        columns = origins(network.layers[:at], network.n_in)
    else:
        columns = np.arange(matrices[0].shape[1])
    found = np.zeros(columns.size)
    for weights in matrices:
        _, cols, values = weights.to_arrays()
        sizes = np.abs(values, dtype=np.float64)
        found[columns] += np.bincount(cols, weights=sizes, minlength=columns.size)
    return found


def link_map(layer: MatrixLike, bins: int = 64) -> NDArray[np.float64]:
    """Where the links of a layer lie: the fraction of connected positions, in bins of neighbours.

    Parameters
    ----------
    layer : layer with weights, parameter or WeightStore
        Of several matrices in one layer the first is meant.
    bins : int >= 1
        At most so many rows and columns; a side that is shorter keeps its length.

    Returns
    -------
    ndarray of float64, shape (min(bins, n_out), min(bins, n_in))
        In [0, 1]. Row ``n_out * i / rows`` and its neighbours fall into row ``i``, columns likewise.
    """
    bins = integer("bins", bins, low=1)
    return fractions_in_bins(*links_of(weights_of(layer, "layer")[0]), bins)
