"""What can be read off one layer: degrees, strength of its inputs, where its links lie."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire._checks import integer
from rewire.analysis.links import LayerLike, NetworkLike, layers_of, links_of, store_of
from rewire.layers import Dense
from rewire.network import Sequential

__all__ = ["Degrees", "degrees", "input_strength", "link_map"]


class Degrees(NamedTuple):
    """Links of every neuron of one layer."""

    fan_in: NDArray[np.int64]  # (n_out,), into each output neuron
    fan_out: NDArray[np.int64]  # (n_in,), out of each input


def degrees(network: NetworkLike) -> Degrees | list[Degrees]:
    """How many links go into every output neuron and out of every input.

    Parameters
    ----------
    network : Sequential, layer with weights or WeightStore

    Returns
    -------
    Degrees
        ``fan_in`` (n_out,) and ``fan_out`` (n_in,), int64. Of a Sequential a list, layer by layer.
    """
    found = []
    for layer in layers_of(network):
        store = store_of(layer)
        if store is not None:
            found.append(Degrees(store.fan_in(), store.fan_out()))
        else:
            found.append(Degrees(np.full(layer.n_out, layer.n_in), np.full(layer.n_in, layer.n_out)))
    return found if isinstance(network, Sequential) else found[0]


def input_strength(network: NetworkLike) -> NDArray[np.float64]:
    """The strength of each input of a layer: the sum of |w| over its links.

    Parameters
    ----------
    network : Sequential, layer with weights or WeightStore
        Of a Sequential the first layer with weights is meant, whose inputs are the features.

    Returns
    -------
    ndarray of float64, shape (n_in,)

    Notes
    -----
    Atashgahi et al., *Quick and robust feature selection: the strength of energy-efficient sparse training
    for autoencoders*, Machine Learning 111 (2022), rank features by it.
    """
    layer = layers_of(network)[0]
    if isinstance(layer, Dense):
        return np.abs(layer.weights).sum(axis=0, dtype=np.float64)
    store = store_of(layer)
    assert store is not None  # only dense layers have none
    weights = np.abs(store.get_field("weight"), dtype=np.float64).sum(axis=1)
    return np.bincount(store.sources(), weights=weights, minlength=store.n_in).astype(np.float64)


def link_map(layer: LayerLike, bins: int = 64) -> NDArray[np.float64]:
    """Where the links of a layer lie: the fraction of connected positions, in bins of neighbours.

    Parameters
    ----------
    layer : layer with weights or WeightStore
    bins : int >= 1
        At most so many rows and columns; a side that is shorter keeps its length.

    Returns
    -------
    ndarray of float64, shape (min(bins, n_out), min(bins, n_in))
        In [0, 1]. Row ``n_out * i / rows`` and its neighbours fall into row ``i``, columns likewise.
    """
    bins = integer("bins", bins, low=1)
    rows, cols, shape = links_of(layers_of(layer, "layer")[0])
    height, width = (min(bins, n) for n in shape)
    at = (rows.astype(np.int64) * height // shape[0]) * width + cols.astype(np.int64) * width // shape[1]
    counts = np.bincount(at, minlength=height * width).reshape(height, width)
    tall, wide = (
        np.bincount(np.arange(n, dtype=np.int64) * parts // n, minlength=parts)
        for n, parts in zip(shape, (height, width), strict=True)
    )
    return counts / np.outer(tall, wide)
