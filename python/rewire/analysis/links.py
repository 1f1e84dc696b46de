"""The connections of whatever there is to look at, as rows and columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire._checks import one_of_types
from rewire.layers import Layer, Sparse, WeightLayer
from rewire.network import Sequential
from rewire.store import WeightStore

__all__ = ["LayerLike", "LinkList", "NetworkLike", "layers_of", "links_of", "parts_of", "store_of"]

LayerLike = WeightLayer | WeightStore
NetworkLike = Sequential | LayerLike


class LinkList(NamedTuple):
    """Connections in row-major order."""

    rows: NDArray[np.int32]  # (nnz,)
    cols: NDArray[np.int32]  # (nnz,)
    shape: tuple[int, int]  # (n_out, n_in)

    def entries(self) -> NDArray[np.int64]:
        """One number for every connection, ascending."""
        return self.rows.astype(np.int64) * self.shape[1] + self.cols


def layers_of(what: NetworkLike, name: str = "network") -> list[LayerLike]:
    """The layers with weights of a network; a layer or a store stands for itself.

    Raises
    ------
    TypeError
        For anything else; ``name`` is what the message calls it.
    """
    one_of_types(
        name,
        what,
        (Sequential, WeightStore, WeightLayer),
        "a Sequential, a layer with weights or a WeightStore",
    )
    return list(what.weight_layers) if isinstance(what, Sequential) else [what]


def parts_of(what: NetworkLike) -> list[Layer | WeightStore]:
    """:func:`layers_of`, with the layers without weights between and before them."""
    return list(what.layers) if isinstance(what, Sequential) else [*layers_of(what)]


def store_of(layer: LayerLike) -> WeightStore | None:
    """The store of a layer; None for a dense one, which has all connections."""
    if isinstance(layer, Sparse):
        return layer.store
    return layer if isinstance(layer, WeightStore) else None


def links_of(layer: Layer | WeightStore) -> LinkList:
    """The connections of one layer; of a dense one all of them, for a stored zero is a connection too."""
    rows, cols = layer.to_arrays()[:2] if isinstance(layer, WeightStore) else layer.connections()
    return LinkList(rows, cols, (layer.n_out, layer.n_in))
