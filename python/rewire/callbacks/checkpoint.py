"""Checkpoints: the trainer in a file while it trains, so that a run that is killed goes on from there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from rewire._checks import choice, describe, entries, integer, number
from rewire._checks import path as as_path
from rewire._fileio import writable_target
from rewire._training import TrainerLike
from rewire._warn import warn
from rewire.callbacks.base import Callback, State, register_callback
from rewire.callbacks.watched import MODES, Watched
from rewire.errors import DivergenceError
from rewire.network import Sequential
from rewire.rewiring.schedule import Epochs, ScheduleLike, Steps, schedule_from

__all__ = ["Checkpoint"]


@register_callback
class Checkpoint(Callback):
    """Saves the trainer every so often, and the best one beside it.

    ``rw.Trainer.resume(path)`` goes on with the same bits, from an epoch's end or from the middle of one.

    Parameters
    ----------
    path : str, path-like or None
        The file; every checkpoint takes the place of the one before, as a whole or not at all. None saves
        nothing: that is what a resumed trainer has, since files do not say where to write.
    every : int, str, Epochs, Steps or None
        When to write: after every epoch by default. A bare number counts steps, as in rules. One more is
        written when ``fit`` ends, after Ctrl-C too. None keeps the best one only.
    best : str, optional
        A column of the history, such as ``"val_accuracy"``: whenever an epoch is better in it than all
        before, the trainer is saved to :attr:`best_path` as well.
    mode : {"auto", "min", "max"}
        Which direction is better; auto: losses down, everything else up, but times and rates, which need one
        of the others.

    Attributes
    ----------
    best_path : str or None
        ``path`` with ``.best`` before its last suffix (``run.best.st`` for ``run.st``); ``path`` itself with
        ``every=None``.
    best_value : float or None
    best_epoch : int or None

    Notes
    -----
    Told of everything after all other callbacks, wherever it stands in the list, so that what they keep is up
    to date in the file. A file that cannot be written, on a full disk for instance, gives a UserWarning and
    training goes on; ``fit`` only refuses to begin when there is no such folder, or with a loss, optimizer or
    rule that cannot be saved.

    The file has the network that was trained last, whatever :class:`EarlyStopping` brings back when ``fit``
    ends: resuming gives the bits of the run that was never stopped. The best network is at :attr:`best_path`.

    Examples
    --------
    >>> import os, tempfile
    >>> import rewire as rw
    >>> path = os.path.join(tempfile.mkdtemp(), "run.st")
    >>> net = rw.Sequential([rw.Sparse(64, 10, density=0.3, activation="softmax")])
    >>> trainer = rw.Trainer(net, loss="cross_entropy", callbacks=[rw.Checkpoint(path, best="loss")])
    >>> data = rw.datasets.load("digits")
    >>> history = trainer.fit(data.X / 16.0, data.y, epochs=2, verbose=0)
    >>> rw.Trainer.resume(path).epoch
    2
    """

    saves = True

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        every: ScheduleLike | None = Epochs(1),
        *,
        best: str | None = None,
        mode: str = "auto",
    ) -> None:
        self.path = path  # checked by the property
        schedule = None if every is None else schedule_from(every)
        periodic = isinstance(schedule, (Epochs, Steps)) and schedule.stop is None
        if schedule is not None and not periodic:
            raise ValueError(f"every must be Epochs(n) or Steps(n) without a stop, or None, got {every!r}")
        self.every = schedule
        if schedule is None and best is None:
            raise ValueError("every and best must not both be None: nothing would be saved")
        self.best, self.mode = best, choice("mode", mode, MODES)
        if best is not None:
            Watched.checked("best", best, mode)
        self.best_value: float | None = None
        self.best_epoch: int | None = None
        self._saved: tuple[int, int] | None = None  # epoch and step of the last one

    @property
    def path(self) -> str | None:
        """Where the trainer is saved."""
        return self._path

    @path.setter
    def path(self, value: str | os.PathLike[str] | None) -> None:
        self._path = None if value is None else as_path("path", value)

    @property
    def best_path(self) -> str | None:
        """Where the best trainer is saved."""
        if self._path is None or self.best is None:
            return None
        if self.every is None:
            return self._path
        stem, suffix = os.path.splitext(self._path)
        return f"{stem}.best{suffix}"

    # --- events -------------------------------------------------------------------------

    def on_fit_begin(self, state: State) -> None:
        if (watched := self._watched) is not None:
            watched.check_data(state, "Checkpoint")
        if self.best_epoch is not None and self.best_epoch >= state.epoch:
            self.best_value = self.best_epoch = None  # of another trainer
        self._saved = None
        if self._path is None:
            warn(
                "Checkpoint has no path and saves nothing: files do not say where to write; set its path, "
                "or give Trainer.resume callbacks=[rw.Checkpoint(path, ...)]",
                UserWarning,
            )
        else:
            writable_target(self._path)
            state.trainer.check_descriptions()

    def on_step_end(self, state: State) -> None:
        if isinstance(self.every, Steps) and state.multiples(self.every.n):
            self._save(state)

    def on_epoch_end(self, state: State) -> None:
        better = self.best is not None and self._improves(state)
        if isinstance(self.every, Epochs) and state.epoch % self.every.n == 0:
            self._save(state)
        if better:
            self._write(state, self.best_path)

    def on_fit_end(self, state: State) -> None:
        if self.every is not None and self._saved != (state.epoch, state.step):
            self._save(state)

    @property
    def _watched(self) -> Watched | None:
        return None if self.best is None else Watched("best", self.best, self.mode)

    def _improves(self, state: State) -> bool:
        """Whether this epoch is the best one; it is written down."""
        watched = self._watched
        figure = None if watched is None else watched.better(state.row, self.best_value)
        if figure is None:
            return False
        self.best_value, self.best_epoch = figure, state.row["epoch"]
        return True

    def _save(self, state: State) -> None:
        self._saved = state.epoch, state.step
        self._write(state, self._path)

    def _write(self, state: State, target: str | None) -> None:
        if target is None:
            return
        if (fault := state.network.tree.fault()) is not None:
            raise DivergenceError(state.epoch, state.step, *fault)  # the file keeps the last good network
        try:
            self.write(state, target)
        except OSError as error:
            warn(
                f"the checkpoint of epoch {state.epoch}, step {state.step} could not be written, "
                f"training goes on: {error}",
                UserWarning,
            )

    def write(self, state: State, target: str) -> None:
        """Save the trainer; for those who want more in the file."""
        state.trainer.save(target)

    # --- saving -------------------------------------------------------------------------

    def config(self) -> dict[str, Any] | None:
        every = None if self.every is None else self.every.config()
        return {
            "name": "Checkpoint",
            "path": None,  # a file from somebody else must not choose what is overwritten here
            "every": every,
            "best": self.best,
            "mode": self.mode,
            "state": {"best_value": self.best_value, "best_epoch": self.best_epoch},
        }

    def _watches_as(self, config: Mapping[str, Any]) -> bool:
        """Whether a saved ``config()`` is of one with the same ``best``, or of none: to be refused."""
        mine, best = self._watched, config.get("best")
        if mine is None or best is None:
            return mine is None and best is None
        try:
            return mine.same(Watched.checked("best", best, config.get("mode")))
        except (TypeError, ValueError):
            return True

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        entries("Checkpoint", config, self.config() or ())
        state = entries("Checkpoint: state", config["state"], ("best_value", "best_epoch"))
        value, epoch = state["best_value"], state["best_epoch"]
        if (value is None) != (epoch is None):
            raise ValueError(f"Checkpoint's state must be a best value and its epoch, got {describe(state)}")
        other = Checkpoint(None, config["every"], best=config["best"], mode=config["mode"])
        value = None if value is None else number("best_value", value)
        epoch = None if epoch is None else integer("best_epoch", epoch, low=0)
        # The best of another figure says nothing about ours.
        mine, its = self._watched, other._watched
        same = mine is not None and its is not None and mine.same(its)
        self.best_value, self.best_epoch = (value, epoch) if same else (None, None)

    def check(self, trainer: TrainerLike, network: Sequential) -> None:
        """The best epoch is one of the trainer's."""
        if self.best_epoch is not None and self.best_epoch >= trainer.epoch:
            raise ValueError(f"best_epoch must be < {trainer.epoch}, got {self.best_epoch}")

    def __repr__(self) -> str:
        return f"Checkpoint({self._path!r}, every={self.every!r}, best={self.best!r})"
