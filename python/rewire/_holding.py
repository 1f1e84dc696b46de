"""What moves while a trainer trains: its counters, and the optimizer's state that its network holds."""

from __future__ import annotations

import weakref
from typing import Any, cast

from rewire import _carried, _checks, _core
from rewire._evaluating import Evaluating
from rewire._memory import optimizer_bytes
from rewire._ready import Ready
from rewire._shards import MOST
from rewire._training import TrainerLike
from rewire._unfinished import Unfinished
from rewire.history import History
from rewire.layers.passing import Updates
from rewire.link_counts import refuse_if_too_large
from rewire.optim import Optimizer
from rewire.rewiring import Rule
from rewire.training_state import TrainingState

__all__ = ["Holding"]


class Holding(Evaluating):
    """Base of `rewire.Trainer`: how far it is, and whose state the layers hold."""

    optimizer: Optimizer
    rewiring: Rule
    state: TrainingState
    _updates: tuple[Optimizer, Updates] | None = None
    _kept_rows: list[dict[str, Any]] | None = None  # of the history, as the last call of `fit` found them
    _fit_ready: Ready | None = None  # what the last call of `fit` found fit to train
    _kept: dict[int, _core.Kept] | None = None  # of a little network's parts, likewise

    # --- how far it is ------------------------------------------------------------------

    @property
    def horizon(self) -> int | None:
        """Epochs of the whole run, or None."""
        return self._horizon

    @horizon.setter
    def horizon(self, value: int | None) -> None:
        self._horizon = None if value is None else _checks.integer("horizon", value, low=1)

    @property
    def steps_per_epoch(self) -> int | None:
        """Steps of an epoch of an own loop, or None."""
        return self._steps_per_epoch

    @steps_per_epoch.setter
    def steps_per_epoch(self, value: int | None) -> None:
        self._steps_per_epoch = None if value is None else _checks.integer("steps_per_epoch", value, low=1)

    @property
    def shards(self) -> int | None:
        """Into how many shards a batch is cut; None: nobody has said, and it is not."""
        return self._shards

    @shards.setter
    def shards(self, value: int | None) -> None:
        self._shards = None if value is None else _checks.integer("shards", value, low=1, high=MOST)

    @property
    def history(self) -> History:
        """One row of numbers an epoch."""
        return self.state.history

    @property
    def epoch(self) -> int:
        """Completed epochs."""
        return self.state.epoch

    @property
    def step(self) -> int:
        """Completed steps."""
        return self.state.step

    @property
    def step_in_epoch(self) -> int:
        """Steps of the epoch that has begun; 0 between two epochs."""
        part = self.state.unfinished
        return 0 if part is None else self.state.step - part.first_step

    @property
    def rewirings(self) -> int:
        """Completed rewirings."""
        return self.state.rewirings

    @property
    def unfinished(self) -> Unfinished | None:
        """How far an epoch is that has begun and not ended, or None."""
        return self.state.unfinished

    # --- optimizer state ----------------------------------------------------------------

    def holds_state(self) -> bool:
        """Whether the layers hold state of this trainer's optimizer, fresh or not."""
        return self.is_trained_here() and _carried.lacks(self.network, self.optimizer) is None

    def is_trained_here(self) -> bool:
        """Whether the layers' state is said to be of this trainer's optimizer: without a look at them."""
        owner = self.network.trained_by
        ours = isinstance(owner, weakref.ref) and owner() is self
        return ours and self.state.optimizer_fields == tuple(self.optimizer.fields)

    def owns_state(self) -> bool:
        """Whether the layers hold state of this trainer's optimizer that is not as good as fresh."""
        return self.state.optimizer_step > 0 and self.holds_state()

    def take_state(self) -> None:
        """Fresh optimizer state, unless the layers still hold ours."""
        if self.owns_state():
            return
        net, fields = self.network, self.optimizer.fields
        needed = optimizer_bytes(cast(TrainerLike, self))
        refuse_if_too_large(needed, "the optimizer's state", swap=True)
        net.trained_by = None  # if memory runs short half way, nobody's state is whole
        for parameter in net.tree.parameters.values():
            parameter.prepare(fields)
        self.state.optimizer_step, self.state.optimizer_fields = 0, tuple(fields)
        net.trained_by = weakref.ref(self)

    def updates(self) -> Updates:
        """The optimizer's constants in the core's terms: those of the last call while they are the same."""
        kept = self._updates
        if kept is None or kept[0] is not self.optimizer or kept[1].constants != self.optimizer.constants():
            kept = self._updates = self.optimizer, self.optimizer.updates()
        elif len(kept[1]) > len(self.network.tree.parameters):  # rates that parameters had before
            kept[1].clear()
        return kept[1]

    def rule_memory(self) -> dict[str, Any]:
        """What the present rewiring rule keeps from one rewiring to the next; empty for a new rule."""
        return self.state.memory_for(self.rewiring.remembers_as)

    def set_births(self) -> None:
        """Set the birth step of links that are grown from now on."""
        for name, field in self.optimizer.fields.items():
            if field.ages:
                for parameter in self.network.tree.sparse:
                    parameter.set_birth(name, self.state.optimizer_step + 1)
