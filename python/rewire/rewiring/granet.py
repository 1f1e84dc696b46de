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
from rewire.layers import Sparse
from rewire.rewiring.base import Occasion, register_rewiring
from rewire.rewiring.budgets import empty_places, links_in
from rewire.rewiring.comes import ByGradient
from rewire.rewiring.gmp import GMP
from rewire.rewiring.when import Auto, CosineShare, Every, Moment, Once

__all__ = ["GraNet"]


@register_rewiring
class GraNet(GMP):
    """Gradual magnitude pruning, and of what is left in each layer a share moves to the largest gradients.

    Parameters
    ----------
    density : float in (0, 1]
        Of the layers that take part, at the end.
    rate : float in [0, 1]
        Share of each layer's links that moves at the beginning (0.5); it falls along a cosine to ``floor``.
    floor : float in [0, 1]
        The share at the end of the run (0.005).
    begin, end, every, scope, reserve, output_layer
        As for :class:`~rewire.rewiring.GMP`. The authors start at density 0.5 or 1, and for CIFAR prune until
        epoch 110 of 160, every 1000 steps.

    Notes
    -----
    From ``begin`` to the end of the run. First the pruning of GMP, until ``end``; then in each layer
    ceil(share * slots) of the smallest magnitude go, and as many come where the gradient of the coming batch
    is largest. Links that go compete for their own places, and keep weight and momentum if they win (in the
    authors' code those that the first of the two steps took come back at zero); others start at zero, without
    momentum. The authors' layer-wise variant holds the output layer at a density of 0.2; this one does not.
    """

    name = "granet"

    def __init__(
        self,
        density: float = 0.05,
        *,
        rate: float = 0.5,
        floor: float = 0.005,
        begin: int | float = 0,
        end: int | float = 0.69,
        every: str | int | Auto | Every | Once | dict[str, Any] = "auto",
        scope: str = "global",
        reserve: float = 0.5,
        output_layer: bool = True,
    ) -> None:
        super().__init__(
            density, begin=begin, end=end, every=every, scope=scope, reserve=reserve,
            output_layer=output_layer,
        )  # fmt: skip
        self.how_many = CosineShare(rate, "rate", 1.0, floor)
        self.rate, self.floor = self.how_many.value, self.how_many.floor
        self.comes = ByGradient(Zeros())

    def run_shares(self) -> dict[str, Any]:
        return self.cubic.run_shares()  # the cosine ends with the run, whatever its length

    def due(self, moment: Moment) -> bool:
        later = moment.step >= self.cubic.first_step(moment) and self.comes_round(moment)
        return later or super().due(moment)

    def plans(self, layers: Sequence[Sparse], occasion: Occasion, regrow: bool) -> list[_core.Plan]:
        share = self.how_many.at(occasion.moment)
        return [
            self._move(pruned, layer, share, occasion) if regrow else pruned
            for pruned, layer in zip(self.pruned(layers, occasion), layers, strict=True)
        ]

    def _move(self, pruned: _core.Plan, layer: Sparse, share: float, occasion: Occasion) -> _core.Plan:
        """What the schedule takes, and of what it leaves a share that moves."""
        gone = pruned.n_removed
        room = empty_places(layer) + gone > 0
        moves = math.ceil(share * (layer.store.slots - gone)) if room else 0
        if moves == 0:
            return pruned
        plan = _core.Plan(layer.store)
        plan.prune_smallest(gone + moves, *occasion.key(layer), occasion.threads)
        links = links_in(plan, removed=True) - links_in(pruned, removed=True)
        return self.regrow(plan, layer, links + (0 if gone else occasion.owed(layer)), occasion)
