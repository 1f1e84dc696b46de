"""Snapshots of where a layer's links lie, epoch by epoch: what an animation is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._checks import integer
from rewire.analysis import link_map
from rewire.callbacks.base import Callback, State, register_callback
from rewire.layers.base import take

__all__ = ["MapLog"]


@register_callback
class MapLog(Callback):
    """Keeps a map of one layer's links, before the first epoch and after every one.

    Parameters
    ----------
    layer : int
        Position among the layers with weights.
    bins : int >= 1
        At most so many rows and columns, see :func:`rewire.analysis.link_map`. A map of 64 x 64 takes 32 KiB.

    Attributes
    ----------
    maps : ndarray of float64, shape (n, rows, columns)
        Shares of places that are connected; for :func:`rewire.plots.animate`.
    epochs : list of int
        Epochs that were complete at each of them.
    """

    def __init__(self, layer: int = 0, *, bins: int = 64) -> None:
        self.layer = integer("layer", layer, low=0)
        self.bins = integer("bins", bins, low=1)
        self.epochs: list[int] = []
        self._maps: list[NDArray[np.float64]] = []

    @property
    def maps(self) -> NDArray[np.float64]:
        """All maps so far."""
        return np.array(self._maps) if self._maps else np.zeros((0, 0, 0))

    def on_fit_begin(self, state: State) -> None:
        integer("layer", self.layer, high=len(state.network.weight_layers) - 1)
        if not self._maps:
            self._add(state)

    def on_epoch_end(self, state: State) -> None:
        self._add(state)

    def _add(self, state: State) -> None:
        found = link_map(state.network.weight_layers[self.layer], self.bins)
        if self._maps and found.shape != self._maps[0].shape:  # neurons have gone: nothing is connected there
            found, part = np.zeros_like(self._maps[0]), found
            found[: part.shape[0], : part.shape[1]] = part
        self._maps.append(found)
        self.epochs.append(state.epoch)

    def config(self) -> dict[str, Any]:
        return {
            "name": "MapLog",
            "layer": self.layer,
            "bins": self.bins,
            "state": {"epochs": self.epochs},
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"maps": self.maps}

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        self.epochs = [integer("epochs", epoch, low=0) for epoch in config["state"]["epochs"]]
        shape = np.shape(arrays.get("maps", ()))[1:]
        self._maps = list(take(arrays, "maps", (len(self.epochs), *shape), "float64", "MapLog"))

    def __repr__(self) -> str:
        return f"MapLog({self.layer}, bins={self.bins}: {len(self._maps)} maps)"
