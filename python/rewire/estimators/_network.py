"""The network of an estimator: built from its parameters, and its weights as scikit-learn shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse, vstack

from rewire import _checks
from rewire._warn import warn
from rewire.activations import activation
from rewire.estimators import _parameters
from rewire.initializers import initializer
from rewire.layers import KWinners, Layer, LayerNorm, Switches, TwoSided
from rewire.layers.elementwise import Elementwise
from rewire.layers.weighted import WeightLayer
from rewire.network import Sequential
from rewire.parameters import DenseParameter
from rewire.presets import mlp_layers
from rewire.recipe import given_layers

__all__ = ["coefficients", "new_network", "path_strengths"]

MANY = 10_000_000  # connections, which take 200 MiB and seconds to begin with


def new_network(model: Any, sizes: Sequence[int], final: str, X: Any, dtype: str) -> Sequential:
    """A perceptron of these sizes, or what ``layers`` says; ValueError where that does not fit."""
    if model.layers is not None:
        layers = given_layers(model.layers, sizes[0], sizes[-1], final)
    else:
        layers = mlp_layers(
            sizes,
            output=final,
            hidden=activation(model.activation),
            **_parameters.link_counts(model),
            dropout=model.dropout,
            init=initializer(model.init),
            bias_init=initializer(model.bias_init, "bias_init"),
            connectivity=model.connectivity,
            X=X,
            group=_checks.choice("group", model.group, (1, 2, 4, 8)),
        )
    network = Sequential(layers, seed=_parameters.seed(model.random_state), dtype=dtype)
    _warn_of_idle_links(network, X)
    if model.layers is not None:
        _check_ends(network, sizes, final)
    return network


def _warn_of_idle_links(network: Sequential, X: Any) -> None:
    """A warning where many connections were made for columns that hold nothing, as hashed words leave them.

    The default number of connections goes by the number of columns, which a hasher fixes beforehand: 2^20
    columns of a few thousand words get 21 million.
    """
    if network.nnz < MANY or not issparse(X):
        return
    idle = X.shape[1] - np.count_nonzero(np.bincount(X.indices, minlength=X.shape[1]))
    if idle > X.shape[1] // 2:
        warn(
            f"{network.nnz:,} connections, {network.nbytes >> 20:,} MiB, most of them for the {idle:,} of "
            f"{X.shape[1]:,} columns of X that are 0 in every row: hash into fewer columns "
            "(n_features=2**16 of HashingVectorizer), leave such columns out, or give a smaller epsilon",
            UserWarning,
        )


def _check_ends(network: Sequential, sizes: Sequence[int], final: str) -> None:
    ends = network.n_in, network.n_out
    if ends != (sizes[0], sizes[-1]):
        raise ValueError(
            f"layers must take the {sizes[0]} features of X and give {sizes[-1]} outputs, "
            f"got {ends[0]} -> {ends[1]}"
        )
    if network.final != activation(final):
        raise ValueError(
            f"layers must end with the activation {final!r} that the targets ask for, "
            f"got {network.final.name!r}"
        )


def coefficients(layer: Layer) -> csr_array:
    """The weights of a layer, inputs by outputs; blocks of switches have [max(x, 0), min(x, 0)] as inputs."""
    if isinstance(layer, Switches):
        rows, cols = layer.connections()
        sides = [
            csr_array((side.ravel(), (cols, rows)), shape=(layer.n_in, layer.n_out))
            for side in np.split(layer.weight.values, 2, axis=1)
        ]
        return csr_array(vstack(sides))
    weight = layer.parameters()["weight"]
    if isinstance(weight, DenseParameter):
        return csr_array(weight.values.T)
    return csr_array(layer.store.to_csr().T)


def path_strengths(network: Sequential) -> NDArray[np.float64]:
    """For every input the product of |w| along each path to an output, summed over all paths.

    Raises
    ------
    TypeError
        For a layer that is neither one of weights nor hands values on one by one.
    """
    found: NDArray[np.float64] = np.ones(network.n_out)
    for layer in reversed(network.layers):
        if isinstance(layer, WeightLayer):
            rows, cols, weights = layer.weight.to_arrays()
            sizes = np.abs(weights, dtype=np.float64) * found[rows]
            found = np.bincount(cols, sizes, layer.n_in).astype(np.float64, copy=False)
        elif isinstance(layer, TwoSided):
            rows, cols = layer.connections()
            found = np.bincount(cols, found[rows], layer.n_in).astype(np.float64, copy=False)
        elif not isinstance(layer, Elementwise | LayerNorm | KWinners):
            raise TypeError(f"{layer.label} has paths whose weights it does not tell")
        found /= found.max() or 1.0  # products of many layers stay numbers
    return found
