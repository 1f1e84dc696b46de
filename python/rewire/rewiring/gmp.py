"""Gradual magnitude pruning: a network becomes sparse while it trains.

Zhu, Gupta, *To Prune, or Not to Prune: Exploring the Efficacy of Pruning for Model Compression*,
arXiv:1710.01878 (2017), equation 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rewire import _core
from rewire._checks import choice, number
from rewire.link_counts import erk_links
from rewire.parameters import SparseParameter
from rewire.rewiring.base import Rule, register_rule
from rewire.rewiring.budgets import common_slot, remove_links, slot_links
from rewire.rewiring.context import RewiringContext
from rewire.rewiring.drop import comparable, smallest_links
from rewire.rewiring.memory import Entry
from rewire.rewiring.participation import Layers
from rewire.rewiring.schedule import (
    ScheduleLike,
    TrainingProgress,
    end_of,
    in_steps,
    run_fractions_among,
    schedule_from,
    step_of,
)

__all__ = ["GMP", "Cubic", "reserves"]


class Cubic:
    """density(t) = final + (first - final) * (1 - (t - begin) / (end - begin)) ** 3, cut to [begin, end].

    Parameters
    ----------
    final : float in (0, 1]
    begin, end : int or float
        Steps, or fractions of the run. The end is in the run: at most its last step.
    """

    def __init__(self, final: float, begin: int | float, end: int | float) -> None:
        self.final = number("density", final, low=0.0, high=1.0, open_low=True)
        self.begin, self.end = end_of("begin", begin, low=0), end_of("end", end)
        if type(self.begin) is type(self.end) and self.begin > self.end:
            raise ValueError(f"begin must not come after end, got begin={self.begin} and end={self.end}")

    def first_step(self, progress: TrainingProgress) -> int:
        """The first step at or after ``begin``."""
        return math.ceil(in_steps(self.begin, progress))

    def last_step(self, progress: TrainingProgress) -> int:
        """The step at which the final density is reached."""
        return step_of(self.end, progress)

    def run_fractions(self) -> dict[str, Any]:
        """The parameters that are fractions of the run."""
        return run_fractions_among(begin=self.begin, end=self.end)

    def at(self, first: float, progress: TrainingProgress) -> float:
        """The density at this point of training, never above ``first``."""
        begin, end = self.first_step(progress), self.last_step(progress)
        done = (progress.step - begin) / (end - begin) if end > begin else float(progress.step >= end)
        left = 1.0 - min(max(done, 0.0), 1.0)
        return min(first, self.final + (first - self.final) * left**3)


@register_rule
class GMP(Rule):
    """The smallest links are dropped, ever fewer at a time, until a density is reached; none grow.

    Parameters
    ----------
    density : float in (0, 1]
        The density at the end, of the layers that take part.
    begin, end : int or float
        Steps, or fractions of the run, between which the density falls from the initial one.
    every : "auto", int, str, Epochs, Steps or dict
        When to rewire. "auto": after every 100 steps, or after fewer where that would not make 20 rewirings
        between ``begin`` and ``end``.
    scope : {"global", "layer"}
        One threshold for all layers, or every layer down to ``density`` by itself as in the source. Global by
        default: densities of layers then follow their magnitudes, with ``reserve`` as a lower bound.
    reserve : float in [0, 1]
        With one threshold: the fraction that every layer keeps, whatever its magnitudes, of the links that it
        would have in an Erdos-Renyi network (:func:`rewire.link_counts.erk_links`) of the final density. 0:
        one slot, so that magnitudes alone decide; a small output layer then nearly vanishes.
    layers : int, str, list or callable, optional
        Which layers take part; all by default: see :class:`~rewire.rewiring.Rule`.

    Notes
    -----
    Start from full layers, ``Sparse(..., density=1.0)``, or from any density above the final one; the source
    starts dense, and prunes every layer by itself. At step t between ``begin`` and ``end``, with

        density(t) = final + (initial - final) * (1 - (t - begin) / (end - begin)) ** 3,

    a layer (or all together) keeps round(density * positions) links, halves up. ``initial`` is the density
    when the rule first acts, and stays with the trainer. One rewiring at ``end`` itself makes sure that the
    final density is met. One slot stays in every layer that has any; layers sparser than asked for are left
    alone. Memory shrinks with the layers. With groups a slot more may stay than the density allows.
    """

    name = "gmp"
    memory = {"initial_links": Entry.integer().by_parameter(), "ended": Entry.flag()}
    starts_full = True

    def __init__(
        self,
        density: float = 0.05,
        *,
        begin: int | float = 0,
        end: int | float = 0.75,
        every: ScheduleLike = "auto",
        scope: str = "global",
        reserve: float = 0.5,
        layers: Layers = None,
    ) -> None:
        self.cubic = Cubic(density, begin, end)
        self.scope = choice("scope", scope, ("global", "layer"))
        self.reserve = number("reserve", reserve, low=0.0, high=1.0)
        super().__init__(schedule_from(every, auto=True), layers=layers)
        self.density, self.begin, self.end = self.cubic.final, self.cubic.begin, self.cubic.end

    def due(self, progress: TrainingProgress) -> bool:
        begin, end = self.cubic.first_step(progress), self.cubic.last_step(progress)
        return progress.step == end or (begin <= progress.step < end and self.period_over(progress))

    def period_over(self, progress: TrainingProgress) -> bool:
        """Whether the period has passed once more."""
        assert self.every is not None
        begin, end = self.cubic.first_step(progress), self.cubic.last_step(progress)
        return self.every.within(begin, end).due(progress)

    def overdue(self, progress: TrainingProgress, memory: Mapping[str, Any]) -> bool:
        return progress.step > self.cubic.last_step(progress) and not memory.get("ended", False)

    def run_fractions(self) -> dict[str, Any]:
        return super().run_fractions() | self.cubic.run_fractions()

    def plans(self, parameters: Sequence[SparseParameter], context: RewiringContext) -> list[_core.Plan]:
        return self.pruned(parameters, context)

    def pruned(self, parameters: Sequence[SparseParameter], context: RewiringContext) -> list[_core.Plan]:
        """Plans that prune every layer as the schedule says."""
        initial = context.first("initial_links", parameters, lambda parameter: parameter.nnz)
        context.remember("ended", context.progress.step >= self.cubic.last_step(context.progress))
        first = [initial[parameter.name] for parameter in parameters]
        sizes = [parameter.n_out * parameter.n_in for parameter in parameters]
        progress, each = context.progress, common_slot(parameters)
        if self.scope == "layer":
            return [
                self._smallest(
                    parameter, parameter.nnz - self._kept(f, size, slot_links(parameter), progress), context
                )
                for parameter, f, size in zip(parameters, first, sizes, strict=True)
            ]
        surplus = sum(parameter.nnz for parameter in parameters) - self._kept(
            sum(first), sum(sizes), each, progress
        )
        scores = [comparable(parameter) for parameter in parameters]
        counts = smallest_links(parameters, scores, surplus, reserves(parameters, self.density, self.reserve))
        plans = [context.plan(parameter) for parameter in parameters]
        for plan, parameter, count in zip(plans, parameters, counts, strict=True):
            plan.prune_smallest(count, *context.key(parameter), context.threads)
        return plans

    def _smallest(self, parameter: SparseParameter, links: int, context: RewiringContext) -> _core.Plan:
        """A plan that removes ``links`` links of smallest magnitude; one slot stays."""
        key, most = (*context.key(parameter), context.threads), max(0, parameter.core.slots - 1)
        return remove_links(lambda plan, count: plan.prune_smallest(min(count, most), *key), parameter, links)

    def _kept(self, first: int, size: int, each: int, progress: TrainingProgress) -> int:
        """The number of links to keep of ``size`` positions, in whole slots of ``each`` if that is not 0."""
        each = each or 1
        return math.floor(size // each * self.cubic.at(first / size, progress) + 0.5) * each if size else 0


def reserves(parameters: Sequence[SparseParameter], density: float, fraction: float) -> list[int]:
    """Slots that every layer keeps: a fraction of those of an Erdos-Renyi network, at least one."""
    sizes = [(parameter.n_in, parameter.core.n_groups) for parameter in parameters]
    return [max(1, int(fraction * n)) for n in erk_links(sizes, density)] if parameters else []
