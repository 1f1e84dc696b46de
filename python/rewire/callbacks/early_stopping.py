"""Early stopping: end training when it no longer helps."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from rewire._checks import boolean, describe, entries, integer, number
from rewire._training import TrainerLike
from rewire.callbacks.base import Callback, State, register_callback
from rewire.callbacks.watched import Watched
from rewire.network import Sequential

__all__ = ["EarlyStopping"]


@register_callback
class EarlyStopping(Callback):
    """Stop when a figure has not improved for some epochs.

    Every call of ``fit`` is a run of its own, and the best one, its network and the epochs waited for belong
    to the run: the next call begins anew, whatever trainer, optimizer or rule it has. Only the first call
    after ``Trainer.resume`` goes on with the run that was saved, unless that one had come to its end by
    waiting. A figure that is not finite, or that could not be computed (None), counts as no improvement and
    is never the best.

    Parameters
    ----------
    patience : int
        Epochs without improvement after which training stops.
    monitor : str
        A column of the history: ``"val_loss"``, ``"val_accuracy"``, ``"loss"``, ...
    min_delta : float
        Smaller improvements do not count.
    restore_best : bool
        Bring back weights, structure and optimizer state of the best epoch when training ends. Where that
        state is of another optimizer, the next ``fit`` begins with a fresh one. A :class:`Checkpoint` beside
        it has saved the last network by then, and the best one as part of this callback's state, so that
        ``Trainer.resume`` gives the bits of the run that was never stopped.
    mode : {"auto", "min", "max"}
        Which direction is better; auto: losses down, everything else up, but times and rates, which need one
        of the others.

    Attributes
    ----------
    best : float or None
    best_epoch : int or None
    waited : int
        Epochs since the best one; without one, all of the run.
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
        self.min_delta = number("min_delta", min_delta, low=0.0)
        self.restore_best = boolean("restore_best", restore_best)
        _, self.monitor, self.mode = Watched.checked("monitor", monitor, mode)
        self._begin()

    def _begin(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.waited = 0
        self._best_config: dict[str, Any] | None = None
        self._best_arrays: dict[str, NDArray[Any]] = {}
        self._best_step = 0  # of the optimizer
        self._resumed = False  # whether the next fit goes on with a saved run
        self._restored = False  # whether the best network has come from elsewhere and is not checked yet
        self._trainer: weakref.ref[TrainerLike] | None = None  # whose run this is; no copy has it

    @property
    def nbytes(self) -> int:
        """Bytes of the best network that is kept."""
        return sum(a.nbytes for a in self._best_arrays.values())

    @property
    def _watched(self) -> Watched:
        return Watched("monitor", self.monitor, self.mode)

    def on_fit_begin(self, state: State) -> None:
        self._watched.check_data(state, "EarlyStopping")
        if not (self._resumed and self._suits(state.trainer.callbacks)):
            self._begin()
        self._resumed = False
        self._trainer = weakref.ref(state.trainer)

    def _refuse_others(self, trainer: TrainerLike) -> None:
        """RuntimeError where another trainer has begun a run meanwhile, in another thread or a callback."""
        if self._trainer is not None and self._trainer() is not trainer:
            raise RuntimeError(
                "EarlyStopping follows one trainer at a time, and another one has begun to fit with it: "
                "give every trainer an EarlyStopping of its own"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_trainer": None}

    def _suits(self, callbacks: list[Any]) -> bool:
        """Whether a best network that was saved has the fields of links of all callbacks there are now."""
        names = {name for callback in callbacks for name in getattr(callback, "fields", ())}
        parts = [] if self._best_config is None else self._best_config["parameters"].values()
        return all(names <= part["fields"].keys() for part in parts if part["kind"] == "sparse")

    def on_epoch_end(self, state: State) -> None:
        self._refuse_others(state.trainer)
        figure = self._watched.better(state.row, self.best, self.min_delta)
        if figure is not None:
            self.best, self.best_epoch, self.waited = figure, state.row["epoch"], 0
            if self.restore_best:
                self._best_config, self._best_arrays = state.trainer.network_state()
                self._best_step = state.trainer.state.optimizer_step
        else:
            self.waited += 1
            if self.waited >= self.patience:
                state.stop = True

    def on_fit_end(self, state: State) -> None:
        self._refuse_others(state.trainer)
        if self.restore_best and self._best_config is not None:
            state.trainer.bring_back(self._best_config, self._best_arrays, self._best_step)

    # --- saving -------------------------------------------------------------------------

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
                "optimizer_step": self._best_step,
                "network": self._best_config if self.restore_best else None,
            },
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        return dict(self._best_arrays) if self.restore_best else {}

    def _watches_as(self, config: Mapping[str, Any]) -> bool:
        """Whether a saved ``config()`` is of one that watches the same figure, or of none: to be refused."""
        try:
            its = Watched.checked("monitor", config.get("monitor"), config.get("mode"))
        except (TypeError, ValueError):
            return True
        return self._watched.same(its)

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        self._begin()
        entries("EarlyStopping", config, self.config())
        other = type(self)(**{name: value for name, value in config.items() if name not in ("name", "state")})
        state = entries("EarlyStopping: state", config["state"], self.config()["state"])
        best, epoch = state["best"], state["best_epoch"]
        if (best is None) != (epoch is None) or (best is None and state["network"] is not None):
            raise ValueError("EarlyStopping: a best figure has its epoch, a best network has its figure")
        waited = integer("waited", state["waited"], low=0)
        step = integer("optimizer_step", state["optimizer_step"], low=0)
        if best is not None:
            best, epoch = number("best", best), integer("best_epoch", epoch, low=0)
        if state["network"] is not None:
            Sequential.from_config(state["network"], arrays)
        elif arrays:
            raise ValueError(f"EarlyStopping: array {min(arrays)!r} is unknown")
        if state["network"] is not None and not other.restore_best:
            raise ValueError("EarlyStopping: a best network is kept with restore_best alone")
        if not self._watched.same(other._watched):
            return  # another figure: its best says nothing about ours
        self.best, self.best_epoch, self.waited, self._best_step = best, epoch, waited, step
        # Else that run had come to its end, or its best network was not kept.
        self._resumed = waited < other.patience and not (
            self.restore_best and best is not None and state["network"] is None
        )
        if self.restore_best and state["network"] is not None:
            self._best_config, self._best_arrays, self._restored = state["network"], dict(arrays), True

    def check(self, trainer: TrainerLike, network: Sequential) -> None:
        """The best epoch is one of the trainer's, the best network might be its own."""
        if self.best_epoch is not None and self.best_epoch >= trainer.epoch:
            raise ValueError(f"best_epoch must be < {trainer.epoch}, got {self.best_epoch}")
        if (self.best is not None or self.waited) and self.monitor not in trainer.history:
            raise ValueError(f"monitor must be a column of the history, got {describe(self.monitor)}")
        if self._restored and self._best_config is not None and network is trainer.network:
            if not network.resembles(self._best_config):
                raise ValueError("EarlyStopping: the best network has other layers than the trainer's")
            best = Sequential.from_config(self._best_config, self._best_arrays)
            trainer.check_network(best, self._best_step)
            if (fault := best.tree.fault()) is not None:
                raise ValueError(f"EarlyStopping: of the best network, {fault[0]} has {fault[1]}")
            self._restored = False

    def __repr__(self) -> str:
        return f"EarlyStopping(patience={self.patience}, monitor={self.monitor!r})"
