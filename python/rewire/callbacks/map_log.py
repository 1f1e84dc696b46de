"""Snapshots of where a layer's links lie, epoch by epoch: what an animation is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._bins import fractions_in_bins
from rewire._checks import entries, integer, one_of_types
from rewire._training import TrainerLike
from rewire.callbacks.base import Callback, State, register_callback
from rewire.network import Sequential
from rewire.parameters.base import take

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
        Fractions of positions that are connected; for :func:`rewire.plots.animate`.
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
        """All maps so far; where a layer has fewer neurons than it once had, nothing is connected."""
        shape = np.max([m.shape for m in self._maps], axis=0) if self._maps else (0, 0)
        found = np.zeros((len(self._maps), *shape))
        for whole, part in zip(found, self._maps, strict=True):
            whole[: part.shape[0], : part.shape[1]] = part
        return found

    def on_fit_begin(self, state: State) -> None:
        integer("layer", self.layer, high=len(state.network.weight_layers) - 1)
        if self.epochs and self.epochs[-1] > state.epoch:
            raise RuntimeError("MapLog cannot go on: this is not the trainer it has followed; use a new one")
        if not self._maps:
            self._add(state)

    def on_epoch_end(self, state: State) -> None:
        self._add(state)

    def _add(self, state: State) -> None:
        name = state.network.weight_names[self.layer][0]  # of several matrices in one layer, the first
        matrix = state.network.parameters()[name]
        rows, cols, _ = matrix.to_arrays()
        self._maps.append(fractions_in_bins(rows, cols, (matrix.shape[0], matrix.shape[1]), self.bins))
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
        entries("MapLog", config, self.config())
        entries("MapLog: arrays", arrays, ("maps",))
        found = entries("MapLog: state", config["state"], ("epochs",))["epochs"]
        before, epochs = 0, []
        for epoch in one_of_types("epochs", found, list, "a list"):
            before = integer("epochs", epoch, low=before)
            epochs.append(before)
        shape = np.shape(arrays["maps"])[1:]
        if len(shape) != 2 or (epochs and 0 in shape) or max(shape) > self.bins:
            raise ValueError(f"MapLog: maps must be of at most {self.bins} x {self.bins}, got {shape}")
        maps = take(arrays, "maps", (len(epochs), *shape), "float64", "MapLog")
        if not ((maps >= 0) & (maps <= 1)).all():
            raise ValueError("MapLog: maps must lie in [0, 1]")
        self.epochs, self._maps = epochs, list(maps)

    def check(self, trainer: TrainerLike, network: Sequential) -> None:
        """The layer is there, and no map is of an epoch still to come."""
        integer("layer", self.layer, high=len(network.weight_layers) - 1)
        integer("MapLog: epoch", self.epochs[-1] if self.epochs else 0, high=trainer.epoch)

    def __repr__(self) -> str:
        return f"MapLog({self.layer}, bins={self.bins}: {len(self._maps)} maps)"
