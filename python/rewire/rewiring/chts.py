"""CHTs and CHTss: Cannistraci-Hebb training with soft rules, and with a density that falls along a sigmoid.

Zhang, Cerretti, Zhao, Wu, Liao, Michieli, Cannistraci, *Brain network science modelling of sparse neural
networks enables Transformers and LLMs to perform as fully connected*, arXiv:2501.19107 (NeurIPS 2025), and
the authors' code for language models, whose options are the defaults here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rewire import _core
from rewire.parameters import SparseParameter
from rewire.rewiring.base import register_rule
from rewire.rewiring.budgets import empty_slots, links_in, remove_links, slot_links
from rewire.rewiring.cht import CHT, DropWeakest, importances
from rewire.rewiring.context import RewiringContext
from rewire.rewiring.gmp import Cubic
from rewire.rewiring.memory import Entry
from rewire.rewiring.participation import Layers
from rewire.rewiring.redistribute import RedistributeLike
from rewire.rewiring.schedule import ScheduleLike, TrainingProgress

__all__ = ["CHTs", "CHTss", "Sigmoid"]

CURVATURE = 6.0  # of the sigmoid, k in the authors' code
LEAST = float(np.finfo(np.float64).tiny)


@register_rule
class CHTs(CHT):
    """CHT with soft rules: links that stay, and links that grow, are drawn and not the best.

    Parameters
    ----------
    fraction : float in [0, 1]
        Fraction of each layer's links that is dropped at the beginning (zeta in the paper: 0.1 for language
        models, 0.3 for perceptrons).
    every : int, str, Epochs, Steps or dict
        When to rewire: after every 100 steps. A bare number counts steps.
    decay : {"cosine", "constant", "power"}
        How the fraction falls over the run.
    redistribute, score, removal, layers
        As for :class:`CHT`; the score is CH2.
    temperature : (float, float)
        T at the beginning and at the end of the run: links stay with chances in proportion to strength ** T.
        It rises, so that removal becomes less and less a matter of luck.
    chain_removal : bool
        As for :class:`CHT`; the authors' commands for language models leave it out.
    overlap : float in [0, 1] or None
        As for :class:`CHT`; None, as in these commands.

    Notes
    -----
    The authors approximate the score by products of dense matrices, node by node (L3n), for graphics
    processors; here it is the path-based one that they approximate (L3p), exact, in O(links) memory. Their
    code draws the links that stay, and takes the highest scores where it grows; here growth draws too, with
    chances in proportion to scores, as the paper has it.
    """

    name = "chts"

    def __init__(
        self,
        fraction: float = 0.1,
        *,
        every: ScheduleLike = 100,
        decay: str = "cosine",
        redistribute: RedistributeLike = None,
        score: str = "ch2",
        removal: str = "magnitude",
        temperature: Sequence[float] = (1.0, 9.0),
        chain_removal: bool = False,
        overlap: float | None = None,
        layers: Layers = None,
    ) -> None:
        super().__init__(
            fraction, every=every, decay=decay, redistribute=redistribute, score=score, removal=removal,
            soft_removal=True, soft_growth=True, temperature=temperature, chain_removal=chain_removal,
            overlap=overlap, layers=layers,
        )  # fmt: skip


class Sigmoid(Cubic):
    """density(t) = first + (final - first) * s(t), where s rises from 0 to 1 along a sigmoid.

    With done = (t - begin) / (end - begin) in [0, 1] and S(x) = 1 / (1 + exp(-x)),

        s = (S(k (2 done - 1)) - S(-k)) / (S(k) - S(-k)),   k = 6.

    Parameters
    ----------
    final, begin, end
        As for :class:`~rewire.rewiring.gmp.Cubic`.
    """

    def at(self, first: float, progress: TrainingProgress) -> float:
        begin, end = self.first_step(progress), self.last_step(progress)
        done = (progress.step - begin) / (end - begin) if end > begin else float(progress.step >= end)
        low, high = _logistic(-CURVATURE), _logistic(CURVATURE)
        x = _logistic(CURVATURE * (2.0 * min(max(done, 0.0), 1.0) - 1.0))
        return min(first, first + (self.final - first) * (x - low) / (high - low))


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


@register_rule
class CHTss(CHT):
    """CHTs in layers whose density falls along a sigmoid, as in gradual pruning, while links still move.

    Parameters
    ----------
    density : float in (0, 1]
        Of every layer, at the end.
    begin, end : int or float
        Steps, or fractions of the run, between which the density falls from the initial one (0 and 0.8).
    fraction, every, decay, score, removal, temperature, layers
        As for :class:`CHTs`.

    Notes
    -----
    Start from a density of 0.5, as the authors do, or from any above the final one. At a rewiring at step t
    every layer is first pruned to round(density(t) * positions) links, halves up, by relative importance
    (:class:`~rewire.rewiring.DropWeakest`); one slot stays. Of the links that are left a fraction is then
    dropped and as many grow, as :class:`CHTs` does, also after ``end``. Positions that pruning has emptied
    are candidates too, and links chosen there stay as they were. ``initial`` is the density when the rule
    first acts, and stays with the trainer. One rewiring at ``end`` makes sure that the final density is met.
    """

    name = "chtss"
    memory = {**CHT.memory, "initial_links": Entry.integer().by_parameter(), "ended": Entry.flag()}
    starts_full = True

    def __init__(
        self,
        density: float = 0.1,
        *,
        begin: int | float = 0,
        end: int | float = 0.8,
        fraction: float = 0.1,
        every: ScheduleLike = 100,
        decay: str = "cosine",
        score: str = "ch2",
        removal: str = "magnitude",
        temperature: Sequence[float] = (1.0, 9.0),
        layers: Layers = None,
    ) -> None:
        self.sigmoid = Sigmoid(density, begin, end)
        super().__init__(
            fraction, every=every, decay=decay, score=score, removal=removal, soft_removal=True,
            soft_growth=True, temperature=temperature, chain_removal=False, overlap=None, layers=layers,
        )  # fmt: skip
        self.density, self.begin, self.end = self.sigmoid.final, self.sigmoid.begin, self.sigmoid.end

    def due(self, progress: TrainingProgress) -> bool:
        return progress.step == self.sigmoid.last_step(progress) or super().due(progress)

    def overdue(self, progress: TrainingProgress, memory: Mapping[str, Any]) -> bool:
        return progress.step > self.sigmoid.last_step(progress) and not memory.get("ended", False)

    def run_fractions(self) -> dict[str, Any]:
        return super().run_fractions() | self.sigmoid.run_fractions()

    def workable(
        self, parameters: Sequence[SparseParameter], context: RewiringContext
    ) -> list[SparseParameter]:
        return list(parameters)  # a full layer is pruned, too

    def plans(self, parameters: Sequence[SparseParameter], context: RewiringContext) -> list[_core.Plan]:
        initial = context.first("initial_links", parameters, lambda parameter: parameter.nnz)
        context.remember("ended", context.progress.step >= self.sigmoid.last_step(context.progress))
        fraction = self.fraction_schedule.at(context.progress)
        found = []
        for parameter in parameters:
            pruned = self._pruned(parameter, initial[parameter.name], context)
            found.append(self._move(pruned, parameter, fraction, context) if context.regrow else pruned)
        return found

    def _pruned(self, parameter: SparseParameter, first: int, context: RewiringContext) -> _core.Plan:
        """A plan that prunes a layer as the schedule says."""
        size, each = parameter.n_out * parameter.n_in, slot_links(parameter) or 1
        kept = math.floor(size // each * self.sigmoid.at(first / size, context.progress) + 0.5) * each
        scores, most = importances(parameter), max(0, parameter.core.slots - 1)
        key = *context.key(parameter), context.threads
        return remove_links(
            lambda plan, count: plan.prune_scores(scores, min(count, most), *key),
            parameter,
            parameter.nnz - kept,
        )

    def _move(
        self, pruned: _core.Plan, parameter: SparseParameter, fraction: float, context: RewiringContext
    ) -> _core.Plan:
        """A plan that prunes as ``pruned`` does, and drops and regrows a fraction of the other links."""
        assert isinstance(self.drop, DropWeakest)
        removed = pruned.n_removed
        moves = int(fraction * (parameter.core.slots - removed))
        if moves == 0 or empty_slots(parameter) + removed == 0:
            return pruned
        scores = np.maximum(self.drop.scores(parameter, context), LEAST)
        scores[pruned.marked()] = 0.0  # these go in any case
        plan = context.plan(parameter)
        plan.prune_scores(scores, removed + moves, *context.key(parameter), context.threads)
        links = links_in(plan, removed=True) - links_in(pruned, removed=True)
        return self.grow.regrow(plan, parameter, links + (0 if removed else context.owed(parameter)), context)
