"""The connections of whatever there is to look at, as rows and columns."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rewire._checks import describe, one_of_types
from rewire.layers import Layer
from rewire.network import Sequential
from rewire.parameters import Parameter
from rewire.store import WeightStore

__all__ = ["LinkList", "Matrix", "MatrixLike", "NetworkLike", "Weights", "links_of", "parts_of", "weights_of"]

MatrixLike = Layer | Parameter | WeightStore
NetworkLike = Sequential | MatrixLike


class Weights(Protocol):
    """One matrix of weights: a parameter, or a store."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_out, n_in)."""

    def to_arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any]]:
        """Rows, columns and values of all connections, in row-major order."""


class LinkList(NamedTuple):
    """Connections in row-major order."""

    rows: NDArray[np.int32]  # (nnz,)
    cols: NDArray[np.int32]  # (nnz,)
    shape: tuple[int, int]  # (n_out, n_in)

    def entries(self) -> NDArray[np.int64]:
        """One number for every connection, ascending."""
        return self.rows.astype(np.int64) * self.shape[1] + self.cols


class Matrix:
    """Weights that belong to no layer, as paths see them."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.n_out, self.n_in = weights.shape
        self.full = self.n_out * self.n_in

    def connections(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rows and columns."""
        rows, cols, _ = self._weights.to_arrays()
        return rows, cols

    def sources_of(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """The inputs that these outputs depend on, ascending."""
        rows, cols = self.connections()
        return np.unique(cols[np.isin(rows, outputs)])


def weights_of(what: NetworkLike, name: str = "network") -> list[Weights]:
    """All matrices of weights in a network or layer, in order; a parameter or a store stands for itself.

    Raises
    ------
    TypeError
        For anything else; ``name`` is what the message calls it.
    """
    expected = "a Sequential, a layer with weights or a WeightStore"
    one_of_types(name, what, (Sequential, Layer, Parameter, WeightStore), expected)
    found: list[Any] = [what]
    if isinstance(what, Sequential | Layer):
        found = list(what.parameters().values())
    found = [weights for weights in found if isinstance(weights, WeightStore) or weights.connects]
    if not found:
        raise TypeError(f"{name} must be {expected}, got {describe(what)}")
    return found


def parts_of(what: NetworkLike) -> list[Layer | Matrix]:
    """What paths lead through, in order: the layers of a network; anything else is the only part."""
    if isinstance(what, Sequential):
        return list(what.layers)
    found = weights_of(what)
    return [what if isinstance(what, Layer) else Matrix(found[0])]


def links_of(weights: Weights) -> LinkList:
    """The connections of one matrix; of a dense one all of them, for a stored zero is a connection too."""
    rows, cols, _ = weights.to_arrays()
    return LinkList(rows, cols, (weights.shape[0], weights.shape[1]))
