"""Callbacks: code that runs between epochs and steps, and early stopping.

A callback is any object with some of the methods of :class:`Callback`; what is
missing is not called. All of them get the same :class:`State`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rewire._checks import boolean, choice, describe, integer, number, text

if TYPE_CHECKING:
    from rewire.network import Sequential
    from rewire.rewiring import Record
    from rewire.trainer import Trainer

__all__ = [
    "EVENTS", "Callback", "EarlyStopping", "State", "callback_config", "callback_from_config",
    "checked_callbacks", "handlers",
]  # fmt: skip

EVENTS = ("on_fit_begin", "on_epoch_begin", "on_step_end", "on_rewire", "on_epoch_end", "on_fit_end")


@dataclass
class State:
    """What callbacks see. They may read all of it, predict and save; ``stop`` ends training soon."""

    trainer: Trainer
    network: Sequential
    epoch: int = 0  # completed epochs over all calls of fit
    step: int = 0  # completed steps over all calls of fit
    last_epoch: int = 0  # the epoch count at which this call of fit ends
    loss: float = math.nan  # of the last batch
    row: dict[str, Any] = field(default_factory=dict)  # on_epoch_end: the new row of the history
    rewired: Record | None = None  # on_rewire: links removed and grown
    validates: bool = False  # whether there is validation data
    stop: bool = False  # end training after this epoch


class Callback:
    """Base of callbacks; every method may be left out."""

    def on_fit_begin(self, state: State) -> None:
        """Before the first epoch of a call of ``fit``."""

    def on_epoch_begin(self, state: State) -> None:
        """Before the first step of an epoch."""

    def on_step_end(self, state: State) -> None:
        """After a step."""

    def on_rewire(self, state: State) -> None:
        """After links have gone and come; ``state.rewired`` counts them."""

    def on_epoch_end(self, state: State) -> None:
        """After an epoch and its validation; ``state.row`` is its row of the history."""

    def on_fit_end(self, state: State) -> None:
        """After the last epoch, also when training was interrupted."""

    def config(self) -> dict[str, Any] | None:
        """JSON-able state, so that resuming continues where it stopped. None: cannot be saved, left out."""
        return None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays that belong to :meth:`config`."""
        return {}

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what :meth:`config` and :meth:`arrays` gave."""


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


def checked_callbacks(callbacks: Iterable[Any]) -> list[Any]:
    """A list of objects that each listen to some event; TypeError otherwise."""
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a list of callbacks, got {describe(callbacks)}")
    found = list(callbacks)
    for i, callback in enumerate(found):
        if not any(callable(getattr(callback, event, None)) for event in EVENTS):
            raise TypeError(
                f"callbacks[{i}] must have one of the methods {', '.join(EVENTS)}, got {describe(callback)}"
            )
    return found


def handlers(callbacks: Iterable[Any], event: str) -> list[Callable[[State], None]]:
    """The methods to call at an event: those that exist and are not the base's empty ones."""
    found = []
    for callback in callbacks:
        method = getattr(callback, event, None)
        if method is not None and getattr(method, "__func__", None) is not getattr(Callback, event):
            found.append(method)
    return found


def callback_config(callback: Any) -> dict[str, Any] | None:
    """A callback's ``config()``, or None when it has none."""
    config = getattr(callback, "config", None)
    return config() if callable(config) else None


def callback_from_config(config: Mapping[str, Any]) -> Callback:
    """A built-in callback from its ``config()``, without its arrays."""
    if config.get("name") != "EarlyStopping":
        raise ValueError(
            f"callback must be 'EarlyStopping', got {describe(config.get('name'))}; "
            "callbacks= takes one's own when a trainer is resumed"
        )
    return EarlyStopping(**{k: v for k, v in config.items() if k not in ("name", "state")})
