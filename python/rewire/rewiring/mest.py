"""MEST: memory-economic sparse training.

Yuan, Ma, Niu, Li, Kong, Liu, Gong, Zhan, He, Jin, Wang, Qin, Ren, Wang, Liu, Lin, *MEST: Accurate and Fast
Memory-Economic Sparse Training Framework on the Edge*, NeurIPS 2021, and the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from rewire import _core
from rewire._checks import choice, describe, number
from rewire.initializers import Zeros
from rewire.parameters import SparseParameter
from rewire.rewiring.base import Rule, register_rule
from rewire.rewiring.budgets import links_in, remove_links, slot_links
from rewire.rewiring.context import RewiringContext
from rewire.rewiring.drop import magnitudes
from rewire.rewiring.fraction import Fraction
from rewire.rewiring.grow import GrowRandom
from rewire.rewiring.memory import Entry
from rewire.rewiring.participation import Layers
from rewire.rewiring.schedule import (
    Epochs,
    ScheduleLike,
    TrainingProgress,
    end_of,
    schedule_from,
    step_of,
)

__all__ = ["MEST"]

# For 90 % sparsity the authors' scripts prune to 92, 91, 90 % and grow to 90 %, or prune to 90 % and grow to
# 85, 87.5, 90 %: fractions of the links that a layer is to have.
FRACTIONS = {"em": (0.2, 0.1, 0.0), "em&s": (0.5, 0.25, 0.0)}


class _Stages(Fraction):
    """One fraction after the other, until ``ends``: steps, or fractions of the run."""

    def __init__(self, fractions: Any, ends: Any) -> None:
        self.fractions = [
            number("fractions", fraction, low=0.0, high=1.0) for fraction in _list("fractions", fractions)
        ]
        self.ends = [end_of("ends", end) for end in _list("ends", ends)]
        if len(self.fractions) != len(self.ends) + 1:
            raise ValueError(
                f"fractions must be one more than ends, got {len(self.fractions)} fractions and "
                f"{len(self.ends)} ends"
            )
        if any(type(a) is type(b) and a > b for a, b in pairwise(self.ends)):
            raise ValueError(f"ends must ascend, got {self.ends}")
        super().__init__(self.fractions[0], "fractions")

    def at(self, progress: TrainingProgress) -> float:
        return self.fractions[self.stage(progress)]

    def stage(self, progress: TrainingProgress) -> int:
        """The number of stages that have ended."""
        return sum(progress.step >= step for step in self.steps(progress))

    def run_fractions(self) -> dict[str, Any]:
        return {"ends": self.ends} if any(isinstance(end, float) for end in self.ends) else {}

    def steps(self, progress: TrainingProgress) -> list[int]:
        """The steps at which stages end; an end that is a fraction of the run is at most its last step."""
        return [step_of(end, progress) for end in self.ends]


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, dict)):
        raise TypeError(f"{name} must be a list of numbers, got {describe(value)}")
    return list(value)


@register_rule
class MEST(Rule):
    """Links of least importance ``|w| + lambda * |gradient|`` are dropped, others grow at random.

    Parameters
    ----------
    mode : {"em", "em&s"}
        Elastic mutation, "em": a layer is pruned to a fraction below its budget and grown back to it. With a
        soft memory bound, "em&s": it is pruned to its budget and grown to a fraction above, and all these
        links train until the next rewiring.
    fractions : sequence of float in [0, 1], optional
        Fractions of the budget, one stage of the run after the other. (0.2, 0.1, 0) and (0.5, 0.25, 0) as in
        the authors' scripts for 90 % sparsity; their notes have 0.2 and 0.1 for "em&s" as well.
    ends : sequence of int or float
        Where each stage but the last one ends: steps, or fractions of the run (epochs 90 and 120 of 160).
    every : int, str, Epochs, Steps or dict
        When to rewire: after every five epochs; a bare number counts steps. "em&s" also rewires where a stage
        ends.
    gradient : float >= 0
        lambda, the weight of the gradient in the importance: 0 in the authors' code by default. Above 0 the
        rule has a gradient probe of the next batch.
    layers : int, str, list or callable, optional
        Which layers take part; all by default: see :class:`~rewire.rewiring.Rule`.

    Notes
    -----
    The budget of a layer is the number of links it has when the rule first acts, and stays with the trainer;
    fractions of it round down to whole slots. New links start at zero, without momentum; a link just dropped
    may be regrown. Layers that are full at first are left alone. With a last fraction of 0 "em&s" is back at
    its budget from the last end on, and an end that is a fraction of the run is before its last step; a run
    that is stopped sooner keeps the links it has. The importance of a slot is the sum over its rows.
    """

    name = "mest"

    def __init__(
        self,
        mode: str = "em",
        *,
        fractions: Sequence[float] | None = None,
        ends: Sequence[int | float] = (90 / 160, 120 / 160),
        every: ScheduleLike = Epochs(5),
        gradient: float = 0.0,
        layers: Layers = None,
    ) -> None:
        self.mode = choice("mode", mode, tuple(FRACTIONS))
        self.stages = _Stages(FRACTIONS[self.mode] if fractions is None else fractions, ends)
        self.fractions, self.ends = self.stages.fractions, self.stages.ends
        self.gradient = number("gradient", gradient, low=0.0)
        self.grow = GrowRandom(Zeros())
        super().__init__(schedule_from(every), layers=layers)

    @property
    def memory(self) -> dict[str, Entry]:  # type: ignore[override]
        """What it keeps: the budgets, and how many stages have ended."""
        return {
            "budget": Entry.integer().by_parameter(), "stage": Entry.integer(high=len(self.stages.ends)),
        }  # fmt: skip

    def run_fractions(self) -> dict[str, Any]:
        return super().run_fractions() | self.stages.run_fractions()

    @property
    def probe_batches(self) -> int:  # type: ignore[override]
        return 1 if self.gradient > 0.0 else 0

    def due(self, progress: TrainingProgress) -> bool:
        if self.mode == "em&s" and progress.step in self.stages.steps(progress):
            return True
        return super().due(progress) and self.stages.at(progress) > 0.0

    def overdue(self, progress: TrainingProgress, memory: Mapping[str, Any]) -> bool:
        return self.mode == "em&s" and "stage" in memory and memory["stage"] < self.stages.stage(progress)

    def plans(self, parameters: Sequence[SparseParameter], context: RewiringContext) -> list[_core.Plan]:
        budgets = context.first("budget", parameters, lambda parameter: parameter.nnz)
        context.remember("stage", self.stages.stage(context.progress))
        return [self._plan(parameter, budgets[parameter.name], context) for parameter in parameters]

    def _plan(self, parameter: SparseParameter, budget: int, context: RewiringContext) -> _core.Plan:
        most, each = parameter.n_out * parameter.n_in, slot_links(parameter) or 1
        if budget == most:
            return context.plan(parameter)
        moves = int(self.stages.at(context.progress) * (budget // each)) * each
        lower, upper = (budget - moves, budget) if self.mode == "em" else (budget, budget + moves)
        plan = remove_links(
            lambda plan, count: self._prune(plan, parameter, count, context), parameter, parameter.nnz - lower
        )
        kept = parameter.nnz - links_in(plan, removed=True)
        return self.grow.place_links(plan, parameter, max(0, min(upper, most) - kept), context)

    def _prune(
        self, plan: _core.Plan, parameter: SparseParameter, count: int, context: RewiringContext
    ) -> None:
        key, threads = context.key(parameter), context.threads
        if self.gradient == 0.0:
            plan.prune_smallest(count, *key, threads)
            return
        gradients = np.abs(context.probe.live(parameter), dtype=np.float64).sum(axis=1)
        plan.prune_scores(magnitudes(parameter) + self.gradient * gradients, count, *key, threads)
