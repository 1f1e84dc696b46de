"""Early stopping: end training when it no longer helps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._checks import boolean, choice, integer, number, text
from rewire.callbacks.base import Callback, State, register_callback

__all__ = ["EarlyStopping"]


@register_callback
class EarlyStopping(Callback):
    """Stop when a figure has not improved for some epochs.

    Parameters
    ----------
    patience : int
        Epochs without improvement after which training stops.
    monitor : str
        A column of the history: ``"val_loss"``, ``"val_accuracy"``, ``"loss"``, ...
    min_delta : float
        Smaller improvements do not count.
    restore_best : bool
        Bring back weights and structure of the best epoch when training ends.
    mode : {"auto", "min", "max"}
        Which direction is better; auto: losses down, everything else up.

    Attributes
    ----------
    best : float or None
    best_epoch : int or None
    waited : int
        Epochs since the best one.
    """

    def __init__(
        self,
        patience: int = 10,
        *,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        restore_best: bool = False,
        mode: str = "auto",
    ) -> None:
        self.patience = integer("patience", patience, low=1)
        self.monitor = text("monitor", monitor)
        self.min_delta = number("min_delta", min_delta, low=0.0)
        self.restore_best = boolean("restore_best", restore_best)
        self.mode = choice("mode", mode, ("auto", "min", "max"))
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.waited = 0
        self._best_config: dict[str, Any] | None = None
        self._best_arrays: dict[str, NDArray[Any]] = {}

    @property
    def _down(self) -> bool:
        return self.mode == "min" or (self.mode == "auto" and self.monitor.endswith("loss"))

    def on_fit_begin(self, state: State) -> None:
        if self.monitor.startswith("val_") and not state.validates:
            raise ValueError(
                f"EarlyStopping monitors {self.monitor!r}, which needs validation_data; "
                f"give some to fit or use monitor={self.monitor.removeprefix('val_')!r}"
            )

    def on_epoch_end(self, state: State) -> None:
        if self.monitor not in state.row:
            raise ValueError(
                f"monitor must be a column of the history ({', '.join(state.row)}), got {self.monitor!r}"
            )
        value = float(state.row[self.monitor])
        gain = 0.0 if self.best is None else (self.best - value if self._down else value - self.best)
        if self.best is None or gain > self.min_delta:
            self.best, self.best_epoch, self.waited = value, state.row["epoch"], 0
            if self.restore_best:
                self._best_config = state.network.config(state=True)
                self._best_arrays = state.network.arrays(state=True)
        else:
            self.waited += 1
            if self.waited >= self.patience:
                state.stop = True

    def on_fit_end(self, state: State) -> None:
        if self._best_config is not None:
            state.network.restore(self._best_config, self._best_arrays)

    def config(self) -> dict[str, Any]:
        return {
            "name": "EarlyStopping",
            "patience": self.patience,
            "monitor": self.monitor,
            "min_delta": self.min_delta,
            "restore_best": self.restore_best,
            "mode": self.mode,
            "state": {
                "best": self.best,
                "best_epoch": self.best_epoch,
                "waited": self.waited,
                "network": self._best_config,
            },
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {name: np.array(a) for name, a in self._best_arrays.items()}

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        state = config["state"]
        self.best, self.best_epoch, self.waited = state["best"], state["best_epoch"], state["waited"]
        self._best_config, self._best_arrays = state["network"], dict(arrays)

    def __repr__(self) -> str:
        return f"EarlyStopping(patience={self.patience}, monitor={self.monitor!r})"
