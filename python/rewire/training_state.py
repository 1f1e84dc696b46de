"""All that moves in a trainer beside its network and its callbacks.

A trainer is configuration (loss, optimizer, rule, seed), a network, and one of these. What stands here is
declared once: files, copies and what an error undoes follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _checks
from rewire._unfinished import Unfinished
from rewire.history import History
from rewire.metrics import Metric

__all__ = ["TrainingState"]

_COUNTS = ("epoch", "run_end", "step", "rewirings")
# Of each; a run without an end is asked for by the largest integer there is.
_MOST = {**dict.fromkeys(_COUNTS, 2**53), "run_end": 2 * _checks.INT64}
_MOST_TRAININGS = 4096  # as of shards
_MOST_STEPS = 2**31 - 2**20  # births are kept as int32
_MEMORY, _UNFINISHED = "memory.", "unfinished."


@dataclass
class TrainingState:
    """How far training is, and what is carried from one step to the next.

    Attributes
    ----------
    epoch, step, rewirings : int
        Completed, over all calls.
    run_end : int
        Epochs at the furthest end that a call of ``fit`` has had.
    optimizer_step : int
        Steps on the optimizer's present state.
    optimizer_fields : tuple of str
        The fields that state consists of.
    unfinished : Unfinished or None
        The place in an epoch that has begun.
    trainings : int or None
        How many there were, the last time that several were averaged: bits depend on it.
    history : History
    memory : dict
        What the rewiring rule keeps from one rewiring to the next.
    memory_of : str
        Whose memory that is, as `Rule.remembers_as`.
    rule_fields_of : str
        Likewise, of the rule whose fields the stores hold.
    rule_fields : tuple of str
        Which these are.
    told : set of pairs of str
        What warnings have said, and of which rule. Not saved: a resumed trainer warns again.
    """

    optimizer_fields: tuple[str, ...]
    memory_of: str
    rule_fields_of: str
    rule_fields: tuple[str, ...]
    epoch: int = 0
    step: int = 0
    rewirings: int = 0
    run_end: int = 0
    optimizer_step: int = 0
    unfinished: Unfinished | None = None
    trainings: int | None = None
    history: History = field(default_factory=History)
    memory: dict[str, Any] = field(default_factory=dict)
    told: set[tuple[str, str]] = field(default_factory=set)

    def remembered(self, rule: str) -> dict[str, Any]:
        """What the rule of this name keeps, for looking at: one of another name has nothing."""
        return self.memory if self.memory_of == rule else {}

    def memory_for(self, rule: str) -> dict[str, Any]:
        """What the rule of this name keeps; empty for a new rule, and what another one kept is given up."""
        if self.memory_of != rule:
            self.memory_of, self.memory = rule, {}
        return self.memory

    def parts(self) -> list[Any]:
        """The objects whose attributes move, but for the history, whose rows never change."""
        part = self.unfinished
        return [thing for thing in (self, part, part and part.metric) if thing is not None]

    # --- saving -------------------------------------------------------------------------

    def config(self, rule: str, *, owns_state: bool, copy: bool = True) -> dict[str, Any]:
        """JSON-able description, with :meth:`arrays`; :meth:`restore` reads it back.

        Parameters
        ----------
        rule : str
            The present rule's `Rule.remembers_as`.
        owns_state : bool
            Whether the network holds the optimizer's state; it is as good as fresh otherwise.
        copy : bool
            Whether rows of the history are copies.
        """
        return {
            **{name: getattr(self, name) for name in _COUNTS},
            "optimizer_step": self.optimizer_step if owns_state else 0,
            "unfinished": None if self.unfinished is None else self.unfinished.config(),
            "trainings": self.trainings,
            "memory": {k: v for k, v in self.remembered(rule).items() if not isinstance(v, np.ndarray)},
            "history": self.history.to_dict(copy=copy),
        }

    def arrays(self, rule: str) -> dict[str, NDArray[Any]]:
        """Copies of the arrays that belong to :meth:`config`."""
        memory, part = self.remembered(rule), self.unfinished
        found = {_MEMORY + name: v.copy() for name, v in memory.items() if isinstance(v, np.ndarray)}
        if part is not None and part.config() is not None:
            found.update({_UNFINISHED + name: a for name, a in part.arrays().items()})
        return found

    def restore(
        self,
        config: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        *,
        metric: Metric | None,
        layers: int,
        n_out: int,
        copy: bool = True,
    ) -> None:
        """Take over ``config()`` and ``arrays()``, for a network of so many layers with weights and outputs.

        ``metric`` is a fresh one of the loss; without ``copy`` rows of the history are not copied. What it
        is given is checked by :meth:`check` afterwards.

        Raises
        ------
        KeyError, TypeError, ValueError
            If they do not describe a state; what is unknown is refused.
        """
        plain = (*_COUNTS, "optimizer_step", "trainings")
        known = (*plain, "unfinished", "memory", "history")
        if isinstance(config, Mapping) and (missing := [name for name in known if name not in config]):
            raise ValueError(
                f"state lacks {missing[0]!r}: another version of rewire has written it, which this one does "
                "not read; train anew"
            )
        _checks.entries("state", config, known)
        for name in plain:
            setattr(self, name, config[name])
        self.history = History.from_dict(config["history"], copy=copy)
        parts: dict[str, dict[str, NDArray[Any]]] = {_MEMORY: {}, _UNFINISHED: {}}
        for name, array in arrays.items():
            prefix = next((prefix for prefix in parts if name.startswith(prefix)), None)
            if prefix is None:
                raise ValueError(f"array 'state.{name}' is unknown")
            parts[prefix][name.removeprefix(prefix)] = array
        own = parts[_UNFINISHED]
        if config["unfinished"] is None and own:
            raise ValueError(f"array 'state.{_UNFINISHED}{next(iter(own))}' belongs to no epoch")
        if config["unfinished"] is not None:
            part = Unfinished.from_config(config["unfinished"], own, metric, layers, n_out)
            if part.epoch != self.epoch or part.first_step > self.step:
                raise ValueError(
                    f"unfinished must be of epoch {self.epoch} and begin by step {self.step}, "
                    f"got epoch {part.epoch}, step {part.first_step}"
                )
            self.unfinished = part
        self.memory = dict(_checks.one_of_types("memory", config["memory"], Mapping, "a dict"))
        self.memory.update(parts[_MEMORY])

    def check(self, *, metric: Metric | None, layers: int, n_out: int) -> None:
        """ValueError, TypeError or KeyError unless all of it fits together, and :meth:`restore` would do."""
        for name in _COUNTS:
            _checks.integer(name, getattr(self, name), low=0, high=_MOST[name])
        # One before every step, made or to be made, and one after the last epoch of a call.
        _checks.integer("rewirings", self.rewirings, high=self.step + self.epoch + 1)
        _checks.integer("optimizer_step", self.optimizer_step, low=0, high=min(self.step, _MOST_STEPS))
        if self.trainings is not None:
            _checks.integer("trainings", self.trainings, low=1, high=_MOST_TRAININGS)
        self.history.check(self.epoch, layers)
        part = self.unfinished
        config = None if part is None else part.config()
        if part is not None and config is not None:
            Unfinished.from_config(config, part.arrays(), metric, layers, n_out)
