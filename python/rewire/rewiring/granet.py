"""GraNet: gradual pruning with zero-cost neuroregeneration.

Liu, Chen, Chen, Atashgahi, Yin, Kou, Shen, Pechenizkiy, Wang, Mocanu, *Sparse Training via Boosting Pruning
Plasticity with Neuroregeneration*, NeurIPS 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rewire import _core
from rewire.initializers import Zeros
from rewire.parameters import SparseParameter
from rewire.rewiring.base import register_rule
from rewire.rewiring.budgets import empty_slots, links_in
from rewire.rewiring.context import RewiringContext
from rewire.rewiring.fraction import CosineFraction
from rewire.rewiring.gmp import GMP
from rewire.rewiring.grow import GrowByGradient
from rewire.rewiring.participation import Layers
from rewire.rewiring.schedule import ScheduleLike, TrainingProgress

__all__ = ["GraNet"]


@register_rule
class GraNet(GMP):
    """Gradual magnitude pruning; a fraction of the links left in each layer is regrown by largest gradients.

    Parameters
    ----------
    density : float in (0, 1]
        Of the layers that take part, at the end.
    fraction : float in [0, 1]
        Fraction of each layer's links that is dropped and regrown at the beginning (0.5); it falls along a
        cosine to ``floor``.
    floor : float in [0, 1]
        The fraction at the end of the run (0.005).
    begin, end, every, scope, reserve, layers
        As for :class:`~rewire.rewiring.GMP`. The authors start at density 0.5 or 1, and for CIFAR prune until
        epoch 110 of 160, every 1000 steps.

    Notes
    -----
    From ``begin`` to the end of the run. First the pruning of GMP, until ``end``; then in each layer
    ceil(fraction * slots) of the smallest magnitude are dropped, and as many grow where the gradient of the
    next batch is largest. Links that are being dropped are candidates too, and keep weight and momentum if
    they are chosen (in the authors' code those that the pruning had removed are regrown at zero); other new
    links start at zero, without momentum. The authors' layer-wise variant holds the output layer at a density
    of 0.2; this one does not.
    """

    name = "granet"
    probe_batches = 1

    def __init__(
        self,
        density: float = 0.05,
        *,
        fraction: float = 0.5,
        floor: float = 0.005,
        begin: int | float = 0,
        end: int | float = 0.69,
        every: ScheduleLike = "auto",
        scope: str = "global",
        reserve: float = 0.5,
        layers: Layers = None,
    ) -> None:
        super().__init__(
            density, begin=begin, end=end, every=every, scope=scope, reserve=reserve,
            layers=layers,
        )  # fmt: skip
        schedule = CosineFraction(fraction, "fraction", 1.0, floor)
        self.fraction_schedule = schedule
        self.fraction, self.floor = schedule.value, schedule.floor
        self.grow = GrowByGradient(Zeros())

    def run_fractions(self) -> dict[str, Any]:
        return self.cubic.run_fractions()  # the cosine ends with the run, whatever its length

    def due(self, progress: TrainingProgress) -> bool:
        later = progress.step >= self.cubic.first_step(progress) and self.period_over(progress)
        return later or super().due(progress)

    def plans(self, parameters: Sequence[SparseParameter], context: RewiringContext) -> list[_core.Plan]:
        fraction = self.fraction_schedule.at(context.progress)
        return [
            self._move(pruned, parameter, fraction, context) if context.regrow else pruned
            for pruned, parameter in zip(self.pruned(parameters, context), parameters, strict=True)
        ]

    def _move(
        self, pruned: _core.Plan, parameter: SparseParameter, fraction: float, context: RewiringContext
    ) -> _core.Plan:
        """A plan that prunes as ``pruned`` does, and drops and regrows a fraction of the other links."""
        removed = pruned.n_removed
        room = empty_slots(parameter) + removed > 0
        moves = math.ceil(fraction * (parameter.core.slots - removed)) if room else 0
        if moves == 0:
            return pruned
        plan = context.plan(parameter)
        plan.prune_smallest(removed + moves, *context.key(parameter), context.threads)
        links = links_in(plan, removed=True) - links_in(pruned, removed=True)
        return self.grow.regrow(plan, parameter, links + (0 if removed else context.owed(parameter)), context)
